"""Families on collections whose shape is not one pipeline: grouping, searching, stacks, tables, windows, pairs."""

from collections.abc import Sequence
from random import Random
from typing import Any

from hornbook.teacher.builtin.compose import Bound, Builder, Choice, Draft, Family, Parameter, noun_phrase, type_of
from hornbook.teacher.builtin.pipeline import SINGULAR
from hornbook.teacher.builtin.primitives import Kind, changes, conditions
from hornbook.teacher.builtin.sources import DICTS, INTS, MATRICES, WORDS

INT_CONDITIONS, INT_CHANGES = conditions("int"), changes("int")
STR_CONDITIONS, STR_CHANGES = conditions("str"), changes("str")
INT_TO_INT = tuple(change for change in INT_CHANGES if change.gives == "int")
STR_TO_STR = tuple(change for change in STR_CHANGES if change.gives == "str")
INT_KEYS = tuple(c for c in INT_CHANGES if c.name in ("last_digit", "digit_count", "digit_sum", "modulo", "divide", "abs",
                                                      "distance", "square", "binary"))  # fmt: skip
STR_KEYS = tuple(c for c in STR_CHANGES if c.name in ("first", "last", "head", "tail", "length", "vowel_count",
                                                      "letter_count", "distinct_count", "sort_letters"))  # fmt: skip
SHAPES: dict[Kind, tuple[tuple[str, ...], str, str, str]] = {
    "int": (INTS, "list[int]", "ints", "x"),
    "str": (WORDS, "list[str]", "words", "w"),
}


def _tags(*parts: Bound | None) -> tuple[tuple[str, ...], ...]:
    return tuple(part.part.tags for part in parts if part is not None)


def _list_of(kind: Kind, rng: Random) -> tuple[Parameter, str, str]:
    """A list parameter, its singular noun, and the loop variable."""
    names, annotation, maker, variable = SHAPES[kind]
    name = rng.choice(names)
    return Parameter(name, annotation, maker), SINGULAR[name], variable


def _when(condition: Bound | None, variable: str, depth: int, line: str) -> list[str]:
    """A line of a loop body, under the condition where there is one."""
    indent = "    " * depth
    if condition is None:
        return [indent + line]
    return [f"{indent}if {condition.code(variable)}:", f"{indent}    {line}"]


def _grouping(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], rng: Random) -> Draft:
        condition, key, way = parts
        parameter, _, x = _list_of(kind, rng)
        items = noun_phrase(condition, parameter.name, "", rng)
        doc = way.phrase(rng).replace("@n", items).replace("@y", key.by())
        line = way.part.code.replace("@e", key.code(x)).replace("@x", x)
        body = ("result = {}", f"for {x} in {parameter.name}:", *_when(condition, x, 1, line), "return result")
        returns = f"dict[{type_of(key.part.gives)}, {'int' if way.name == 'count' else parameter.annotation}]"
        return Draft((parameter,), returns, doc, body, (*_tags(way, condition), key.part.tags, (parameter.name,)))

    return build


GROUPINGS = (
    Choice("group", "result.setdefault(@e, []).append(@x)", ("Group @n by @y in a dict of lists.",
                                                              "Return a dict of lists that groups @n by @y."),
           tags=("group", "group_by")),
    Choice("count", "result[@e] = result.get(@e, 0) + 1", ("Count @n by @y in a dict.",
                                                          "Return a dict that counts @n by @y."), tags=("count_by", "tally")),
)  # fmt: skip


def _sorting(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], rng: Random) -> Draft:
        condition, key, way = parts
        parameter, _, x = _list_of(kind, rng)
        items = noun_phrase(condition, parameter.name, "", rng)
        doc = way.phrase(rng).replace("@n", items).replace("@y", key.by())
        source = f"[{x} for {x} in {parameter.name} if {condition.code(x)}]" if condition else parameter.name
        code = way.part.code.replace("@l", source).replace("@y", f"lambda {x}: {key.code(x)}")
        returns = parameter.annotation
        return Draft((parameter,), returns, doc, (f"return {code}",), (*_tags(way, condition, key), (parameter.name,)))

    return build


