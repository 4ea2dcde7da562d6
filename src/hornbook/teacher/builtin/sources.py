"""The families of pipelines: forty ways to come by a row of items."""

from hornbook.teacher.builtin import wording
from hornbook.teacher.builtin.compose import Family
from hornbook.teacher.builtin.pipeline import Slot, Source, pipelines
from hornbook.teacher.builtin.wording import Wording

INT_LIST = Slot("list[int]", wording.INTS, "ints")
WORD_LIST = Slot("list[str]", wording.WORDS, "words")
FLOAT_LIST = Slot("list[float]", wording.FLOATS, "floats")
TEXT = Slot("str", wording.TEXTS, "text")
MATRIX = Slot("list[list[int]]", wording.MATRICES, "matrix")
SQUARE = Slot("list[list[int]]", wording.MATRICES, "square_matrix")
COUNT = Slot("int", wording.COUNTS, "count")
SMALL_COUNT = Slot("int", wording.COUNTS, "small_count")
STOCK = Slot("dict[str, int]", wording.DICTS, "stock")
PAIRS = Slot("list[tuple[str, int]]", wording.PAIRS, "pairs")

DATES = Slot("list[date]", wording.DATES, "dates")
TIMES = Slot("list[str]", wording.TIMES, "times")
INTERVALS = Slot("list[tuple[int, int]]", wording.INTERVALS, "intervals")
RAGGED = Slot("list[list[int]]", wording.RAGGED, "ragged")

# Conditions and changes that would change nothing, or leave nothing, on items of such a range.
UNSIGNED = ("positive", "negative", "nonzero", "abs", "negate")
SIZED = ("one_digit", "two_digit", "above", "below", "at_least", "at_most", "between", "cap", "floor")
DIGITS = ("one_digit", "two_digit", "negative", "abs", "last_digit", "digit_count", "digit_sum", "ends_in")

FIRST = tuple((k,) for k in (2, 3, 4))


def _two(kind: str, first: Wording[str], second: Wording[str], maker: str) -> tuple[Slot, Slot]:
    return Slot(kind, first, maker), Slot(kind, second, maker)


LEFT_RIGHT = _two("list[int]", wording.LEFT_INTS, wording.RIGHT_INTS, "ints")
LEFT_RIGHT_SETS = _two("set[int]", wording.LEFT_SET, wording.RIGHT_SET, "int_set")

