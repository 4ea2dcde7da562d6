"""Families on one list that are no single pipeline: grouping, sorting by a key, replacing, searching, combining."""

from collections.abc import Sequence
from typing import Any

from hornbook.teacher.builtin.compose import Builder, Choice, Draft, Family, noun_phrase, say, tags_of, type_of
from hornbook.teacher.builtin.pipeline import different, generator_text, guarded, list_parameter, same_type
from hornbook.teacher.builtin.primitives import Kind, changes, conditions
from hornbook.teacher.builtin.wording import Pen, Wording

INT_CONDITIONS, INT_CHANGES = conditions("int"), changes("int")
STR_CONDITIONS, STR_CHANGES = conditions("str"), changes("str")
INT_TO_INT = tuple(change for change in INT_CHANGES if change.gives == "int")
INT_KEY_NAMES = ("last_digit", "digit_count", "digit_sum", "modulo", "divide", "abs", "distance", "square", "binary")
STR_KEY_NAMES = (
    "first",
    "last",
    "head",
    "tail",
    "length",
    "vowel_count",
    "letter_count",
    "distinct_count",
    "sort_letters",
)
INT_KEYS = tuple(change for change in INT_CHANGES if change.name in INT_KEY_NAMES)
STR_KEYS = tuple(change for change in STR_CHANGES if change.name in STR_KEY_NAMES)


def _grouping(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], pen: Pen) -> Draft:
        condition, key, way = parts
        parameter, _, x = list_parameter(kind, pen)
        items = noun_phrase(condition, parameter.name, "", pen)
        doc = say(way.phrase(pen), items).replace("@y", key.by())
        line = way.part.code.replace("@e", key.code(x)).replace("@x", x)
        body = ("result = {}", f"for {x} in {parameter.name}:", *guarded(condition, x, 1, line), "return result")
        returns = f"dict[{type_of(key.part.gives)}, {'int' if way.name == 'count' else parameter.annotation}]"
        return Draft((parameter,), returns, doc, body, (*tags_of(way, condition), key.part.tags, (parameter.name,)))

    return build


GROUPINGS = (
    Choice("group", "result.setdefault(@e, []).append(@x)", ("Group @n by @y in a dict of lists.",
                                                              "Return a dict of lists that groups @n by @y."),
           tags=("group", "group_by"),
           more=("Collect @n in a dict of lists by @y.", "Gather @n into a dict of lists by @y.")),
    Choice("count", "result[@e] = result.get(@e, 0) + 1", ("Count @n by @y in a dict.",
                                                          "Return a dict that counts @n by @y."),
           tags=("count_by", "tally"), more=("Tally @n by @y in a dict.", "Return a dict of the counts of @n by @y.")),
)  # fmt: skip


def _sorting(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], pen: Pen) -> Draft:
        condition, key, way = parts
        parameter, _, x = list_parameter(kind, pen)
        items = noun_phrase(condition, parameter.name, "", pen)
        doc = say(way.phrase(pen), items).replace("@y", key.by())
        source = f"[{x} for {x} in {parameter.name} if {condition.code(x)}]" if condition else parameter.name
        code = way.part.code.replace("@l", source).replace("@y", f"lambda {x}: {key.code(x)}")
        returns = parameter.annotation
        return Draft(
            (parameter,), returns, doc, (f"return {code}",), (*tags_of(way, condition, key), (parameter.name,))
        )

    return build


SORTINGS = (
    Choice("up", "sorted(@l, key=@y)", ("Sort @n by @y, keeping ties in order.",), tags=("sort_by", "order_by"),
           more=("Order @n by @y, keeping ties in order.", "Return @n sorted by @y, ties in their order.")),
    Choice("down", "sorted(@l, key=@y, reverse=True)", ("Sort @n by @y from high to low, keeping ties in order.",),
           tags=("sort_down_by", "rank_by"),
           more=("Order @n from high to low by @y, keeping ties in order.",
                 "Return @n sorted by @y, highest first, ties in their order.")),
)  # fmt: skip