SORTINGS = (
    Choice("up", "sorted(@l, key=@y)", ("Sort @n by @y, keeping ties in order.",), tags=("sort_by", "order_by")),
    Choice("down", "sorted(@l, key=@y, reverse=True)", ("Sort @n by @y from high to low, keeping ties in order.",),
           tags=("sort_down_by", "rank_by")),
)  # fmt: skip


def _partition(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], rng: Random) -> Draft:
        condition, change = parts
        parameter, _, x = _list_of(kind, rng)
        items = noun_phrase(condition, parameter.name, "", rng)
        named = change.many(rng, items) if change else items
        doc = rng.choice((f"Return a pair of lists: {named}; and all other {parameter.name}.",
                          f"Split {parameter.name} into a pair of lists: {named}; and all the others."))  # fmt: skip
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
        tags = (("split", "partition", "separate"), *_tags(condition, change), (parameter.name,))
        return Draft((parameter,), returns, doc, body, tags)

    return build


def _replacement(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], rng: Random) -> Draft:
        condition, change = parts
        parameter, singular, x = _list_of(kind, rng)
        test = condition.holds(rng)
        doc = rng.choice((f"Return a copy of {parameter.name} where each {singular} that {test} is replaced by its {change.by()}.",
                          f"Replace each {singular} that {test} by its {change.by()} and keep the others."))  # fmt: skip
        body = (f"return [{change.code(x)} if {condition.code(x)} else {x} for {x} in {parameter.name}]",)
        tags = (("replace", "update", "change"), *_tags(condition, change), (parameter.name,))
        return Draft((parameter,), parameter.annotation, doc, body, tags)

    return build


def _prefix(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], rng: Random) -> Draft:
        condition, change, end = parts
        parameter, singular, x = _list_of(kind, rng)
        items = f"the {parameter.name} before the first {singular} that {condition.holds(rng)}"
        doc = end.phrase(rng).replace("@n", change.many(rng, items) if change else items)
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
                     (*_tags(end), ("before", "until"), *_tags(condition, change)))  # fmt: skip

    return build


PREFIX_ENDS = (
    Choice("list", "result = []; result.append(@e); return result", ("Return a list of @n.", "List @n."), tags=("list", "take"),
           returns="list[@t]"),
    Choice("sum", "total = 0; total += @e; return total", ("Return the sum of @n.", "Add up @n."), tags=("sum", "total"),
           returns="int"),
    Choice("count", "count = 0; count += 1; return count", ("Count @n.",), tags=("count",), returns="int"),
)  # fmt: skip


def _prefix_allowed(parts: Sequence[Any]) -> bool:
    condition, change, end = parts
    gives = change.gives if change else condition.kind
    return not (end.name == "sum" and gives != "int") and not (end.name == "count" and change is not None)


def _search(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], rng: Random) -> Draft:
        condition, way = parts
        parameter, singular, x = _list_of(kind, rng)
        doc = way.phrase(rng).replace("@a", f"{singular} that {condition.holds(rng)}").replace("@p", parameter.name)
        lines = way.part.code.replace("@x", x).replace("@c", condition.code(x)).replace("@p", parameter.name)
        return Draft((parameter,), way.part.returns.replace("@t", type_of(kind)), doc, tuple(lines.split("; ")), (*_tags(way, condition), (singular,)))

    return build


SEARCHES = (
    Choice("first", "for i, @x in enumerate(@p):;     if @c:;         return i; return -1",
           ("Return the index of the first @a, or -1 if there is none.", "Find the index of the first @a, or -1 if there is none."),
           tags=("index_of", "find_first", "position"), returns="int"),
    Choice("last", "result = -1; for i, @x in enumerate(@p):;     if @c:;         result = i; return result",
           ("Return the index of the last @a, or -1 if there is none.",), tags=("last_index", "find_last"), returns="int"),
    Choice("every", "return [i for i, @x in enumerate(@p) if @c]",
           ("Return a list of the indexes of every @a.", "List the index of each @a."), tags=("indexes", "positions"),
           returns="list[int]"),
    Choice("index_sum", "return sum(i for i, @x in enumerate(@p) if @c)", ("Return the sum of the indexes of every @a.",),
           tags=("index_sum",), returns="int"),
    Choice("by_index", "return {i: @x for i, @x in enumerate(@p) if @c}", ("Return a dict from the index of each @a to its value.",),
           tags=("index_map",), returns="dict[int, @t]"),
)  # fmt: skip


