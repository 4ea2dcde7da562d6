"""The prose of the built-in textbooks: what each topic is about, what each tool does, and how each reader is met."""

AUDIENCES: dict[str, tuple[str, ...]] = {
    "a ten-year-old who likes puzzles": (
        "Think of this as a puzzle with small pieces that snap together.",
        "A program is a recipe for a very obedient helper, so every step must be clear.",
        "Before you read the code, try to guess what each line does.",
    ),
    "a nurse learning to script": (
        "Lists of readings come up on every ward, and a short function can go through them for you.",
        "You already follow protocols step by step, and a function is a protocol for the computer.",
        "A small script that is easy to check is worth more than a clever one.",
    ),
    "a biology student with a first data set": (
        "Data from the field rarely comes in the shape you need, so small tools like this one help.",
        "Write the rule down once as a function, and you can apply it to every sample.",
        "A result you can reproduce starts with code that does one clear thing.",
    ),
    "a spreadsheet user": (
        "If you have ever filled a formula down a column, you know this idea already.",
        "What takes a filter and a helper column in a spreadsheet takes one line here.",
        "A function is like a formula with a name that you can use anywhere.",
    ),
    "a musician who wants to automate a playlist": (
        "A loop in code is like a bar that repeats, with one note changing each time.",
        "Short pieces that fit together well make good music and good programs.",
        "Listen for the pattern: take the items one by one and decide what to do with each.",
    ),
    "a retired engineer": (
        "The construction is simple, and each part can be tested alone.",
        "As with any design, start from what goes in and what must come out.",
        "State the specification first, and the code almost writes itself.",
    ),
    "a high school student before an exam": (
        "Tasks like this one are common in exams, so it pays to know the pattern by heart.",
        "Read the docstring twice, because it says exactly what is asked.",
        "When you are stuck, work the example by hand and then write down what you did.",
    ),
    "a teacher preparing a lesson": (
        "This makes a good first exercise, because it needs only one new idea.",
        "Ask the class to predict the output before anyone runs the code.",
        "The example is short enough for the board and still shows the whole idea.",
    ),
    "a shopkeeper who keeps the books": (
        "Stock, prices and orders are rows of values, and the same few tools handle them all.",
        "A function that does one sum correctly saves an evening at the end of the month.",
        "You give the function your values, and it gives back the answer.",
    ),
    "a journalist who works with public records": (
        "A claim about data should rest on code that anyone can read.",
        "Records come in long rows, and the interesting ones must be picked out by a rule.",
        "Name the function after the question it answers.",
    ),
    "a programmer who comes from Java": (
        "Python says this with less ceremony than you may be used to.",
        "There is no need for a class or an index here, because the loop hands you each item.",
        "The type hints look familiar, but a comprehension often takes the place of the loop.",
    ),
    "a curious reader without any background": (
        "No earlier knowledge is needed, only some patience with a few new signs.",
        "A function takes something in, works on it, and gives something back.",
        "Read the code from the first line to the last, and say aloud what it does.",
    ),
}

