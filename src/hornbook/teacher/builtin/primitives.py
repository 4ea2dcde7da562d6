"""The words of the grammar: conditions and transformations of one item, each with its phrases and its one code form.

Templates hold `@x` (the item), `@k` and `@j` (constants), `@n` (a plural noun phrase with its article) and `@u` (what a
string is made of: letter or character). Every family of exercises draws on these same tables, because sharing is what
lets a small model solve compositions it has never seen.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["int", "float", "str", "char"]
Constant = int | float | str
Domain = tuple[tuple[Constant, ...], ...]  # the values of (@k, @j)

NO_CONSTANTS: Domain = ((),)


@dataclass(frozen=True, slots=True)
class Condition:
    """A property of one item. It stands before a plural noun, after it, or as a predicate (`holds`)."""

    name: str
    kind: Kind
    code: str
    holds: tuple[str, ...]  # `is even`
    before: tuple[str, ...] = ()  # `even`
    after: tuple[str, ...] = ()  # `that are multiples of 3`
    head: tuple[str, ...] = ()  # replaces the noun: `vowels`
    domain: Domain = NO_CONSTANTS
    tags: tuple[str, ...] = ()  # pieces of function names
    parameter: str = ""  # the name of @k where it is a parameter instead of a literal
    hint: str = ""  # the inputs it needs to be told apart from doing nothing
    compound: bool = False  # its code binds weaker than a comparison


@dataclass(frozen=True, slots=True)
class Change:
    """A transformation of one item."""

    name: str
    kind: Kind
    gives: Kind
    code: str
    one: tuple[str, ...]  # `the square of @x`
    many: tuple[str, ...]  # `the squares of @n`
    by: str = ""  # `square`: after `its`, and as a key to group by
    level: int = 3  # how strongly the code binds: 3 atom, 2 power or product, 1 sum
    needs: int = 1  # how strongly @x must bind
    domain: Domain = NO_CONSTANTS
    tags: tuple[str, ...] = ()
    parameter: str = ""
    hint: str = ""


def _each(*values: Constant) -> Domain:
    return tuple((value,) for value in values)


SMALL = _each(*range(2, 10))
FACTORS = _each(*range(3, 10))
LIMITS = _each(*range(1, 13))
WIDTHS = _each(3, 4, 5, 6)
LETTERS = _each("a", "b", "c", "d", "e", "l", "m", "n", "o", "p", "r", "s", "t")
MARKS = _each("!", "?", "-", ".", "s", "er", "ing")
RANGES: Domain = tuple((high, low) for low in range(6) for high in range(low + 3, low + 8))
REMAINDERS: Domain = tuple((k, j) for k in range(3, 7) for j in range(1, k))
SWAPS: Domain = tuple((b, a) for a in "aeostn" for b in "bkxuz")
ALPHABETS = _each("abc", "aei", "mno", "rst", "xyz", "lmn", "eou")

INT_CONDITIONS = (
    Condition("even", "int", "@x % 2 == 0", ("is even",), before=("even",), tags=("even", "evens")),
    Condition("odd", "int", "@x % 2 == 1", ("is odd",), before=("odd",), tags=("odd", "odds")),
    Condition("positive", "int", "@x > 0", ("is positive",), before=("positive",), tags=("positive", "pos")),
    Condition("negative", "int", "@x < 0", ("is negative",), before=("negative",), tags=("negative", "neg")),
    Condition("nonzero", "int", "@x != 0", ("is not zero", "is nonzero"), before=("nonzero",), tags=("nonzero",)),
    Condition("prime", "int", "@x > 1 and all(@x % d for d in range(2, @x))", ("is prime", "is a prime number"),
              before=("prime",), tags=("prime", "primes"), hint="primes", compound=True),
    Condition("one_digit", "int", "abs(@x) < 10", ("has one digit",), before=("one-digit", "single-digit"),
              tags=("one_digit", "short"), hint="large"),
    Condition("two_digit", "int", "10 <= abs(@x) < 100", ("has two digits",), before=("two-digit",),
              tags=("two_digit",), hint="large"),
    Condition("above", "int", "@x > @k", ("is greater than @k", "is above @k", "is more than @k"),
              after=("greater than @k", "above @k", "larger than @k"), domain=LIMITS, tags=("above", "big", "over"),
              parameter="limit"),
    Condition("below", "int", "@x < @k", ("is less than @k", "is below @k"),
              after=("less than @k", "below @k", "smaller than @k"), domain=LIMITS, tags=("below", "small", "under"),
              parameter="limit"),
    Condition("at_least", "int", "@x >= @k", ("is at least @k", "is @k or more"),
              after=("that are at least @k", "that are @k or more"), domain=LIMITS, tags=("min", "least", "from"),
              parameter="low"),
    Condition("at_most", "int", "@x <= @k", ("is at most @k", "is @k or less"),
              after=("that are at most @k", "that are @k or less"), domain=LIMITS, tags=("max", "most", "up_to"),
              parameter="high"),
    Condition("multiple", "int", "@x % @k == 0", ("is divisible by @k", "is a multiple of @k"),
              after=("divisible by @k", "that are multiples of @k"), domain=FACTORS,
              tags=("multiples", "divisible"), parameter="divisor"),
    Condition("not_multiple", "int", "@x % @k != 0", ("is not divisible by @k", "is not a multiple of @k"),
              after=("not divisible by @k", "that are not multiples of @k"), domain=FACTORS,
              tags=("indivisible", "non_multiples"), parameter="divisor"),
    Condition("remainder", "int", "@x % @k == @j", ("leaves remainder @j when divided by @k",),
              after=("that leave remainder @j when divided by @k",), domain=REMAINDERS, tags=("remainder", "mod")),
    Condition("between", "int", "@j <= @x <= @k", ("is between @j and @k inclusive",),
              after=("between @j and @k inclusive",), domain=RANGES, tags=("between", "in_range", "middle")),
    Condition("ends_in", "int", "abs(@x) % 10 == @k", ("ends in @k", "has @k as its last digit"),
              after=("ending in @k", "whose last digit is @k"), domain=_each(*range(10)), tags=("ending", "last_digit"),
              parameter="digit", hint="ends"),
    Condition("other_than", "int", "@x != @k", ("is not equal to @k", "differs from @k"),
              after=("different from @k", "not equal to @k"), domain=LIMITS, tags=("other", "without"),
              parameter="banned"),
)  # fmt: skip

FLOAT_CONDITIONS = (
    Condition("f_positive", "float", "@x > 0", ("is positive",), before=("positive",), tags=("positive",)),
    Condition("f_negative", "float", "@x < 0", ("is negative",), before=("negative",), tags=("negative",)),
    Condition("f_above", "float", "@x > @k", ("is greater than @k", "is above @k"), after=("greater than @k",
                                                                                           "above @k"),
              domain=_each(0.5, 1.5, 2.5, 3.5, 4.5), tags=("above", "big"), parameter="limit"),
    Condition("f_below", "float", "@x < @k", ("is less than @k", "is below @k"), after=("less than @k", "below @k"),
              domain=_each(0.5, 1.5, 2.5, 3.5, 4.5), tags=("below", "small"), parameter="limit"),
    Condition("f_whole", "float", "@x == int(@x)", ("is a whole number",), before=("whole",), tags=("whole",)),
    Condition("f_between", "float", "@j <= @x <= @k", ("is between @j and @k inclusive",),
              after=("between @j and @k inclusive",), tags=("between",),
              domain=((3.5, 0.5), (4.5, 1.5), (2.5, 0.0), (5.0, 1.0))),
)  # fmt: skip

STR_CONDITIONS = (
    Condition("longer", "str", "len(@x) > @k", ("has more than @k @us", "is longer than @k @us"),
              after=("longer than @k @us", "with more than @k @us"), domain=SMALL[:5], tags=("long", "longer"),
              parameter="size"),
    Condition("shorter", "str", "len(@x) < @k", ("has fewer than @k @us", "is shorter than @k @us"),
              after=("shorter than @k @us", "with fewer than @k @us"), domain=SMALL[1:6], tags=("short", "shorter"),
              parameter="size"),
    Condition("exactly", "str", "len(@x) == @k", ("has exactly @k @us",), after=("with exactly @k @us",),
              domain=SMALL[1:5], tags=("exact", "sized"), parameter="size"),
    Condition("starts", "str", "@x.startswith(@k)", ("starts with @k", "begins with @k"),
              after=("that start with @k", "starting with @k", "that begin with @k"), domain=LETTERS,
              tags=("starting", "prefixed"), parameter="prefix"),
    Condition("ends", "str", "@x.endswith(@k)", ("ends with @k",), after=("that end with @k", "ending with @k"),
              domain=LETTERS, tags=("ending", "suffixed"), parameter="suffix"),
    Condition("contains", "str", "@k in @x", ("contains @k",), after=("that contain @k", "containing @k"),
              domain=LETTERS, tags=("containing", "having"), parameter="letter"),
    Condition("lacks", "str", "@k not in @x", ("does not contain @k",), after=("that do not contain @k", "without @k"),
              domain=LETTERS, tags=("lacking", "without"), parameter="letter"),
    Condition("upper", "str", "@x.isupper()", ("is uppercase",), before=("uppercase",), tags=("upper", "uppercase"),
              hint="case"),
    Condition("lower", "str", "@x.islower()", ("is lowercase",), before=("lowercase",), tags=("lower", "lowercase"),
              hint="case"),
    Condition("capital", "str", "@x[0].isupper()", ("starts with a capital letter",), before=("capitalized",),
              after=("that start with a capital letter",), tags=("capitalized", "proper"), hint="case"),
    Condition("numeric", "str", "@x.isdigit()", ("consists only of digits",), after=("made only of digits",),
              tags=("numeric", "digit"), hint="digits"),
    Condition("alphabetic", "str", "@x.isalpha()", ("consists only of letters",), after=("made only of letters",),
              tags=("alpha", "alphabetic"), hint="digits"),
    Condition("has_digit", "str", "any(c.isdigit() for c in @x)", ("contains a digit",),
              after=("that contain a digit",),
              tags=("with_digit",), hint="digits"),
    Condition("palindrome", "str", "@x == @x[::-1]", ("is a palindrome", "reads the same backwards"),
              after=("that are palindromes", "that read the same backwards"), tags=("palindromes", "mirrored"),
              hint="palindromes"),
    Condition("same_ends", "str", "@x[0] == @x[-1]", ("starts and ends with the same @u",),
              after=("that start and end with the same @u",), tags=("same_ends", "closed"), hint="palindromes"),
    Condition("even_length", "str", "len(@x) % 2 == 0", ("has an even length",), after=("of even length",),
              tags=("even_length",)),
    Condition("odd_length", "str", "len(@x) % 2 == 1", ("has an odd length",), after=("of odd length",),
              tags=("odd_length",)),
    Condition("vowel_start", "str", '@x[0] in "aeiou"', ("starts with a vowel",), after=("that start with a vowel",),
              tags=("vowel_start",), hint="vowels"),
    Condition("no_repeat", "str", "len(set(@x)) == len(@x)", ("has no repeated @us",), after=("with no repeated @us",),
              tags=("unrepeated",)),
)  # fmt: skip

CHAR_CONDITIONS = (
    Condition("vowel", "char", '@x in "aeiou"', ("is a vowel",), head=("vowels",), tags=("vowels",)),
    Condition("consonant", "char", '@x.isalpha() and @x not in "aeiou"', ("is a consonant",), head=("consonants",),
              tags=("consonants",), compound=True),
    Condition("digit", "char", "@x.isdigit()", ("is a digit",), head=("digits",), tags=("digits",)),
    Condition("letter", "char", "@x.isalpha()", ("is a letter",), head=("letters",), tags=("letters",)),
    Condition("not_letter", "char", "not @x.isalpha()", ("is not a letter",), after=("that are not letters",),
              tags=("non_letters",), compound=True),
    Condition("c_upper", "char", "@x.isupper()", ("is an uppercase letter", "is a capital letter"),
              head=("uppercase letters", "capital letters"), tags=("capitals", "upper"), hint="case"),
    Condition("c_lower", "char", "@x.islower()", ("is a lowercase letter",), head=("lowercase letters",),
              tags=("lower",), hint="case"),
    Condition("not_space", "char", '@x != " "', ("is not a space",), head=("non-space characters",),
              tags=("non_space",)),
    Condition("in_set", "char", "@x in @k", ("is one of @k",), after=("found in @k", "that occur in @k"),
              domain=ALPHABETS, tags=("chosen", "allowed"), parameter="allowed"),
    Condition("not_in_set", "char", "@x not in @k", ("is not one of @k",), after=("not found in @k",),
              domain=ALPHABETS, tags=("remaining", "not_in"), parameter="banned"),
    Condition("c_other", "char", "@x != @k", ("is not @k",), after=("different from @k",),
              domain=LETTERS, tags=("other", "without"), parameter="letter"),
    Condition("c_equal", "char", "@x == @k", ("is @k",), after=("equal to @k",), domain=LETTERS, tags=("equal",
                                                                                                       "matching"),
              parameter="letter"),
    Condition("punctuation", "char", '@x in ".,!?"', ("is a punctuation mark",), head=("punctuation marks",),
              tags=("punctuation",)),
)  # fmt: skip

INT_CHANGES = (
    Change("square", "int", "int", "@x ** 2", ("the square of @x", "@x squared"), ("the squares of @n",), by="square",
           level=2, needs=3, tags=("squares", "squared")),
    Change("cube", "int", "int", "@x ** 3", ("the cube of @x", "@x cubed"), ("the cubes of @n",), by="cube",
           level=2, needs=3, tags=("cubes", "cubed")),
    Change("double", "int", "int", "@x * 2", ("twice @x", "@x doubled"), ("@n, each doubled",), by="double", level=2,
           needs=2, tags=("doubled", "twice")),
    Change("times", "int", "int", "@x * @k", ("@x multiplied by @k", "@x times @k"), ("@n, each multiplied by @k",),
           by="value multiplied by @k", level=2, needs=2, domain=FACTORS, tags=("scaled", "multiplied"),
           parameter="factor"),
    Change("plus", "int", "int", "@x + @k", ("@x increased by @k", "@x plus @k"), ("@n, each increased by @k",),
           by="value increased by @k", level=1, needs=1, domain=SMALL, tags=("increased", "raised"), parameter="step"),
    Change("minus", "int", "int", "@x - @k", ("@x decreased by @k", "@x minus @k"), ("@n, each decreased by @k",),
           by="value decreased by @k", level=1, needs=1, domain=SMALL, tags=("decreased", "lowered"), parameter="step"),
    Change("from", "int", "int", "@k - @x", ("@k minus @x",), ("@n, each subtracted from @k",),
           by="value subtracted from @k", level=1, needs=2, domain=_each(*range(10, 21)), tags=("complement",
                                                                                                "remaining")),
    Change("divide", "int", "int", "@x // @k", ("@x divided by @k and rounded down",),
           ("@n, each divided by @k and rounded down",), by="value divided by @k and rounded down", level=2, needs=2,
           domain=SMALL, tags=("divided", "shrunk"), parameter="divisor"),
    Change("modulo", "int", "int", "@x % @k", ("the remainder of @x after division by @k",),
           ("the remainders of @n after division by @k",), by="remainder after division by @k", level=2, needs=2,
           domain=FACTORS, tags=("remainders", "mod"), parameter="divisor"),
    Change("negate", "int", "int", "-@x", ("@x with its sign flipped",), ("@n with their signs flipped",),
           by="value with its sign flipped", level=2, needs=3, tags=("negated", "flipped")),
    Change("abs", "int", "int", "abs(@x)", ("the absolute value of @x",), ("the absolute values of @n",),
           by="absolute value", needs=0, tags=("absolute", "abs"), hint="negative"),
    Change("last_digit", "int", "int", "abs(@x) % 10", ("the last digit of @x",), ("the last digits of @n",),
           by="last digit", level=2, needs=0, tags=("last_digits",), hint="large"),
    Change("digit_count", "int", "int", "len(str(abs(@x)))", ("the number of digits of @x",),
           ("the digit counts of @n",),
           by="digit count", needs=0, tags=("digit_counts",), hint="large"),
    Change("digit_sum", "int", "int", "sum(int(d) for d in str(abs(@x)))", ("the digit sum of @x",),
           ("the digit sums of @n",), by="digit sum", needs=0, tags=("digit_sums",), hint="large"),
    Change("cap", "int", "int", "min(@x, @k)", ("the smaller of @x and @k",), ("@n, each limited to at most @k",),
           by="value limited to at most @k", needs=0, domain=SMALL, tags=("capped", "limited"), parameter="limit"),
    Change("floor", "int", "int", "max(@x, @k)", ("the larger of @x and @k",), ("@n, each raised to at least @k",),
           by="value raised to at least @k", needs=0, domain=SMALL, tags=("floored", "lifted"), parameter="low"),
    Change("distance", "int", "int", "abs(@x - @k)", ("the distance of @x from @k",), ("the distances of @n from @k",),
           by="distance from @k", needs=1, domain=SMALL, tags=("distances",), parameter="target"),
    Change("text", "int", "str", "str(@x)", ("@x as a string",), ("@n as strings",), by="string form", needs=0,
           tags=("strings", "text")),
    Change("binary", "int", "str", 'format(@x, "b")', ("@x in binary",), ("@n in binary",), by="binary form", needs=0,
           tags=("binary", "bits")),
    Change("hexadecimal", "int", "str", 'format(@x, "x")', ("@x in hexadecimal",), ("@n in hexadecimal",),
           by="hexadecimal form", needs=0, tags=("hex",), hint="large"),
    Change("zero_padded", "int", "str", "str(@x).zfill(@k)", ("@x padded with zeros to width @k",),
           ("@n padded with zeros to width @k",), by="form padded with zeros to width @k", needs=0, domain=WIDTHS[:3],
           tags=("padded",)),
)  # fmt: skip

FLOAT_CHANGES = (
    Change("f_half", "float", "float", "@x / 2", ("half of @x",), ("@n, each divided by 2", "the halves of @n"),
           by="half", level=2, needs=2, tags=("halves", "halved")),
    Change("f_double", "float", "float", "@x * 2", ("twice @x", "@x doubled"), ("@n, each doubled",), by="double",
           level=2,
           needs=2, tags=("doubled", "twice")),
    Change("f_times", "float", "float", "@x * @k", ("@x multiplied by @k", "@x times @k"),
           ("@n, each multiplied by @k",),
           by="value multiplied by @k", level=2, needs=2, domain=FACTORS, tags=("scaled",), parameter="factor"),
    Change("f_plus", "float", "float", "@x + @k", ("@x increased by @k", "@x plus @k"), ("@n, each increased by @k",),
           by="value increased by @k", level=1, domain=_each(0.5, 1.5, 2.5, 4.5), tags=("increased",),
           parameter="step"),
    Change("f_minus", "float", "float", "@x - @k", ("@x decreased by @k", "@x minus @k"), ("@n, each decreased by @k",),
           by="value decreased by @k", level=1, domain=_each(0.5, 1.5, 2.5, 4.5), tags=("decreased",),
           parameter="step"),
    Change("f_abs", "float", "float", "abs(@x)", ("the absolute value of @x",), ("the absolute values of @n",),
           by="absolute value", needs=0, tags=("absolute",)),
    Change("f_int", "float", "int", "int(@x)", ("the integer part of @x",), ("the integer parts of @n",),
           by="integer part", needs=0, tags=("integer_parts", "truncated")),
    Change("f_round", "float", "float", "round(@x, 1)", ("@x rounded to one decimal place",),
           ("@n rounded to one decimal place",), by="value rounded to one decimal place", needs=0, tags=("rounded",),
           hint="decimals"),
    Change("f_square", "float", "float", "@x ** 2", ("the square of @x", "@x squared"), ("the squares of @n",),
           by="square",
           level=2, needs=3, tags=("squares", "squared")),
)  # fmt: skip

STR_CHANGES = (
    Change("upper", "str", "str", "@x.upper()", ("@x in upper case",), ("@n in upper case",), by="uppercase form",
           needs=3, tags=("upper", "uppercased")),
    Change("lower", "str", "str", "@x.lower()", ("@x in lower case",), ("@n in lower case",), by="lowercase form",
           needs=3, tags=("lower", "lowered"), hint="case"),
    Change("capitalize", "str", "str", "@x.capitalize()", ("@x with only its first letter capitalized",),
           ("@n with only their first letters capitalized",), by="capitalized form", needs=3, tags=("capitalized",)),
    Change("swapcase", "str", "str", "@x.swapcase()", ("@x with upper and lower case swapped",),
           ("@n with upper and lower case swapped",), by="form with upper and lower case swapped", needs=3,
           tags=("swapped",), hint="case"),
    Change("backwards", "str", "str", "@x[::-1]", ("@x spelled backwards", "@x reversed"),
           ("@n, each spelled backwards",),
           by="reversed form", needs=3, tags=("reversed", "backwards")),
    Change("first", "str", "str", "@x[0]", ("the first @u of @x",), ("the first @us of @n",), by="first @u", needs=3,
           tags=("initials", "first_letters")),
    Change("last", "str", "str", "@x[-1]", ("the last @u of @x",), ("the last @us of @n",), by="last @u", needs=3,
           tags=("endings", "last_letters")),
    Change("head", "str", "str", "@x[:@k]", ("the first @k @us of @x",), ("the first @k @us of each of @n",),
           by="first @k @us", needs=3, domain=SMALL[:3], tags=("heads", "prefixes"), parameter="width"),
    Change("tail", "str", "str", "@x[-@k:]", ("the last @k @us of @x",), ("the last @k @us of each of @n",),
           by="last @k @us", needs=3, domain=SMALL[:3], tags=("tails", "suffixes"), parameter="width"),
    Change("drop_first", "str", "str", "@x[1:]", ("@x without its first @u",), ("@n without their first @us",),
           by="form without the first @u", needs=3, tags=("trimmed", "beheaded")),
    Change("drop_last", "str", "str", "@x[:-1]", ("@x without its last @u",), ("@n without their last @us",),
           by="form without the last @u", needs=3, tags=("cut", "shortened")),
    Change("repeat", "str", "str", "@x * @k", ("@x repeated @k times",), ("@n, each repeated @k times",),
           by="form repeated @k times", level=2, needs=2, domain=SMALL[:4], tags=("repeated",), parameter="times"),
    Change("append", "str", "str", "@x + @k", ("@x followed by @k",), ("@n, each followed by @k",),
           by="form followed by @k", level=1, domain=MARKS, tags=("marked", "extended"), parameter="ending"),
    Change("prepend", "str", "str", "@k + @x", ("@x preceded by @k",), ("@n, each preceded by @k",),
           by="form preceded by @k", level=1, domain=_each("#", "*", "-", "un", "re", ">"), tags=("prefixed", "tagged"),
           parameter="start"),
    Change("replace", "str", "str", "@x.replace(@j, @k)", ("@x with each @j replaced by @k",),
           ("@n with each @j replaced by @k",), by="form with each @j replaced by @k", needs=3, domain=SWAPS,
           tags=("replaced", "changed")),
    Change("remove", "str", "str", '@x.replace(@k, "")', ("@x with each @k removed",), ("@n with each @k removed",),
           by="form with each @k removed", needs=3, domain=LETTERS, tags=("stripped", "removed"), parameter="letter"),
    Change("sort_letters", "str", "str", '"".join(sorted(@x))', ("@x with its @us in sorted order",),
           ("@n with their @us in sorted order",), by="form with sorted @us", needs=0, tags=("sorted_letters",)),
    Change("parentheses", "str", "str", '"(" + @x + ")"', ("@x in parentheses",), ("@n, each in parentheses",),
           by="form in parentheses", level=1, tags=("wrapped", "enclosed")),
    Change("length", "str", "int", "len(@x)", ("the length of @x",), ("the lengths of @n",), by="length", needs=0,
           tags=("lengths", "sizes")),
    Change("vowel_count", "str", "int", 'sum(c in "aeiou" for c in @x)', ("the number of vowels in @x",),
           ("the vowel counts of @n",), by="vowel count", needs=0, tags=("vowel_counts",)),
    Change("letter_count", "str", "int", "@x.count(@k)", ("the count of @k in @x",), ("the counts of @k in @n",),
           by="count of @k", needs=3, domain=LETTERS, tags=("letter_counts",), parameter="letter"),
    Change("distinct_count", "str", "int", "len(set(@x))", ("the number of different @us in @x",),
           ("the numbers of different @us in @n",), by="number of different @us", needs=0, tags=("varieties",)),
)  # fmt: skip

CHAR_CHANGES = (
    Change("c_upper", "char", "char", "@x.upper()", ("@x in upper case",), ("@n in upper case",), by="uppercase form",
           tags=("upper",)),
    Change("c_lower", "char", "char", "@x.lower()", ("@x in lower case",), ("@n in lower case",), by="lowercase form",
           tags=("lower",), hint="case"),
    Change("c_swapcase", "char", "char", "@x.swapcase()", ("@x with its case swapped",),
           ("@n with their case swapped",),
           by="form with its case swapped", tags=("swapped",), hint="case"),
    Change("c_repeat", "char", "char", "@x * @k", ("@x repeated @k times",), ("@n, each repeated @k times",),
           by="form repeated @k times", level=2, domain=SMALL[:3], tags=("repeated",), parameter="times"),
    Change("c_append", "char", "char", "@x + @k", ("@x followed by @k",), ("@n, each followed by @k",),
           by="form followed by @k", level=1, domain=_each("-", ".", "_", "+", "*"), tags=("spaced", "separated"),
           parameter="mark"),
    Change("c_next", "char", "char", "chr(ord(@x) + @k)", ("the character @k places after @x",),
           ("@n, each shifted by @k places",), by="character @k places later", domain=_each(1, 2, 3, 4, 5),
           tags=("shifted",), parameter="shift"),
    Change("c_code", "char", "int", "ord(@x)", ("the character code of @x",), ("the character codes of @n",),
           by="character code", tags=("codes",)),
)  # fmt: skip

CONDITIONS = INT_CONDITIONS + FLOAT_CONDITIONS + STR_CONDITIONS + CHAR_CONDITIONS
CHANGES = INT_CHANGES + FLOAT_CHANGES + STR_CHANGES + CHAR_CHANGES


def conditions(kind: Kind) -> tuple[Condition, ...]:
    """The conditions on items of a kind."""
    return tuple(condition for condition in CONDITIONS if condition.kind == kind)


def changes(kind: Kind) -> tuple[Change, ...]:
    """The transformations of items of a kind."""
    return tuple(change for change in CHANGES if change.kind == kind)