def _neighbours(parts: Sequence[Any], rng: Random) -> Draft:
    first, second, way = parts
    parameter, _, _ = _list_of("int", rng)
    relation = f"a {first.holds(rng)} and b {second.holds(rng)}"
    doc = way.phrase(rng).replace("@w", relation).replace("@p", parameter.name)
    test = f"{first.code('a')} and {second.code('b')}"
    line = way.part.code.replace("@f", f"a, b in zip({parameter.name}, {parameter.name}[1:])").replace("@c", test)
    tags = (*_tags(way), ("neighbours", "pairs"), *_tags(first, second))
    return Draft((parameter,), way.part.returns, doc, (f"return {line}",), tags)


NEIGHBOUR_ENDS = (
    Choice("count", "sum(1 for @f if @c)", ("Count the neighbours a, b in @p where @w.",), tags=("count",), returns="int"),
    Choice("list", "[(a, b) for @f if @c]", ("List the pairs of neighbours (a, b) in @p where @w.",), tags=("list",),
           returns="list[tuple[int, int]]"),
    Choice("any", "any(@c for @f)", ("Return True if @p has any neighbours a, b where @w.",), tags=("any", "has"),
           returns="bool"),
    Choice("sums", "[a + b for @f if @c]", ("List the sums of the neighbours a, b in @p where @w.",), tags=("sums",),
           returns="list[int]"),
)  # fmt: skip


def _different(parts: Sequence[Any]) -> bool:
    first, second = parts[0], parts[1]
    return bool(first.name != second.name and not (first.parameter and first.parameter == second.parameter))


def _pieces(parts: Sequence[Any], rng: Random) -> Draft:
    shape, aggregate, change = parts
    parameter, _, _ = _list_of("int", rng)
    piece, noun, opening = shape.fill(shape.part.code), shape.part.returns, shape.phrase(rng)
    loop = piece.replace("@p", parameter.name)
    window = f"{parameter.name}[i:i + {shape.fill('@k')}]"
    value = aggregate.part.code.replace("@l", window)
    items = aggregate.phrase(rng).replace("@n", noun)
    doc = f"{opening} Return a list of {change.many(rng, items) if change else items}."
    gives = type_of(change.part.gives) if change else aggregate.part.returns
    element = change.code(value) if change else value
    return Draft((parameter,), f"list[{gives}]", doc.replace("@p", parameter.name), (f"return [{element} for {loop}]",),
                 (*_tags(shape, aggregate, change), (parameter.name,)))  # fmt: skip


PIECES = (
    Choice("chunks", "i in range(0, len(@p), @k)", ("Split @p into chunks of @k.", "Cut @p into pieces of length @k."),
           ((2,), (3,), (4,)), ("chunk", "chunks"), "the chunks"),
    Choice("windows", "i in range(len(@p) - @k + 1)", ("Look at each window of @k neighbours in @p.",
                                                     "Slide a window of length @k over @p."),
           ((2,), (3,)), ("window", "sliding"), "the windows"),
)  # fmt: skip
AGGREGATES = (
    Choice("sum", "sum(@l)", ("the sums of @n",), tags=("sums", "sum"), returns="int"),
    Choice("max", "max(@l)", ("the maxima of @n",), tags=("maxima", "max"), returns="int"),
    Choice("min", "min(@l)", ("the minima of @n",), tags=("minima", "min"), returns="int"),
    Choice("first_item", "@l[0]", ("the first items of @n",), tags=("firsts",), returns="int"),
    Choice("last_item", "@l[-1]", ("the last items of @n",), tags=("lasts",), returns="int"),
)
ROW_AGGREGATES = (
    Choice("sum", "sum(@g)", ("the sum of @n",), tags=("sum", "totals"), returns="int"),
    Choice("largest", "max(@h, default=0)", ("the largest of @n (0 if none)",), tags=("largest", "max"), returns="int"),
    Choice("smallest", "min(@h, default=0)", ("the smallest of @n (0 if none)",), tags=("smallest", "min"), returns="int"),
    Choice("list", "[@g]", ("a list of @n",), tags=("list", "collect"), returns="list[@t]"),
    Choice("sorted", "sorted(@g)", ("a sorted list of @n",), tags=("sorted",), returns="list[@t]"),
    Choice("set", "{@g}", ("the set of @n",), tags=("set",), returns="set[@t]"),
)