FAMILIES: tuple[Family, ...] = (
    pipelines("lists", "lists of integers", 8.0, [Source("ints", "int", (INT_LIST,), "@p")]),
    pipelines("words", "lists of words", 7.0, [Source("words", "str", (WORD_LIST,), "@p")]),
    pipelines("characters", "the characters of a string", 6.0, [
        Source("chars", "char", (TEXT,), "@p", "characters", "in @p", "character", listed=False, tags=("characters",
                                                                                                       "text")),
    ], unit="character"),
    pipelines("tuples", "tuples", 2.0, [
        Source("int_tuple", "int", (Slot("tuple[int, ...]", wording.INTS, "int_tuple"),), "@p", listed=False),
    ]),
    pipelines("sets", "sets", 1.6, [
        Source("int_set", "int", (Slot("set[int]", wording.INTS, "int_set"),), "@p", listed=False, ordered=False),
    ]),
    pipelines("set operations", "union, intersection and difference of sets", 1.6, [
        Source("both", "int", LEFT_RIGHT_SETS, "@p & @q", "numbers", "in both @p and @q", "number", listed=False,
               ordered=False, derived=True, tags=("common", "shared")),
        Source("either", "int", LEFT_RIGHT_SETS, "@p | @q", "numbers", "in @p or @q", "number", listed=False,
               ordered=False, derived=True, tags=("union", "merged")),
        Source("only_first", "int", LEFT_RIGHT_SETS, "@p - @q", "numbers", "in @p but not in @q", "number",
               listed=False,
               ordered=False, derived=True, tags=("difference", "missing")),
    ]),
    pipelines("floats", "lists of decimal numbers", 2.2, [Source("floats", "float", (FLOAT_LIST,), "@p")]),
    pipelines("digits", "the digits of an integer", 2.4, [
        Source("digits", "int", (COUNT,), "map(int, str(@p))", "digits", "of @p", "digit", listed=False, derived=True,
               without=DIGITS, tags=("digits",)),
    ]),
    pipelines("ranges", "counting with range", 2.4, [
        Source("to_n", "int", (SMALL_COUNT,), "range(1, @p + 1)", "numbers", "from 1 to @p", "number", listed=False,
               derived=True,
               without=UNSIGNED, tags=("up_to", "range")),
        Source("below_n", "int", (SMALL_COUNT,), "range(@p)", "numbers", "from 0 up to but not including @p", "number",
               listed=False, derived=True, without=UNSIGNED, tags=("below", "range")),
        Source("a_to_b", "int", (Slot("int", wording.LOW_END, "small"), Slot("int", wording.HIGH_END,
                                                                                   "larger")),
               "range(@p, @q + 1)", "numbers", "from @p to @q", "number", listed=False, derived=True, without=UNSIGNED,
               tags=("between", "range")),
    ]),
    pipelines("divisors", "divisors and primes", 1.8, [
        Source("divisors", "int", (SMALL_COUNT,), "range(1, @p + 1)", "divisors", "of @p", "divisor",
               clauses="@x in range(1, @p + 1)", guard="@p % @x == 0", listed=False, derived=True, without=UNSIGNED,
               tags=("divisors", "factors")),
        Source("primes", "int", (SMALL_COUNT,), "range(2, @p + 1)", "primes", "up to @p", "prime",
               clauses="@x in range(2, @p + 1)", guard="all(@x % d for d in range(2, @x))", listed=False, derived=True,
               without=(*UNSIGNED, "prime", "even", "multiple", "not_multiple"), tags=("primes",)),
    ]),
    pipelines("dict values", "the values of a dictionary", 2.2, [
        Source("values", "int", (STOCK,), "@p.values()", "values", "of @p", "value", listed=False, derived=True,
               tags=("values",)),
    ]),
    pipelines("dict keys", "the keys of a dictionary", 1.6, [
        Source("keys", "str", (STOCK,), "@p", "keys", "of @p", "key", listed=False, derived=True, tags=("keys",)),
    ]),
    pipelines("matrices", "matrices as nested lists", 2.0, [
        Source("cells", "int", (MATRIX,), "@p", "values", "of @p", "value", clauses="row in @p for @x in row",
               derived=True,
               tags=("matrix", "cells")),
        Source("column", "int", (MATRIX,), "column", "values", "in column @k of @p", "value",
               setup=("column = [row[@k] for row in @p]",), derived=True, domain=((0,), (1,)), tags=("column",)),
        Source("diagonal", "int", (SQUARE,), "diagonal", "diagonal values", "of @p", "diagonal value",
               setup=("diagonal = [row[i] for i, row in enumerate(@p)]",), derived=True, tags=("diagonal",)),
    ]),
    pipelines("row aggregates", "sums and lengths of the rows of a table", 1.4, [
        Source("row_sums", "int", (MATRIX,), "map(sum, @p)", "row sums", "of @p", "row sum", listed=False, derived=True,
               tags=("row_sums",)),
        Source("row_maxima", "int", (MATRIX,), "map(max, @p)", "row maxima", "of @p", "row maximum", listed=False,
               derived=True, tags=("row_maxima",)),
        Source("row_minima", "int", (MATRIX,), "map(min, @p)", "row minima", "of @p", "row minimum", listed=False,
               derived=True, tags=("row_minima",)),
    ]),
    pipelines("nested lists", "lists inside lists", 1.4, [
        Source("lengths", "int", (RAGGED,),
               "map(len, @p)", "lengths", "of @p", "length", listed=False, derived=True, without=UNSIGNED,
               tags=("lengths",)),
        Source("flat", "int", (RAGGED,), "@p",
               "numbers", "in @p", "number", clauses="inner in @p for @x in inner", derived=True, tags=("flat",
                                                                                                        "nested")),
    ]),
    pipelines("parsing", "numbers written in a string", 2.2, [
        Source("separated", "int", (TEXT,), "map(int, @p.split(@k))", "numbers", "separated by @k in @p", "number",
               listed=False, derived=True, domain=((",",), (";",), (" ",), ("/",), ("|",)), tags=("parsed",
                                                                                                  "numbers"),
                                                                                                  hint="separated"),
        Source("embedded", "int", (TEXT,), "digits", "digits", "in @p", "digit",
               setup=("digits = [int(c) for c in @p if c.isdigit()]",), derived=True, without=DIGITS,
               tags=("digits_in_text",)),
    ]),
    pipelines("word splitting", "the words of a text", 2.2, [
        Source("split", "str", (TEXT,), "@p.split()", "words", "of @p", "word", derived=True, tags=("words",),
               hint="plain"),
    ]),
    pipelines("lines and fields", "splitting text into parts", 1.6, [
        Source("fields", "str", (TEXT,), "@p.split(@k)", "parts", "of @p separated by @k", "part", derived=True,
               domain=((",",), (";",), ("-",), ("/",), ("|",)), tags=("parts", "fields"), hint="fields"),
        Source("lines", "str", (TEXT,), "@p.splitlines()", "lines", "of @p", "line", derived=True, tags=("lines",),
               hint="lines"),
    ], unit="character"),
    pipelines("slices", "slicing lists", 2.4, [
        Source("skip", "int", (INT_LIST,), "@p[@k:]", "@p", "from index @k on", derived=True, domain=FIRST,
               tags=("after",)),
        Source("take", "int", (INT_LIST,), "@p[:@k]", "@p", "before index @k", derived=True, domain=FIRST,
               tags=("leading",)),
        Source("tail", "int", (INT_LIST,), "@p[-@k:]", "@p", "in the last @k places", derived=True, domain=FIRST,
               tags=("trailing",)),
        Source("even_places", "int", (INT_LIST,), "@p[::2]", "@p", "at even indexes", derived=True,
               tags=("even_places",)),
        Source("odd_places", "int", (INT_LIST,), "@p[1::2]", "@p", "at odd indexes", derived=True, tags=("odd_places",
                                                                                                         )),
        Source("inner", "int", (INT_LIST,), "@p[1:-1]", "results", opening="Leave out the first and the last of @p.",
               derived=True, tags=("inner",)),
    ]),
    pipelines("differences", "neighbours in a list", 1.4, [
        Source("gaps", "int", (INT_LIST,), "gaps", "differences", "between neighbours in @p", "difference",
               setup=("gaps = [b - a for a, b in zip(@p, @p[1:])]",), derived=True, tags=("differences", "gaps")),
        Source("neighbour_sums", "int", (INT_LIST,), "sums", "sums", "of neighbours in @p", "sum",
               setup=("sums = [a + b for a, b in zip(@p, @p[1:])]",), derived=True, tags=("neighbour_sums",)),
    ]),
    pipelines("zip", "two lists side by side", 1.8, [
        Source("products", "int", LEFT_RIGHT, "products", "products", "of @p and @q", "product",
               setup=("products = [a * b for a, b in zip(@p, @q)]",), derived=True, tags=("products",)),
        Source("sums", "int", LEFT_RIGHT, "sums", "pairwise sums", "of @p and @q", "pairwise sum",
               setup=("sums = [a + b for a, b in zip(@p, @q)]",), derived=True, tags=("pairwise_sums",)),
        Source("maxima", "int", LEFT_RIGHT, "map(max, @p, @q)", "pairwise maxima", "of @p and @q", "pairwise maximum",
               listed=False, derived=True, tags=("pairwise_maxima",)),
    ]),
    pipelines("pairs", "lists of pairs", 1.6, [
        Source("seconds", "int", (PAIRS,), "@p", "second items", "of @p", "second item", clauses="_, @x in @p",
               derived=True,
               tags=("second_items", "pairs")),
    ]),
    pipelines("pair names", "names in lists of pairs", 1.2, [
        Source("firsts", "str", (PAIRS,), "@p", "first items", "of @p", "first item", clauses="@x, _ in @p",
               derived=True,
               tags=("first_items", "pairs")),
    ]),
    pipelines("intervals", "intervals with a start and an end", 1.4, [
        Source("interval_lengths", "int", (INTERVALS,),
               "lengths", "lengths", "of @p", "length", setup=("lengths = [b - a for a, b in @p]",), derived=True,
               without=("positive", "negative"), tags=("interval_lengths",)),
        Source("starts", "int", (INTERVALS,), "@p",
               "starts", "of @p", "start", clauses="@x, _ in @p", derived=True, tags=("starts",)),
        Source("ends", "int", (INTERVALS,), "@p",
               "ends", "of @p", "end", clauses="_, @x in @p", derived=True, tags=("ends",)),
    ]),
    pipelines("ordering", "the smallest and the largest of a list", 1.4, [
        Source("k_smallest", "int", (INT_LIST,), "sorted(@p)[:@k]", "results",
               opening="Take the @k smallest of @p in ascending order.",
               derived=True, domain=FIRST, tags=("smallest",)),
        Source("k_largest", "int", (INT_LIST,), "sorted(@p, reverse=True)[:@k]", "results",
               opening="Take the @k largest of @p in descending order.", derived=True, domain=FIRST, tags=("largest",)),
    ], without=("sorted", "descending", "smallest_k", "largest_k")),
    pipelines("unique", "removing repeated items", 1.4, [
        Source("unique", "int", (INT_LIST,), "dict.fromkeys(@p)", "different values", "in @p", "different value",
               listed=False, derived=True, tags=("unique",)),
    ], without=("set", "distinct", "mapping", "any", "all", "none", "max", "min")),
    pipelines("word lengths", "the lengths of words", 1.6, [
        Source("word_lengths", "int", (WORD_LIST,), "map(len, @p)", "lengths", "of the @p", "length", listed=False,
               derived=True, without=UNSIGNED, tags=("lengths",)),
    ]),
    pipelines("occurrences", "counting with Counter", 1.2, [
        Source("occurrences", "int", (WORD_LIST,), "Counter(@p).values()", "counts", "of the different @p", "count",
               imports=("from collections import Counter",), listed=False, derived=True, without=(*UNSIGNED, *DIGITS),
               tags=("counts", "frequencies")),
    ]),
    pipelines("binary", "binary numbers", 1.6, [
        Source("codes", "int", (Slot("list[str]", wording.CODES, "binaries"),), "numbers", "numbers",
               "written in binary in @p", "number", setup=("numbers = [int(code, 2) for code in @p]",),
               derived=True, without=UNSIGNED, tags=("binary_codes",)),
        Source("hex_codes", "int", (Slot("list[str]", wording.HEX_CODES, "hexes"),), "numbers", "numbers",
               "written in hexadecimal in @p", "number", setup=("numbers = [int(code, 16) for code in @p]",),
               derived=True, without=UNSIGNED, tags=("hex_codes",)),
    ]),
    pipelines("running totals", "running totals", 1.4, [
        Source("running", "int", (INT_LIST,), "accumulate(@p)", "running totals", "of @p", "running total",
               imports=("from itertools import accumulate",), listed=False, derived=True, tags=("running_totals",)),
        Source("running_max", "int", (INT_LIST,), "accumulate(@p, max)", "running maxima", "of @p", "running maximum",
               imports=("from itertools import accumulate",), listed=False, derived=True, tags=("running_maxima",)),
    ]),
    pipelines("dates", "dates", 1.6, [
        Source("years", "int", (DATES,), "years", "years", "of the @p",
               "year", setup=("years = [d.year for d in @p]",),
               imports=("from datetime import date",), derived=True,
               without=(*UNSIGNED, *SIZED),
               tags=("years",)),
        Source("months", "int", (DATES,), "months", "months", "of the @p",
               "month", setup=("months = [d.month for d in @p]",),
               imports=("from datetime import date",), derived=True, without=UNSIGNED, tags=("months",)),
        Source("days", "int", (DATES,), "days", "days of the month",
               "of the @p", "day of the month", setup=("days = [d.day for d in @p]",),
               imports=("from datetime import date",), derived=True, without=UNSIGNED, tags=("days",)),
    ]),
    pipelines("clock times", "times of day", 1.2, [
        Source("minutes", "int", (TIMES,), "minutes", "minutes", "since midnight of the @p",
               "minutes", setup=('minutes = [int(t[:2]) * 60 + int(t[3:]) for t in @p]',), derived=True,
               without=(*UNSIGNED, *SIZED),
               tags=("minutes",)),
        Source("hours", "int", (TIMES,), "hours", "hours", "of the @p", "hour",
               setup=("hours = [int(t[:2]) for t in @p]",), derived=True, without=UNSIGNED,
               tags=("hours",)),
    ], without=("any", "all", "none")),
    pipelines("records", "lists of dictionaries", 1.6, [
        Source("field", "int", (Slot("list[dict[str, int]]", wording.RECORDS, "records"),), "values",
               "@k values", "in @p", "@k value", setup=("values = [row[@k] for row in @p]",),
               derived=True, domain=(("age",), ("size",), ("price",)), tags=("field", "records")),
    ]),
)  # fmt: skip
