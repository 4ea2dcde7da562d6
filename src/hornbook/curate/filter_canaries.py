"""Texts whose worth is beyond dispute: each run of the filter must drop the junk and keep the lesson."""

from hornbook.teacher.request import Genre

LESSON = '''"""Small number and list functions, each about one idea."""


def greatest_common_divisor(first, second):
    """Return the largest whole number that divides both arguments.

    Euclid's rule: the pair (a, b) has the same common divisors as the pair (b, a mod b), so we replace one by the
    other until the second number is zero.

    >>> greatest_common_divisor(12, 18)
    6
    """
    while second != 0:
        first, second = second, first % second
    return first


def is_prime(number):
    """Return True if the number has no divisor but one and itself.

    It is enough to try divisors up to the square root: a larger one would come with a smaller one.

    >>> is_prime(7), is_prime(9)
    (True, False)
    """
    if number < 2:
        return False
    divisor = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 1
    return True


def primes_up_to(limit):
    """Return all primes up to and including the limit, in increasing order.

    >>> primes_up_to(10)
    [2, 3, 5, 7]
    """
    found = []
    for number in range(2, limit + 1):
        if is_prime(number):
            found.append(number)
    return found


def binary_search(values, target):
    """Return the position of the target in a sorted list, or -1 if it is not there.

    Each step looks at the middle and throws away the half that cannot hold the target.

    >>> binary_search([1, 3, 5, 7], 5)
    2
    """
    low = 0
    high = len(values) - 1
    while low <= high:
        middle = (low + high) // 2
        if values[middle] == target:
            return middle
        if values[middle] < target:
            low = middle + 1
        else:
            high = middle - 1
    return -1


def count_words(text):
    """Return a dictionary from each word of the text, in lower case, to how often it occurs.

    >>> count_words("the cat saw the dog")
    {'the': 2, 'cat': 1, 'saw': 1, 'dog': 1}
    """
    counts = {}
    for word in text.lower().split():
        if word in counts:
            counts[word] += 1
        else:
            counts[word] = 1
    return counts


def longest_run(values):
    """Return the length of the longest stretch of equal neighbours in a list.

    >>> longest_run([1, 1, 2, 2, 2, 3])
    3
    """
    longest = 0
    current = 0
    previous = None
    for value in values:
        # A new value starts a new run; the same value makes the run longer.
        current = current + 1 if value == previous else 1
        previous = value
        if current > longest:
            longest = current
    return longest
'''

LICENCE = """# Permission is hereby granted, free of charge, to any person obtaining a copy of this software and its
# documentation files, to deal in the software without restriction, including without limitation the rights to use,
# copy, modify, merge, publish, distribute, sublicense, and to permit persons to whom the software is furnished to do
# so, subject to the following conditions: the above copyright notice and this permission notice shall be included in
# all copies or substantial portions of the software.
#
# THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
# WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT.
"""


EXPLANATION = """Why the sea has tides

A tide is the slow rise and fall of the sea, which happens twice on most days. It is caused by the pull of the moon.
The moon attracts every part of the earth, but it attracts the near side more strongly than the far side, because the
near side is closer to it. The water on the near side is therefore drawn towards the moon and heaps up into a low,
wide hill.

It may seem strange that there is a second hill of water on the far side of the earth. The reason is that the solid
earth is itself drawn towards the moon, more strongly than the water behind it. The water is left a little behind, and
so it stands higher there as well. As the earth turns, each coast passes through both hills, and this is why most
coasts see two high tides and two low tides in a day.

The sun causes tides too. It is far larger than the moon, but it is also much farther away, so its effect is less than
half as great. When the sun and the moon pull along the same line, their effects are added together, and the tide is
unusually high. This is called a spring tide, although it has nothing to do with the season. When they pull at a right
angle to each other, they partly cancel, and the result is a weak tide, which is known as a neap tide.

The shape of the coast decides how much of this a person sees. Imagine water that is pushed into a funnel. Since the
funnel becomes narrower, the water has nowhere to go but up. For example, a long bay that grows narrow towards its end
can have a tide as high as a house, whereas an island in the open ocean may have one that is only as high as a knee.
In an almost closed sea there is hardly any tide, because little water can pass through the entrance before the tide
turns.

People who live by the sea have used this for a long time. Suppose that a boat must pass over a bank of sand. If its
owner knows when the water will be high, he can wait for it and cross safely. To predict the time, it is enough to
know that the moon returns to the same place in the sky about fifty minutes later each day, so that the tides come
later by as much.
"""

SHOP = """Home | Shop | Sale | About us | Contact | Log in | Cart (0)

Free shipping on all orders over $50! Buy now! Subscribe to our newsletter and save 10%!

Blue shirt, size M - $19.99 - Add to cart
Red shirt, size L - $24.99 - Add to cart
Green hat - $9.99 - Sold out

We use cookies to give you the best experience. By continuing you accept our privacy policy and terms of use.
Copyright 2019. All rights reserved. Follow us! Share this on your favourite network! Leave a comment!
Posted by admin in Uncategorized | Tagged sale, shirts, hats | 0 comments | Read more
"""


def canaries(about: Genre) -> dict[str, tuple[str, bool]]:
    """By name, a text and whether the filter must keep it."""
    return _of_code() if about == "code" else _of_prose()


def _of_prose() -> dict[str, tuple[str, bool]]:
    """No licence: it is made of whole sentences, and what the features count cannot tell it from better ones."""
    links = "".join(f"* [Page {n}](https://www.example.com/page/{n}?ref=menu)\n" for n in range(120))
    rows = "".join(f"{n},{n * 7919 % 65536},{n * 31 % 97}.{n % 10},{n * 13 % 1000}\n" for n in range(300))
    return {
        "a table of numbers": ("id,count,rate,code\n" + rows, False),
        "a list of links": ("Sitemap\n=======\n\n" + links, False),
        "a page of a shop": (SHOP * 3, False),
        "an explanation": (EXPLANATION, True),
    }


def _of_code() -> dict[str, tuple[str, bool]]:
    table = "".join(f"    ({n}, 0x{n * 7919 % 65536:04X}, {n * 31 % 97}, 'U+{n:04X}'),\n" for n in range(400))
    fields = "".join(f'    field_{n}: "Optional[Value{n}]" = None\n' for n in range(40))
    packed = ";".join(f"a{n}=b{n}[{n}]" for n in range(800))
    return {
        "a table of data": ("TABLE = (\n" + table + ")\n", False),
        "a generated file": ("# Generated by a compiler. DO NOT EDIT!\n\nclass Message(Base):\n" + fields, False),
        "a minified file": (packed + "\n", False),
        "a licence": (LICENCE, False),
        "a textbook lesson": (LESSON, True),
    }