def _rows(parts: Sequence[Any], rng: Random) -> Draft:
    aggregate, condition, change = parts
    name = rng.choice(MATRICES[:5])
    items = noun_phrase(condition, "values", "", rng)
    said = aggregate.phrase(rng).replace("@n", change.many(rng, items) if change else items)
    doc = rng.choice((f"For each row of {name}, take {said}. Return these in a list.",
                      f"Return a list with, for each row of {name}, {said}."))  # fmt: skip
    generator = _generator_text("x", "row", condition, change)
    code = aggregate.part.code.replace("@g", generator).replace("@h", f"[{generator}]")
    returns = f"list[{aggregate.part.returns.replace('@t', type_of(change.part.gives) if change else 'int')}]"
    return Draft((Parameter(name, "list[list[int]]", "matrix"),), returns, doc, (f"return [{code} for row in {name}]",),
                 (*_tags(aggregate, condition, change), ("rows", "by_row")))  # fmt: skip


def _generator_text(variable: str, items: str, condition: Bound | None, change: Bound | None) -> str:
    element = change.code(variable) if change else variable
    only = f" if {condition.code(variable)}" if condition else ""
    return f"{element} for {variable} in {items}{only}"


def _rows_allowed(parts: Sequence[Any]) -> bool:
    aggregate, condition, change = parts
    numeric = aggregate.name in ("sum", "largest", "smallest")
    return (condition is not None or change is not None) and not (numeric and change is not None and change.gives != "int")


def _grid(parts: Sequence[Any], rng: Random) -> Draft:
    condition, change = parts
    name = rng.choice(MATRICES[:5])
    if condition:
        doc = f"Return a copy of {name} where each value that {condition.holds(rng)} is replaced by its {change.by()}."
        element = f"{change.code('x')} if {condition.code('x')} else x"
    else:
        doc = f"Return a copy of {name} where each value is replaced by its {change.by()}."
        element = change.code("x")
    gives = type_of(change.part.gives)
    return Draft((Parameter(name, "list[list[int]]", "matrix"),), f"list[list[{gives}]]", doc,
                 (f"return [[{element} for x in row] for row in {name}]",),
                 (("replace", "map", "update"), *_tags(condition, change), ("cells", "matrix")))  # fmt: skip


def _same_type(parts: Sequence[Any]) -> bool:
    condition, change = parts[0], parts[1]
    return bool(change.by and (condition is None or change.gives == condition.kind))


def _stack(parts: Sequence[Any], rng: Random) -> Draft:
    condition, change, end = parts
    parameter, singular, x = _list_of("int", rng)
    pushed = f"its {change.by()}" if change else "it"
    doc = f"For each {singular}: if it {condition.holds(rng)}, push {pushed} on a stack, otherwise pop the top if any. {end.phrase(rng)}"
    body = (
        "stack = []",
        f"for {x} in {parameter.name}:",
        f"    if {condition.code(x)}:",
        f"        stack.append({change.code(x) if change else x})",
        "    elif stack:",
        "        stack.pop()",
        f"return {end.part.code}",
    )
    return Draft((parameter,), end.part.returns, doc, body, (("stack", "push_pop"), *_tags(end, condition, change)))


STACK_ENDS = (
    Choice("stack", "stack", ("Return the stack.",), tags=("final",), returns="list[int]"),
    Choice("sum", "sum(stack)", ("Return the sum of the stack.",), tags=("sum",), returns="int"),
    Choice("size", "len(stack)", ("Return the size of the stack.",), tags=("size",), returns="int"),
)


