"""The ends of a pipeline: what is made of the items that remain.

Code holds `@g` (the items as one argument of a call), `@h` (the same beside other arguments), `@l` (a list), `@s` (a
set), `@f` (the for clauses), `@c` (the condition), `@i` (the condition with its `if`, or nothing), `@e` (the item as
changed) and `@x` (the item). Frames hold `@n` (the items), `@m` (the items before the change), `@a` (one item), `@w`
(the condition as a predicate) and `@y` (the change as a property).
"""

from dataclasses import dataclass

from hornbook.teacher.builtin.primitives import FACTORS, NO_CONSTANTS, SMALL, Domain, Kind

NUMBERS: tuple[Kind, ...] = ("int", "float")
STRINGS: tuple[Kind, ...] = ("str",)
TEXTS: tuple[Kind, ...] = ("str", "char")
EVERY: tuple[Kind, ...] = ("int", "float", "str", "char")


@dataclass(frozen=True, slots=True)
class Finish:
    """How a pipeline ends. `@t` in `returns` is the type of the changed items, `@v` of the items as they came."""

    name: str
    kinds: tuple[Kind, ...]
    frames: tuple[str, ...]
    code: tuple[str, ...]
    returns: str
    loop: tuple[str, str, str] | None = None  # before, inside and after a loop that does the same
    condition: str = "may"  # `must`, `may` or `none`
    change: str = "may"
    ordered: bool = False  # the result depends on the order of the items
    identity: bool = False  # without condition and change it would do nothing
    imports: tuple[str, ...] = ()
    domain: Domain = NO_CONSTANTS
    tags: tuple[str, ...] = ()
    weight: float = 1.0