def _partition(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], pen: Pen) -> Draft:
        condition, change = parts
        parameter, _, x = list_parameter(kind, pen)
        items = noun_phrase(condition, parameter.name, "", pen)
        named = change.many(pen, items) if change else items
        doc = pen.pick(Wording(
            (f"Return a pair of lists: {named}; and all other {parameter.name}.",
             f"Split {parameter.name} into a pair of lists: {named}; and all the others."),
            (say(f"Put @n in one list and the other {parameter.name} in another; return both.", named),
             f"Divide {parameter.name} into two lists, returned as a pair: {named}; and the rest."),
        ))  # fmt: skip
        body = (
            "chosen, others = [], []",
            f"for {x} in {parameter.name}:",
            f"    if {condition.code(x)}:",
            f"        chosen.append({change.code(x) if change else x})",
            "    else:",
            f"        others.append({x})",
            "return chosen, others",
        )
        gives = type_of(change.part.gives) if change else type_of(kind)
        returns = f"tuple[list[{gives}], {parameter.annotation}]"
        tags = (("split", "partition", "separate"), *tags_of(condition, change), (parameter.name,))
        return Draft((parameter,), returns, doc, body, tags)

    return build


def _replacement(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], pen: Pen) -> Draft:
        condition, change = parts
        parameter, singular, x = list_parameter(kind, pen)
        test = condition.holds(pen)
        which, by = f"each {singular} that {test}", change.by()
        doc = pen.pick(Wording(
            (f"Return a copy of {parameter.name} where {which} is replaced by its {by}.",
             f"Replace {which} by its {by} and keep the others."),
            (f"In {parameter.name}, replace {which} by its {by}.",
             f"Copy {parameter.name}, replacing {which} by its {by}."),
        ))  # fmt: skip
        body = (f"return [{change.code(x)} if {condition.code(x)} else {x} for {x} in {parameter.name}]",)
        tags = (("replace", "update", "change"), *tags_of(condition, change), (parameter.name,))
        return Draft((parameter,), parameter.annotation, doc, body, tags)

    return build


def _prefix(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], pen: Pen) -> Draft:
        condition, change, end = parts
        parameter, singular, x = list_parameter(kind, pen)
        items = f"the {parameter.name} before the first {singular} that {condition.holds(pen)}"
        doc = say(end.phrase(pen), change.many(pen, items) if change else items)
        before, inside, after = end.part.code.split("; ")
        body = (
            before,
            f"for {x} in {parameter.name}:",
            f"    if {condition.code(x)}:",
            "        break",
            "    " + inside.replace("@e", change.code(x) if change else x),
            after,
        )
        gives = type_of(change.part.gives) if change else type_of(kind)
        return Draft((parameter,), end.part.returns.replace("@t", gives), doc, body,
                     (*tags_of(end), ("before", "until"), *tags_of(condition, change)))  # fmt: skip

    return build


PREFIX_ENDS = (
    Choice("list", "result = []; result.append(@e); return result", ("Return a list of @n.", "List @n."),
           tags=("list", "take"),
           returns="list[@t]"),
    Choice("sum", "total = 0; total += @e; return total", ("Return the sum of @n.", "Add up @n."), tags=("sum",
                                                                                                         "total"),
           returns="int"),
    Choice("count", "count = 0; count += 1; return count", ("Count @n.",), tags=("count",), returns="int"),
)  # fmt: skip


def _prefix_allowed(parts: Sequence[Any]) -> bool:
    condition, change, end = parts
    gives = change.gives if change else condition.kind
    return not (end.name == "sum" and gives != "int") and not (end.name == "count" and change is not None)


def _search(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], pen: Pen) -> Draft:
        condition, way = parts
        parameter, singular, x = list_parameter(kind, pen)
        doc = way.phrase(pen).replace("@a", f"{singular} that {condition.holds(pen)}").replace("@p", parameter.name)
        lines = way.part.code.replace("@x", x).replace("@c", condition.code(x)).replace("@p", parameter.name)
        return Draft(
            (parameter,),
            way.part.returns.replace("@t", type_of(kind)),
            doc,
            tuple(lines.split("; ")),
            (*tags_of(way, condition), (singular,)),
        )

    return build