TOPICS: dict[str, tuple[str, ...]] = {
    "lists": (
        "A list keeps values in order, and a loop visits them from the first to the last.",
        "A comprehension such as `[x for x in numbers]` walks through the list and collects what we ask for.",
        "To work on part of a list, we name each item `x` and say which items we want and what to make of them.",
    ),
    "words": (
        "A list of words is handled like a list of numbers, but each item is a string with letters of its own.",
        "We call each word `w`, so a test on `w` picks words and an expression with `w` changes them.",
        "An empty list of words is no special case: the loop simply has nothing to visit.",
    ),
    "characters": (
        "A string is a row of characters, and a loop over it gives them one at a time.",
        "We call each character `c`, and join the ones we keep into a new string.",
        "Strings cannot be changed in place, so every step builds a new one.",
    ),
    "tuples": (
        "A tuple is like a list that cannot be changed after it is made.",
        "Loops and comprehensions work on a tuple just as they do on a list.",
    ),
    "sets": (
        "A set holds each value only once and has no order.",
        "Because a set has no first item, we sum it, count it or sort it rather than ask for a position.",
    ),
    "set operations": (
        "Two sets can be combined: `left & right` keeps what is in both, and `left | right` what is in either.",
        "The difference `left - right` keeps the values of the first set that the second one does not hold.",
    ),
    "floats": (
        "A decimal number in Python is called a float, and it is compared and added like any other number.",
        "Prices and temperatures are floats, and a list of them is filtered and changed item by item.",
    ),
    "digits": (
        "To get at the digits of a number, turn it into a string with `str` and each character back with `int`.",
        "The expression `map(int, str(n))` gives the digits of `n` from left to right.",
    ),
    "ranges": (
        "The call `range(1, n + 1)` counts from 1 to n, because the end of a range is left out.",
        "A range makes numbers one at a time, so we can loop over it as we would over a list.",
    ),
    "divisors": (
        "A number d divides n when `n % d == 0`, that is, when nothing is left over.",
        "A prime has no divisors except 1 and itself, so we can test every smaller number.",
    ),
    "dict values": (
        "A dictionary stores a value under each key, and `values()` gives all the values.",
        "When the names do not matter, we loop over the values alone.",
    ),
    "dict keys": (
        "A loop over a dictionary gives its keys, in the order in which they were added.",
        "The keys here are strings, so everything we know about words applies to them.",
    ),
    "matrices": (
        "A matrix can be kept as a list of rows, where each row is a list of numbers.",
        "The diagonal of a square matrix takes one value from each row, each one place further to the right.",
        "Two loops in one comprehension visit every value: first the rows, then the values of each row.",
    ),
    "row aggregates": (
        "The call `map(sum, matrix)` applies `sum` to each row, and so gives one number for each row.",
        "Once every row has become a single number, the rest is work on a plain list.",
    ),
    "nested lists": (
        "A list may hold other lists, and the inner lists need not have the same length.",
        "With `map(len, lists)` we look only at how long each inner list is.",
    ),
    "parsing": (
        "Numbers that arrive as text must be split and converted before we can calculate with them.",
        'The call `text.split(",")` cuts a string at the commas, and `int` turns each piece into a number.',
    ),
    "word splitting": (
        "The method `split` cuts a text at its spaces and gives a list of words.",
        "After splitting, each word can be tested and changed by itself.",
    ),
    "lines and fields": (
        'With `text.split("-")` a string falls into parts at every dash, and any other mark works in the same way.',
        "The method `splitlines` gives the lines of a text without their line ends.",
    ),
    "slices": (
        "A slice such as `numbers[2:]` takes a part of a list without changing the list itself.",
        "A step as in `numbers[::2]` takes every second item, starting with the first.",
        "A negative index counts from the end, so `numbers[-3:]` holds the last three items.",
    ),
    "differences": (
        "To compare neighbours, we put the list beside itself shifted by one: `zip(numbers, numbers[1:])`.",
        "A list of n items has n minus 1 pairs of neighbours, so a list of one item has none.",
    ),
    "zip": (
        "The call `zip(left, right)` walks through two lists at once and stops at the end of the shorter one.",
        "Each step gives a pair `a, b`, which we can add, multiply or compare.",
    ),
    "pairs": (
        "A pair is a tuple of two items, and a loop can take it apart as it goes: `for name, x in pairs`.",
        "The name `_` says that we do not need this part of the pair.",
    ),
    "pair names": (
        "When each pair begins with a name, the loop `for w, _ in pairs` gives us the names alone.",
        "We leave the second item of each pair aside by calling it `_`.",
    ),
    "intervals": (
        "An interval has a start and an end, and its length is the end minus the start.",
        "A list of pairs can be read as a list of intervals, and taken apart in the loop.",
    ),
    "ordering": (
        "Sorting first makes it easy to take the smallest or the largest items: they stand at one end.",
        "The call `sorted(numbers, reverse=True)` puts the largest first, and a slice keeps as many as we want.",
    ),
    "unique": (
        "The call `dict.fromkeys(numbers)` keeps each value once, in the order in which it first appears.",
        "A set would also remove repeated items, but it would forget their order.",
    ),
    "word lengths": (
        "The call `map(len, words)` turns a list of words into the list of their lengths.",
        "After that we no longer see words, only numbers.",
    ),
    "occurrences": (
        "A `Counter` counts how often each item occurs, and `values()` gives these counts.",
        "The counts of all the different words together make up the length of the list.",
    ),
    "binary": (
        "The call `int(code, 2)` reads a string of zeros and ones as a binary number.",
        "With base 16 in place of 2, `int` reads hexadecimal digits, where a stands for ten and f for fifteen.",
    ),
    "running totals": (
        "A running total shows the sum so far after each item, and `accumulate` gives all of them.",
        "With `accumulate(numbers, max)` we follow the largest value seen so far.",
    ),
    "dates": (
        "A date knows its year, month and day, and we read them as `d.year`, `d.month` and `d.day`.",
        "When only one part of each date matters, we first collect that part in a list.",
    ),
    "clock times": (
        "A time such as 08:30 is a string, and slices pick out its hours and its minutes.",
        "To compare times, it helps to count the minutes since midnight: 60 for each hour, and the rest.",
    ),
    "records": (
        "A table can be kept as a list of dictionaries, one for each row, with the same keys in every row.",
        'The expression `row["age"]` reads one field of a row, and a comprehension reads it from all of them.',
    ),
    "integers": (
        "A calculation in several steps is easier to read when each step has its own line.",
        "The name `result` holds what we have so far, and the next line works on it.",
    ),
    "decimals": (
        "Decimal numbers are written with a point, and division with `/` gives a decimal number.",
        "One step after another, we give the name `result` to what we have so far.",
    ),
    "decimal checks": (
        "A comparison gives True or False, and a function may simply return it.",
        "It is clearer to calculate first and to compare in a line of its own.",
    ),
    "branches": (
        "With `if` a function chooses between two answers.",
        "After a `return` nothing more is run, so no `else` is needed for the second case.",
    ),
    "labels": (
        "A chain of tests gives each case its name, and the first test that holds decides.",
        "The last line has no test: it is for everything that is left.",
    ),
    "two integers": (
        "A function may take two numbers, and we first make one number of them.",
        "Once both numbers have become one `result`, the next line can change it or test it.",
    ),
    "comparisons": (
        "Two results can be computed side by side and then compared.",
        "The calls `max` and `min` take two values and give back the larger or the smaller of them.",
    ),
    "repetition": (
        "To repeat a step a fixed number of times, write `for _ in range(3)`.",
        "The name `v` holds the present value, and each round replaces it.",
    ),
    "while loops": (
        "A `while` loop goes on as long as its condition holds, so something in it must change.",
        "We do not know beforehand how many rounds there will be, and that is why we do not use `for`.",
    ),
    "recursion on lists": (
        "A recursive function calls itself on a smaller case and stops at the smallest one.",
        "For a list, the smallest case is the empty list, and the smaller case is the list without its first item.",
    ),
    "recursive sequences": (
        "A sequence is often defined by its first term and by a rule that leads from one term to the next.",
        "The function asks itself for the term before, until it reaches term 0.",
    ),
    "generators": (
        "A function with `yield` hands out its values one at a time instead of all at once.",
        "The caller can loop over a generator, or make a list of it with `list`.",
    ),
    "grouping numbers": (
        "To group numbers, we compute a key for each and keep one list for each key.",
        "The method `setdefault` gives the list stored under a key, and starts an empty one where there is none.",
    ),
    "grouping words": (
        "Words can be grouped by any property, such as their length or their first letter.",
        "The dictionary has one entry for each key that occurs, and no others.",
    ),
    "sorting numbers": (
        "The argument `key` tells `sorted` what to compare: a small function of each item.",
        "Items with equal keys keep the order they had before.",
    ),
    "sorting words": (
        "To sort words by something other than the alphabet, give `sorted` a key such as `lambda w: len(w)`.",
        "With `reverse=True` the largest key comes first.",
    ),
    "splitting numbers": (
        "One loop can fill two lists: items that pass the test go to the first, the others to the second.",
        "A function may return two lists at once, as a pair.",
    ),
    "splitting words": (
        "To sort words into two heaps, we test each of them once and append it to one list or the other.",
        "Every word ends up in exactly one of the two lists.",
    ),
    "replacing numbers": (
        "The expression `a if test else b` chooses for each item, so the new list is as long as the old one.",
        "A condition before the `for` changes some items, while a condition after it would leave items out.",
    ),
    "replacing words": (
        "Sometimes only a few words should change and all the others should stay as they are.",
        "The choice stands in front of the loop: `new if test else w`.",
    ),
    "prefixes of numbers": (
        "The word `break` ends a loop at once, and what comes later in the list is never looked at.",
        "The test stands before the work, so the item that stops the loop is not included.",
    ),
    "prefixes of words": (
        "We read words until one of them tells us to stop, and `break` leaves the loop there.",
        "If no word stops the loop, it runs to the end of the list.",
    ),
    "searching numbers": (
        "With `enumerate` the loop gives each item together with its index, counted from 0.",
        "A search must say what to return when nothing is found, and -1 is a common choice.",
    ),
    "searching words": (
        "To find where a word stands, we need its index, and `enumerate` supplies it.",
        "The first match ends the search, because `return` leaves the function.",
    ),
    "neighbours": (
        "The pairs of neighbours in a list come from `zip(numbers, numbers[1:])`.",
        "A pair counts only when both tests hold, and `and` says so.",
    ),
    "pieces": (
        "A list can be cut into chunks by letting the index move in steps: `range(0, len(numbers), 3)`.",
        "A window moves by one place at a time, so windows overlap and chunks do not.",
    ),
    "rows": (
        "For each row of a table we work out one value, so the result has as many items as there are rows.",
        "The outer loop goes over the rows, and the inner one over the values of a row.",
    ),
    "grids": (
        "To change every cell of a table, nest one comprehension in another.",
        "The new table has the same number of rows and columns as the old one.",
    ),
    "stacks": (
        "A stack is a pile: what was put on it last is taken off first.",
        "A list makes a good stack, with `append` to push and `pop` to take off the top.",
    ),
    "queues": (
        "A queue serves first what came first, and a `deque` with `maxlen` forgets the oldest items by itself.",
        "As soon as a full queue gets one more item, the one that waited longest falls out.",
    ),
    "entries by value": (
        "The method `items` gives each key with its value, so we can test the value and keep the key.",
        "A dictionary comprehension builds a new dictionary from the entries that pass.",
    ),
    "entries by key": (
        "Sometimes the key decides which entries count, and the value is what we want.",
        "With `for k, v in table.items()` both parts of an entry have a name.",
    ),
    "points": (
        "A point is a pair of coordinates, and the loop `for x, y in points` gives both a name.",
        "Each coordinate can have a test of its own, joined by `and`.",
    ),
    "two conditions": (
        "Two tests joined by `and` must both hold, while with `or` one of them is enough.",
        "Python stops reading an `and` at the first test that fails.",
    ),
    "two word conditions": (
        "A word may have to meet two conditions, and `and` joins them.",
        "With `or` a word is taken when at least one of the two conditions holds.",
    ),
    "two steps": (
        "When a task has two stages, give the list between them a name such as `results`.",
        "The second stage tests the changed values, not the values we began with.",
    ),
    "strings": (
        "Each method of a string gives back a new string, and the old one stays as it was.",
        "Several changes are made one after the other, each on the `result` of the one before.",
    ),
    "string branches": (
        "What a function does with a string may depend on the string itself.",
        "If the test fails, the function goes on to its last line.",
    ),
    "validation": (
        "To check a string, join simple tests with `and` or `or` and return the outcome.",
        "There is no need for an `if`, because the tests are already True or False.",
    ),
    "substitution": (
        "To replace some characters, choose for each one between the new character and the old.",
        'The call `"".join(...)` puts the characters together again.',
    ),
    "word substitution": (
        "To change some words of a text, split it, change what must change, and join it again with spaces.",
        "Words that do not pass the test go into the new text as they are.",
    ),
    "two strings": (
        "Two strings can be compared by a property: compute it for each, then compare the two values.",
        "The names `left` and `right` keep the two values apart.",
    ),
    "formatting": (
        "An f-string has an f before its quotes, and each name in braces is replaced by its value.",
        "Prepare the parts first, and the f-string stays easy to read.",
    ),
    "key and value": (
        'A setting such as width=3 is split at the equals sign with `part.split("=")`.',
        "Once the text has become a dictionary, the values can be filtered and changed like any others.",
    ),
    "calendar": (
        "Adding a `timedelta` to a date moves it by a number of days, across the ends of months and years.",
        "The method `weekday` counts the days of the week from Monday, which is 0.",
    ),
    "holder classes": (
        "A class keeps data together with the functions that work on it, which are called methods.",
        "The method `__init__` stores what the object is given, and `self` is the object.",
    ),
    "state classes": (
        "An object can remember a value between two calls, and a method may change it.",
        "Inside the class, the stored value is reached through `self`.",
    ),
}