def _queue(parts: Sequence[Any], rng: Random) -> Draft:
    size, condition, change, end = parts
    parameter, _, x = _list_of("int", rng)
    items = noun_phrase(condition, parameter.name, "", rng)
    items = change.many(rng, items) if change else items
    doc = f"Put {items}, in a queue that keeps only the last {size.fill('@k')}. {end.phrase(rng)}".replace(" ,", ",")
    body = (
        f"queue = deque(maxlen={size.fill('@k')})",
        f"for {x} in {parameter.name}:",
        *_when(condition, x, 1, f"queue.append({change.code(x) if change else x})"),
        f"return {end.part.code}",
    )
    return Draft((parameter,), end.part.returns, doc, body, (("queue", "recent"), *_tags(end, condition, change)),
                 ("from collections import deque",))  # fmt: skip


QUEUE_SIZES = Choice("size", domain=((2,), (3,), (4,)))
QUEUE_ENDS = (
    Choice("list", "list(queue)", ("Return the queue as a list.",), tags=("list",), returns="list[int]"),
    Choice("sum", "sum(queue)", ("Return the sum of the queue.",), tags=("sum",), returns="int"),
    Choice("max", "max(queue, default=0)", ("Return the largest item in the queue, or 0 if it is empty.",), tags=("max",),
           returns="int"),
)  # fmt: skip


def _entries(parts: Sequence[Any], rng: Random) -> Draft:
    """Entries of a dict: a condition on one side, a change of either side, and what is made of them."""
    condition, change, end = parts
    name = rng.choice(DICTS)
    tested, variable = ("key", "k") if condition.part.kind == "str" else ("value", "v")
    if change and change.part.kind == "str":
        key, value, said = change.code("k"), "v", "keys"
    elif change:
        key, value, said = "k", change.code("v"), "values"
    else:
        key, value, said = "k", "v", ""
    entries = f"the entries of {name} whose {tested} {condition.holds(rng)}"
    side = end.part.returns.split(";")[1]
    changed = change.many(rng, "the " + (said or side)) if change else f"the {side}"
    doc = end.phrase(rng).replace("@n", entries).replace("@c", changed)
    if change and side == "entries":
        doc = f"Keep {entries}, with {change.many(rng, 'the ' + said)}."
    code = end.part.code.replace("@k", key).replace("@v", value)
    code = code.replace("@i", f"for k, v in {name}.items() if {condition.code(variable)}")
    key_type = type_of(change.part.gives) if change and said == "keys" else "str"
    value_type = type_of(change.part.gives) if change and said == "values" else "int"
    returns = end.part.returns.split(";")[0].replace("@k", key_type).replace("@v", value_type)
    return Draft((Parameter(name, "dict[str, int]", "stock"),), returns, doc, (f"return {code}",),
                 (*_tags(end, condition, change), (f"by_{tested}", name)))  # fmt: skip


ENTRY_ENDS = (
    Choice("dict", "{@k: @v @i}", ("Return a dict of @n.", "Keep only @n."), tags=("filter", "keep"), returns="dict[@k, @v];entries"),
    Choice("values", "[@v @i]", ("Take @n. Return a list of @c.", "List @c of @n."), tags=("values",), returns="list[@v];values"),
    Choice("keys", "[@k @i]", ("Take @n. Return a list of @c.", "List @c of @n."), tags=("keys",), returns="list[@k];keys"),
    Choice("sorted_keys", "sorted(@k @i)", ("Take @n. Return @c in sorted order.",), tags=("sorted_keys",), returns="list[@k];keys"),
    Choice("sum", "sum(@v @i)", ("Take @n. Return the sum of @c.",), tags=("sum", "total"), returns="int;values"),
)  # fmt: skip


def _entries_allowed(parts: Sequence[Any]) -> bool:
    _, change, end = parts
    side = end.returns.split(";")[1]
    if change is None:
        return True
    if side == "entries":
        return bool(change.gives == change.kind)
    if end.name == "sum" and change.gives != "int":
        return False
    return bool((change.kind == "str") == (side == "keys"))