SEARCHES = (
    Choice("first", "for i, @x in enumerate(@p):;     if @c:;         return i; return -1",
           ("Return the index of the first @a, or -1 if there is none.",
            "Find the index of the first @a, or -1 if there is none."),
           tags=("index_of", "find_first", "position"), returns="int",
           more=("Tell at which index the first @a is, or -1 if there is none.",)),
    Choice("last", "result = -1; for i, @x in enumerate(@p):;     if @c:;         result = i; return result",
           ("Return the index of the last @a, or -1 if there is none.",), tags=("last_index", "find_last"),
           returns="int", more=("Find the index of the last @a, or -1 if there is none.",
                                "Tell at which index the last @a is, or -1 if there is none.")),
    Choice("every", "return [i for i, @x in enumerate(@p) if @c]",
           ("Return a list of the indexes of every @a.", "List the index of each @a."), tags=("indexes", "positions"),
           returns="list[int]", more=("Make a list of the index of each @a.",)),
    Choice("index_sum", "return sum(i for i, @x in enumerate(@p) if @c)",
           ("Return the sum of the indexes of every @a.",),
           tags=("index_sum",), returns="int", more=("Add up the indexes of every @a.", "Sum the index of each @a.")),
    Choice("by_index", "return {i: @x for i, @x in enumerate(@p) if @c}",
           ("Return a dict from the index of each @a to its value.",),
           tags=("index_map",), returns="dict[int, @t]", more=("Map the index of each @a to its value in a dict.",)),
)  # fmt: skip


def _neighbours(parts: Sequence[Any], pen: Pen) -> Draft:
    first, second, way = parts
    parameter, _, _ = list_parameter("int", pen)
    relation = f"a {first.holds(pen)} and b {second.holds(pen)}"
    doc = way.phrase(pen).replace("@w", relation).replace("@p", parameter.name)
    test = f"{first.code('a')} and {second.code('b')}"
    line = way.part.code.replace("@f", f"a, b in zip({parameter.name}, {parameter.name}[1:])").replace("@c", test)
    tags = (*tags_of(way), ("neighbours", "pairs"), *tags_of(first, second))
    return Draft((parameter,), way.part.returns, doc, (f"return {line}",), tags)


NEIGHBOUR_ENDS = (
    Choice("count", "sum(1 for @f if @c)", ("Count the neighbours a, b in @p where @w.",), tags=("count",),
           returns="int"),
    Choice("list", "[(a, b) for @f if @c]", ("List the pairs of neighbours (a, b) in @p where @w.",), tags=("list",),
           returns="list[tuple[int, int]]"),
    Choice("any", "any(@c for @f)", ("Return True if @p has any neighbours a, b where @w.",), tags=("any", "has"),
           returns="bool"),
    Choice("sums", "[a + b for @f if @c]", ("List the sums of the neighbours a, b in @p where @w.",), tags=("sums",),
           returns="list[int]"),
)  # fmt: skip


def _two_conditions(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], pen: Pen) -> Draft:
        first, link, second, end = parts
        parameter, singular, x = list_parameter(kind, pen)
        items = f"{singular} that {first.holds(pen)} {link.name} {second.holds(pen)}"
        doc = say(end.phrase(pen), items)
        left = f"({first.code(x)})" if link.name == "or" and first.part.compound else first.code(x)
        test = f"{left} {link.name} {second.code(x)}"
        code = end.part.code.replace("@x", x).replace("@f", f"{x} in {parameter.name}").replace("@c", test)
        return Draft((parameter,), end.part.returns.replace("@t", type_of(kind)), doc, (f"return {code}",),
                     (*tags_of(end, first), (link.name,), *tags_of(second)))  # fmt: skip

    return build


LINKS = (Choice("and"), Choice("or"))
PAIR_ENDS = (
    Choice("list", "[@x for @f if @c]", ("Return a list of every @n.", "List every @n.", "Collect each @n in a list."),
           tags=("list", "select"), returns="list[@t]"),
    Choice("count", "sum(1 for @f if @c)", ("Count every @n.", "Return the count of every @n."), tags=("count",),
           returns="int"),
    Choice("any", "any(@c for @f)", ("Return True if there is any @n.",), tags=("any", "has"), returns="bool"),
    Choice("set", "{@x for @f if @c}", ("Return a set of every @n.",), tags=("set",), returns="set[@t]"),
    Choice("sorted", "sorted(@x for @f if @c)", ("Return a sorted list of every @n.",), tags=("sorted",),
           returns="list[@t]"),
)  # fmt: skip


def _pair_allowed(parts: Sequence[Any]) -> bool:
    return different((parts[0], parts[2]))