TOOLS: dict[str, tuple[str, ...]] = {
    "list": ("Square brackets around the loop collect the results in a list.",),
    "sum": ("The function `sum` adds up what it is given, and gives 0 when there is nothing.",),
    "count": ("To count, we add up a 1 for each item that passes: `sum(1 for ...)`.",),
    "max": ("With `default=0` the function `max` gives 0 when there is nothing to compare.",),
    "min": ("The function `min` finds the smallest value, and `default=0` covers the empty case.",),
    "any": ("The function `any` is True as soon as one test is true.",),
    "all": ("The function `all` is True only when no test fails, so it is also True for an empty list.",),
    "none": ("To say that no item passes, write `not any(...)`.",),
    "product": ("The function `math.prod` multiplies its items, and gives 1 when there are none.",),
    "sorted": ("The function `sorted` gives a new list in ascending order.",),
    "descending": ("With `reverse=True` the function `sorted` puts the largest first.",),
    "set": ("Braces around the loop make a set, which keeps each value once.",),
    "distinct": ("The length of a set is the number of different values.",),
    "first": ("The call `next(..., None)` takes the first item of a generator, or None when there is none.",),
    "last": ("The index -1 means the last item, which an empty list does not have.",),
    "average": ("An average is the sum divided by the count, so the empty list needs an answer of its own.",),
    "largest_k": ("Sort with the largest first, then let a slice keep as many as you need.",),
    "smallest_k": ("After sorting, a slice from the start holds the smallest items.",),
    "join_numbers": ("The method `join` works on strings only, so each number goes through `str` first.",),
    "join_words": ("The string before `.join` is put between the items.",),
    "join_characters": ('With `"".join(...)` characters become one string with nothing between them.',),
    "mapping": ("A dictionary comprehension has a key, a colon and a value before its loop.",),
    "spread": ("The spread is the largest value minus the smallest.",),
    "sum_and_count": ("A function can return two values at once, separated by a comma.",),
    "reversed": ("The slice `[::-1]` turns a list around.",),
    "alternate": ("The slice `[::2]` takes every second item.",),
    "longest": ("To find how long the longest item is, take the maximum of the lengths.",),
    "total_length": ("Adding up the lengths gives the total length.",),
    "by_length": ("The key `(len(s), s)` compares lengths first and the alphabet only where lengths are equal.",),
    "alphabetical_first": ("For strings, `min` means the one that comes first in the alphabet.",),
    "frequencies": ("With `counts.get(c, 0)` a character that was not seen before counts as 0.",),
    "sum_multiple": ("A sum is divisible by a number when the remainder `%` is 0.",),
    "sum_above": ("The sum is a number like any other, so it can be compared at once.",),
}