def _points(parts: Sequence[Any], rng: Random) -> Draft:
    first, second, value, end = parts
    name = rng.choice(("points", "positions", "cells"))
    doc = end.phrase(rng).replace("@n", f"{value.phrase(rng)} for the (x, y) in {name} where x {first.holds(rng)} and y {second.holds(rng)}")
    generator = f"{value.part.code} for x, y in {name} if {first.code('x')} and {second.code('y')}"
    returns = end.part.returns
    return Draft((Parameter(name, "list[tuple[int, int]]", "points"),), returns, doc,
                 ("return " + end.part.code.replace("@g", generator),), (*_tags(end, value, first, second), ("points",)))  # fmt: skip


POINT_VALUES = (
    Choice("x", "x", ("x",), tags=("x",)),
    Choice("y", "y", ("y",), tags=("y",)),
    Choice("sum", "x + y", ("x plus y",), tags=("sums",)),
    Choice("difference", "x - y", ("x minus y",), tags=("differences",)),
    Choice("product", "x * y", ("x times y",), tags=("products",)),
)
POINT_ENDS = (
    Choice("list", "[@g]", ("Return a list of @n.", "List @n."), tags=("list",), returns="list[int]"),
    Choice("sum", "sum(@g)", ("Return the sum of @n.", "Add up @n."), tags=("sum", "total"), returns="int"),
    Choice("set", "{@g}", ("Return the set of @n.",), tags=("set",), returns="set[int]"),
)


def _two_conditions(kind: Kind) -> Builder:
    def build(parts: Sequence[Any], rng: Random) -> Draft:
        first, link, second, end = parts
        parameter, singular, x = _list_of(kind, rng)
        items = f"{singular} that {first.holds(rng)} {link.name} {second.holds(rng)}"
        doc = end.phrase(rng).replace("@n", items)
        left = f"({first.code(x)})" if link.name == "or" and first.part.compound else first.code(x)
        test = f"{left} {link.name} {second.code(x)}"
        code = end.part.code.replace("@x", x).replace("@f", f"{x} in {parameter.name}").replace("@c", test)
        return Draft((parameter,), end.part.returns.replace("@t", type_of(kind)), doc, (f"return {code}",),
                     (*_tags(end, first), (link.name,), *_tags(second)))  # fmt: skip

    return build


LINKS = (Choice("and"), Choice("or"))
PAIR_ENDS = (
    Choice("list", "[@x for @f if @c]", ("Return a list of every @n.", "List every @n.", "Collect each @n in a list."),
           tags=("list", "select"), returns="list[@t]"),
    Choice("count", "sum(1 for @f if @c)", ("Count every @n.", "Return the count of every @n."), tags=("count",), returns="int"),
    Choice("any", "any(@c for @f)", ("Return True if there is any @n.",), tags=("any", "has"), returns="bool"),
    Choice("set", "{@x for @f if @c}", ("Return a set of every @n.",), tags=("set",), returns="set[@t]"),
    Choice("sorted", "sorted(@x for @f if @c)", ("Return a sorted list of every @n.",), tags=("sorted",), returns="list[@t]"),
)  # fmt: skip


def _pair_allowed(parts: Sequence[Any]) -> bool:
    return _different((parts[0], parts[2]))


def _two_steps(parts: Sequence[Any], rng: Random) -> Draft:
    first, change, second, end = parts
    parameter, _, x = _list_of("int", rng)
    items = change.many(rng, noun_phrase(first, parameter.name, "", rng))
    doc = f"Take {items}. {end.phrase(rng)}".replace("@n", noun_phrase(second, "results", "", rng))
    code = end.part.code.replace("@x", "x").replace("@f", "x in results").replace("@c", second.code("x"))
    body = (f"results = [{_generator_text(x, parameter.name, first, change)}]", f"return {code}")
    return Draft((parameter,), end.part.returns.replace("@t", "int"), doc, body, _tags(end, second, change, first))