def _two_steps(parts: Sequence[Any], pen: Pen) -> Draft:
    first, change, second, end = parts
    parameter, _, x = list_parameter("int", pen)
    items = change.many(pen, noun_phrase(first, parameter.name, "", pen))
    doc = f"Take {items}. {end.phrase(pen)}".replace("@n", noun_phrase(second, "results", "", pen))
    code = end.part.code.replace("@x", "x").replace("@f", "x in results").replace("@c", second.code("x"))
    body = (f"results = [{generator_text(x, parameter.name, first, change)}]", f"return {code}")
    return Draft((parameter,), end.part.returns.replace("@t", "int"), doc, body, tags_of(end, second, change, first))


STEP_ENDS = (
    Choice("list", "[@x for @f if @c]", ("Return a list of @n.", "List @n."), tags=("list", "keep"),
           returns="list[@t]"),
    Choice("count", "sum(1 for @f if @c)", ("Count @n.", "Return the count of @n."), tags=("count",), returns="int"),
    Choice("sum", "sum(@x for @f if @c)", ("Return the sum of @n.", "Add up @n."), tags=("sum", "total"),
           returns="int"),
    Choice("sorted", "sorted(@x for @f if @c)", ("Return a sorted list of @n.", "Sort @n in ascending order."),
           tags=("sorted",), returns="list[@t]"),
)  # fmt: skip


def _two_steps_allowed(parts: Sequence[Any]) -> bool:
    first, change, second, _ = parts
    named = [part.parameter for part in (first, change, second) if part is not None and part.parameter]
    return (first is None or first.name != second.name) and len(set(named)) == len(named)


FAMILIES: tuple[Family, ...] = (
    Family("grouping numbers", "grouping numbers in a dictionary", 1.4, ((None, *INT_CONDITIONS), INT_KEYS, GROUPINGS),
           _grouping("int")),
    Family("grouping words", "grouping words in a dictionary", 1.6, ((None, *STR_CONDITIONS), STR_KEYS, GROUPINGS),
           _grouping("str")),
    Family("sorting numbers", "sorting numbers with a key", 1.4, ((None, *INT_CONDITIONS), INT_KEYS, SORTINGS),
           _sorting("int")),
    Family("sorting words", "sorting words with a key", 1.6, ((None, *STR_CONDITIONS), STR_KEYS, SORTINGS),
           _sorting("str")),
    Family("splitting numbers", "splitting a list in two", 1.4, (INT_CONDITIONS, (None, *INT_CHANGES)),
           _partition("int")),
    Family("splitting words", "splitting a list of words in two", 1.4, (STR_CONDITIONS, (None, *STR_CHANGES)),
           _partition("str")),
    Family("replacing numbers", "replacing some items of a list", 1.6, (INT_CONDITIONS, INT_CHANGES),
           _replacement("int"), same_type),
    Family("replacing words", "replacing some words of a list", 1.4, (STR_CONDITIONS, STR_CHANGES),
           _replacement("str"), same_type),
    Family("prefixes of numbers", "stopping a loop early with break", 1.4,
           (INT_CONDITIONS, (None, *INT_CHANGES), PREFIX_ENDS), _prefix("int"), _prefix_allowed),
    Family("prefixes of words", "stopping early among words", 1.2, (STR_CONDITIONS, (None, *STR_CHANGES), PREFIX_ENDS),
           _prefix("str"), _prefix_allowed),
    Family("searching numbers", "searching a list for a position", 1.6, (INT_CONDITIONS, SEARCHES), _search("int")),
    Family("searching words", "searching words for a position", 1.4, (STR_CONDITIONS, SEARCHES), _search("str")),
    Family("neighbours", "comparing neighbours", 1.4, (INT_CONDITIONS, INT_CONDITIONS, NEIGHBOUR_ENDS), _neighbours,
           different),
    Family("two conditions", "combining conditions with and and or", 2.0,
           (INT_CONDITIONS, LINKS, INT_CONDITIONS, PAIR_ENDS), _two_conditions("int"), _pair_allowed),
    Family("two word conditions", "combining conditions on words", 1.8, (STR_CONDITIONS, LINKS, STR_CONDITIONS,
                                                                         PAIR_ENDS),
           _two_conditions("str"), _pair_allowed),
    Family("two steps", "working in two steps", 1.8, ((None, *INT_CONDITIONS), INT_TO_INT, INT_CONDITIONS, STEP_ENDS),
           _two_steps,
           _two_steps_allowed, none_share=(0.6, 0, 0, 0)),
)  # fmt: skip