FINISHES = (
    Finish("list", EVERY, ("Return a list of @n.", "Return @n as a list.", "List @n.", "Collect @n in a list."),
           ("return @l",), "list[@t]", ("result = []", "result.append(@e)", "return result"), ordered=True,
           identity=True, tags=("list", "get", "collect"), weight=3),
    Finish("sum", NUMBERS, ("Return the sum of @n.", "Add up @n.", "Compute the sum of @n.", "Return the total of @n."),
           ("return sum(@g)",), "@t", ("total = 0", "total += @e", "return total"), tags=("sum", "total", "add"),
           weight=3),
    Finish("count", EVERY, ("Count @m.", "Return the count of @m.", "Compute the count of @m."),
           ("return sum(1 for @f if @c)",), "int", ("count = 0", "count += 1", "return count"), condition="must",
           change="none", tags=("count", "number_of"), weight=2),
    Finish("max", NUMBERS, ("Return the largest of @n, or 0 if there are none.",
                            "Find the maximum of @n, or 0 if there are none."),
           ("return max(@h, default=0)",), "@t", tags=("max", "largest", "maximum"), weight=1.5),
    Finish("min", NUMBERS, ("Return the smallest of @n, or 0 if there are none.",
                            "Find the minimum of @n, or 0 if there are none."),
           ("return min(@h, default=0)",), "@t", tags=("min", "smallest", "minimum"), weight=1.5),
    Finish("any", EVERY, ("Return True if any @a @w.", "Check whether any @a @w.",
                          "Return whether at least one @a @w."),
           ("return any(@c for @f)",), "bool", ("", "return True", "return False"), condition="must", change="none",
           tags=("any", "has", "some"), weight=1.5),
    Finish("all", EVERY, ("Return True if every @a @w.", "Check whether every @a @w.", "Return whether each @a @w."),
           ("return all(@c for @f)",), "bool", condition="must", change="none", tags=("all", "every", "only"),
           weight=1.5),
    Finish("none", EVERY, ("Return True if no @a @w.", "Check that no @a @w."), ("return not any(@c for @f)",), "bool",
           condition="must", change="none", tags=("none", "no")),
    Finish("product", ("int",), ("Return the product of @n, or 1 if there are none.",
                                 "Multiply @n, giving 1 if there are none."),
           ("return math.prod(@g)",), "@t", ("product = 1", "product *= @e", "return product"),
           imports=("import math",),
           tags=("product", "multiply"), weight=1.5),
    Finish("sorted", EVERY, ("Return a sorted list of @n.", "Sort @n in ascending order.",
                             "Return @n in sorted order."),
           ("return sorted(@g)",), "list[@t]", tags=("sorted", "sort", "order"), weight=1.5),
    Finish("descending", EVERY, ("Return @n in descending order.", "Sort @n in descending order."),
           ("return sorted(@h, reverse=True)",), "list[@t]", tags=("descending", "reverse_sorted", "sort_down"),
           weight=1.5),
    Finish("set", EVERY, ("Return the set of @n.", "Collect @n in a set.", "Return @n as a set."), ("return @s",),
           "set[@t]", tags=("set", "unique", "distinct"), weight=1.5),
    Finish("distinct", EVERY, ("Return how many different values there are among @n.",
                               "Count the different values among @n."),
           ("return len(@s)",), "int", tags=("count_distinct", "distinct", "variety")),
    Finish("first", EVERY, ("Return the first of @n, or None if there are none.",
                            "Find the first of @n, or None if there are none."),
           ("return next((@g), None)",), "@t | None", ("", "return @e", "return None"), condition="must", ordered=True,
           tags=("first", "find_first"), weight=1.5),
    Finish("last", EVERY, ("Return the last of @n, or None if there are none.",),
           ("items = @l", "return items[-1] if items else None"), "@t | None", condition="must", ordered=True,
           tags=("last", "final")),
    Finish("average", NUMBERS, ("Return the average of @n, or 0.0 if there are none.",
                                "Compute the mean of @n, or 0.0 if there are none."),
           ("items = @l", "return sum(items) / len(items) if items else 0.0"), "float", tags=("average", "mean"),
           weight=1.5),
    Finish("largest_k", NUMBERS, ("Return the @k largest of @n, largest first.",),
           ("return sorted(@h, reverse=True)[:@k]",), "list[@t]", domain=SMALL[:3], tags=("largest", "top")),
    Finish("smallest_k", NUMBERS, ("Return the @k smallest of @n, smallest first.",), ("return sorted(@g)[:@k]",),
           "list[@t]", domain=SMALL[:3], tags=("smallest", "bottom")),
    Finish("join_numbers", ("int",), ("Join @n with @k.", "Return a string of @n joined by @k."),
           ("return @k.join(str(@e) for @f@i)",), "str", ordered=True,
           domain=(("-",), (",",), (" ",), ("/",), ("+",), (":",)), tags=("join", "format", "show"), weight=1.5),
    Finish("join_words", STRINGS, ("Join @n with @k.", "Return a string of @n joined by @k."), ("return @k.join(@g)",),
           "str", ordered=True, domain=(("-",), (",",), (" ",), ("/",), ("+",), (":",)), tags=("join", "link"),
           weight=2),
    Finish("join_characters", ("char",), ("Return a string of @n.", "Join @n into one string.",
                                          "Return @n as a string."),
           ('return "".join(@g)',), "str", ('result = ""', "result += @e", "return result"), ordered=True,
           identity=True,
           tags=("join", "keep", "string"), weight=4),
    Finish("mapping", EVERY, ("Return a dict that maps each of @m to its @y.", "Map each of @m to its @y in a dict."),
           ("return {@x: @e for @f@i}",), "dict[@v, @t]", ("result = {}", "result[@x] = @e", "return result"),
           change="must", ordered=False, tags=("map", "dict", "table"), weight=1.5),
    Finish("spread", ("int",),
           ("Return the difference between the largest and smallest of @n, or 0 if there are none.",),
           ("items = @l", "return max(items) - min(items) if items else 0"), "@t", tags=("spread", "range_of")),
    Finish("sum_and_count", NUMBERS, ("Return the sum and the count of @n as a tuple.",),
           ("items = @l", "return sum(items), len(items)"), "tuple[@t, int]", tags=("sum_and_count", "stats")),
    Finish("reversed", EVERY, ("Return @n in reverse order.", "List @n from last to first."), ("return @l[::-1]",),
           "list[@t]", ordered=True, tags=("reversed", "backward", "reverse")),
    Finish("alternate", EVERY, ("Return every second one of @n, starting with the first.",), ("return @l[::2]",),
           "list[@t]", ordered=True, tags=("alternate", "every_second")),
    Finish("longest", STRINGS, ("Return the length of the longest of @n, or 0 if there are none.",),
           ("return max([len(@e) for @f@i], default=0)",), "int", tags=("longest", "max_length")),
    Finish("total_length", STRINGS, ("Return the total length of @n.",), ("return sum(len(@e) for @f@i)",), "int",
           tags=("total_length", "letters_in")),
    Finish("by_length", STRINGS, ("Sort @n by length, then alphabetically.",),
           ("return sorted(@h, key=lambda s: (len(s), s))",), "list[@t]", tags=("by_length", "length_order")),
    Finish("alphabetical_first", STRINGS, ('Return the alphabetically first of @n, or "" if there are none.',),
           ('return min(@h, default="")',), "str", tags=("alphabetical_first", "earliest")),
    Finish("frequencies", ("char",), ("Return a dict of how often each of @m occurs.",
                                      "Count how often each of @m occurs, in a dict."),
           ("counts = {}", "for @f:", "    if @c:", "        counts[@x] = counts.get(@x, 0) + 1", "return counts"),
           "dict[str, int]", condition="must", change="none", tags=("frequencies", "tally"), weight=1.5),
    Finish("sum_multiple", ("int",), ("Return True if the sum of @n is divisible by @k.",),
           ("return sum(@g) % @k == 0",), "bool", domain=FACTORS, tags=("sum_divisible",)),
    Finish("sum_above", ("int",), ("Return True if the sum of @n is greater than @k.",), ("return sum(@g) > @k",),
           "bool",
           domain=((10,), (15,), (20,), (25,), (30,)), tags=("sum_above", "sum_exceeds")),
)  # fmt: skip


def finishes(*without: str) -> tuple[Finish, ...]:
    """All finishes but the named ones."""
    return tuple(finish for finish in FINISHES if finish.name not in without)