STEP_ENDS = (
    Choice("list", "[@x for @f if @c]", ("Return a list of @n.", "List @n."), tags=("list", "keep"), returns="list[@t]"),
    Choice("count", "sum(1 for @f if @c)", ("Count @n.", "Return the count of @n."), tags=("count",), returns="int"),
    Choice("sum", "sum(@x for @f if @c)", ("Return the sum of @n.", "Add up @n."), tags=("sum", "total"), returns="int"),
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
    Family("sorting numbers", "sorting numbers with a key", 1.4, ((None, *INT_CONDITIONS), INT_KEYS, SORTINGS), _sorting("int")),
    Family("sorting words", "sorting words with a key", 1.6, ((None, *STR_CONDITIONS), STR_KEYS, SORTINGS), _sorting("str")),
    Family("splitting numbers", "splitting a list in two", 1.4, (INT_CONDITIONS, (None, *INT_CHANGES)), _partition("int")),
    Family("splitting words", "splitting a list of words in two", 1.4, (STR_CONDITIONS, (None, *STR_CHANGES)), _partition("str")),
    Family("replacing numbers", "replacing some items of a list", 1.6, (INT_CONDITIONS, INT_CHANGES), _replacement("int"), _same_type),
    Family("replacing words", "replacing some words of a list", 1.4, (STR_CONDITIONS, STR_CHANGES), _replacement("str"), _same_type),
    Family("prefixes of numbers", "stopping a loop early with break", 1.4,
           (INT_CONDITIONS, (None, *INT_CHANGES), PREFIX_ENDS), _prefix("int"), _prefix_allowed),
    Family("prefixes of words", "stopping early among words", 1.2, (STR_CONDITIONS, (None, *STR_CHANGES), PREFIX_ENDS),
           _prefix("str"), _prefix_allowed),
    Family("searching numbers", "searching a list for a position", 1.6, (INT_CONDITIONS, SEARCHES), _search("int")),
    Family("searching words", "searching words for a position", 1.4, (STR_CONDITIONS, SEARCHES), _search("str")),
    Family("neighbours", "comparing neighbours", 1.4, (INT_CONDITIONS, INT_CONDITIONS, NEIGHBOUR_ENDS), _neighbours, _different),
    Family("pieces", "chunks and sliding windows", 1.4, (PIECES, AGGREGATES, (None, *INT_CHANGES)), _pieces),
    Family("rows", "working on each row of a table", 1.4, (ROW_AGGREGATES, (None, *INT_CONDITIONS), (None, *INT_CHANGES)), _rows,
           _rows_allowed),
    Family("grids", "changing each cell of a table", 1.2, ((None, *INT_CONDITIONS), INT_CHANGES), _grid, _same_type),
    Family("stacks", "stacks", 1.2, (INT_CONDITIONS, (None, *INT_TO_INT), STACK_ENDS), _stack),
    Family("queues", "queues", 1.2, ((QUEUE_SIZES,), (None, *INT_CONDITIONS), (None, *INT_TO_INT), QUEUE_ENDS), _queue,
           none_share=(0, 0.3, 0.5, 0)),
    Family("entries by value", "choosing entries of a dictionary by value", 1.6,
           (INT_CONDITIONS, (None, *INT_CHANGES, *STR_CHANGES), ENTRY_ENDS), _entries, _entries_allowed),
    Family("entries by key", "choosing entries of a dictionary by key", 1.4,
           (STR_CONDITIONS, (None, *INT_CHANGES, *STR_CHANGES), ENTRY_ENDS), _entries, _entries_allowed),
    Family("points", "points with two coordinates", 1.4, (INT_CONDITIONS, INT_CONDITIONS, POINT_VALUES, POINT_ENDS), _points,
           _different),
    Family("two conditions", "combining conditions with and and or", 2.0,
           (INT_CONDITIONS, LINKS, INT_CONDITIONS, PAIR_ENDS), _two_conditions("int"), _pair_allowed),
    Family("two word conditions", "combining conditions on words", 1.8, (STR_CONDITIONS, LINKS, STR_CONDITIONS, PAIR_ENDS),
           _two_conditions("str"), _pair_allowed),
    Family("two steps", "working in two steps", 1.8, ((None, *INT_CONDITIONS), INT_TO_INT, INT_CONDITIONS, STEP_ENDS), _two_steps,
           _two_steps_allowed, none_share=(0.6, 0, 0, 0)),
)  # fmt: skip
