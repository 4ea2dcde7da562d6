"""Families on tables and containers: windows, rows, grids, stacks, queues, entries of dictionaries, points."""

from collections.abc import Sequence
from typing import Any

from hornbook.teacher.builtin.compose import (
    Choice,
    Draft,
    Family,
    Parameter,
    noun_phrase,
    say,
    tags_of,
    type_of,
)  # fmt: skip
from hornbook.teacher.builtin.pipeline import different, generator_text, guarded, list_parameter, same_type
from hornbook.teacher.builtin.primitives import changes, conditions
from hornbook.teacher.builtin.wording import DICTS, GRIDS, POINTS, Pen, Wording

INT_CONDITIONS, INT_CHANGES = conditions("int"), changes("int")
STR_CONDITIONS, STR_CHANGES = conditions("str"), changes("str")
INT_TO_INT = tuple(change for change in INT_CHANGES if change.gives == "int")


def _pieces(parts: Sequence[Any], pen: Pen) -> Draft:
    shape, aggregate, change = parts
    parameter, _, _ = list_parameter("int", pen)
    piece, noun, opening = shape.fill(shape.part.code), shape.part.returns, shape.phrase(pen)
    loop = piece.replace("@p", parameter.name)
    window = f"{parameter.name}[i:i + {shape.fill('@k')}]"
    value = aggregate.part.code.replace("@l", window)
    items = say(aggregate.phrase(pen), noun)
    doc = f"{opening} Return a list of {change.many(pen, items) if change else items}."
    gives = type_of(change.part.gives) if change else aggregate.part.returns
    element = change.code(value) if change else value
    return Draft((parameter,), f"list[{gives}]", doc.replace("@p", parameter.name), (f"return [{element} for {loop}]",),
                 (*tags_of(shape, aggregate, change), (parameter.name,)))  # fmt: skip


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
    Choice(
        "smallest", "min(@h, default=0)", ("the smallest of @n (0 if none)",), tags=("smallest", "min"), returns="int"
    ),
    Choice("list", "[@g]", ("a list of @n",), tags=("list", "collect"), returns="list[@t]"),
    Choice("sorted", "sorted(@g)", ("a sorted list of @n",), tags=("sorted",), returns="list[@t]"),
    Choice("set", "{@g}", ("the set of @n",), tags=("set",), returns="set[@t]"),
)


def _rows(parts: Sequence[Any], pen: Pen) -> Draft:
    aggregate, condition, change = parts
    name = pen.pick(GRIDS)
    items = noun_phrase(condition, "values", "", pen)
    said = say(aggregate.phrase(pen), change.many(pen, items) if change else items)
    doc = pen.pick(Wording(
        (f"For each row of {name}, take {said}. Return these in a list.",
         f"Return a list with, for each row of {name}, {said}."),
        (f"List, for each row of {name}, {said}.", f"From each row of {name} collect {said}, in a list."),
    ))  # fmt: skip
    generator = generator_text("x", "row", condition, change)
    code = aggregate.part.code.replace("@g", generator).replace("@h", f"[{generator}]")
    returns = f"list[{aggregate.part.returns.replace('@t', type_of(change.part.gives) if change else 'int')}]"
    return Draft((Parameter(name, "list[list[int]]", "matrix"),), returns, doc, (f"return [{code} for row in {name}]",),
                 (*tags_of(aggregate, condition, change), ("rows", "by_row")))  # fmt: skip


def _rows_allowed(parts: Sequence[Any]) -> bool:
    aggregate, condition, change = parts
    if aggregate.name in ("sum", "largest", "smallest") and change is not None and change.gives != "int":
        return False
    return condition is not None or change is not None


def _grid(parts: Sequence[Any], pen: Pen) -> Draft:
    condition, change = parts
    name = pen.pick(GRIDS)
    if condition:
        which = f"each value that {condition.holds(pen)}"
        element = f"{change.code('x')} if {condition.code('x')} else x"
    else:
        which = "each value"
        element = change.code("x")
    doc = pen.vary(
        f"Return a copy of {name} where {which} is replaced by its {change.by()}.",
        f"Copy {name} with {which} replaced by its {change.by()}.",
        f"In a copy of {name}, replace {which} by its {change.by()}.",
    )
    gives = type_of(change.part.gives)
    return Draft((Parameter(name, "list[list[int]]", "matrix"),), f"list[list[{gives}]]", doc,
                 (f"return [[{element} for x in row] for row in {name}]",),
                 (("replace", "map", "update"), *tags_of(condition, change), ("cells", "matrix")))  # fmt: skip


def _stack(parts: Sequence[Any], pen: Pen) -> Draft:
    condition, change, end = parts
    parameter, singular, x = list_parameter("int", pen)
    pushed = f"its {change.by()}" if change else "it"
    test = condition.holds(pen)
    rule = pen.vary(
        f"For each {singular}: if it {test}, push {pushed} on a stack, otherwise pop the top if any.",
        f"Take each {singular} in turn. If it {test}, push {pushed} on a stack; if not, pop the top if any.",
        f"Keep a stack: for each {singular} that {test} push {pushed}, for any other pop the top if any.",
    )
    doc = f"{rule} {end.phrase(pen)}"
    body = (
        "stack = []",
        f"for {x} in {parameter.name}:",
        f"    if {condition.code(x)}:",
        f"        stack.append({change.code(x) if change else x})",
        "    elif stack:",
        "        stack.pop()",
        f"return {end.part.code}",
    )
    return Draft((parameter,), end.part.returns, doc, body, (("stack", "push_pop"), *tags_of(end, condition, change)))


STACK_ENDS = (
    Choice("stack", "stack", ("Return the stack.",), tags=("final",), returns="list[int]"),
    Choice("sum", "sum(stack)", ("Return the sum of the stack.",), tags=("sum",), returns="int"),
    Choice("size", "len(stack)", ("Return the size of the stack.",), tags=("size",), returns="int"),
)


def _queue(parts: Sequence[Any], pen: Pen) -> Draft:
    size, condition, change, end = parts
    parameter, _, x = list_parameter("int", pen)
    items = noun_phrase(condition, parameter.name, "", pen)
    items = change.many(pen, items) if change else items
    doc = f"{say('Put @n in a queue', items)} that keeps only the last {size.fill('@k')}. {end.phrase(pen)}"
    body = (
        f"queue = deque(maxlen={size.fill('@k')})",
        f"for {x} in {parameter.name}:",
        *guarded(condition, x, 1, f"queue.append({change.code(x) if change else x})"),
        f"return {end.part.code}",
    )
    return Draft((parameter,), end.part.returns, doc, body, (("queue", "recent"), *tags_of(end, condition, change)),
                 ("from collections import deque",))  # fmt: skip


QUEUE_SIZES = Choice("size", domain=((2,), (3,), (4,)))
QUEUE_ENDS = (
    Choice("list", "list(queue)", ("Return the queue as a list.",), tags=("list",), returns="list[int]"),
    Choice("sum", "sum(queue)", ("Return the sum of the queue.",), tags=("sum",), returns="int"),
    Choice("max", "max(queue, default=0)", ("Return the largest item in the queue, or 0 if it is empty.",),
           tags=("max",),
           returns="int"),
)  # fmt: skip


def _entries(parts: Sequence[Any], pen: Pen) -> Draft:
    """Entries of a dict: a condition on one side, a change of either side, and what is made of them."""
    condition, change, end = parts
    name = pen.pick(DICTS)
    tested, variable = ("key", "k") if condition.part.kind == "str" else ("value", "v")
    if change and change.part.kind == "str":
        key, value, said = change.code("k"), "v", "keys"
    elif change:
        key, value, said = "k", change.code("v"), "values"
    else:
        key, value, said = "k", "v", ""
    entries = f"the entries of {name} whose {tested} {condition.holds(pen)}"
    side = end.part.returns.split(";")[1]
    changed = change.many(pen, "the " + (said or side)) if change else f"the {side}"
    doc = say(say(end.phrase(pen), changed, "@c"), entries)
    if change and side == "entries":
        doc = f"Keep {entries}, with {change.many(pen, 'the ' + said)}."
    code = end.part.code.replace("@k", key).replace("@v", value)
    code = code.replace("@i", f"for k, v in {name}.items() if {condition.code(variable)}")
    key_type = type_of(change.part.gives) if change and said == "keys" else "str"
    value_type = type_of(change.part.gives) if change and said == "values" else "int"
    returns = end.part.returns.split(";")[0].replace("@k", key_type).replace("@v", value_type)
    return Draft((Parameter(name, "dict[str, int]", "stock"),), returns, doc, (f"return {code}",),
                 (*tags_of(end, condition, change), (f"by_{tested}", name)))  # fmt: skip


ENTRY_ENDS = (
    Choice("dict", "{@k: @v @i}", ("Return a dict of @n.", "Keep only @n."), tags=("filter", "keep"),
           returns="dict[@k, @v];entries"),
    Choice("values", "[@v @i]", ("Take @n. Return a list of @c.", "List @c of @n."), tags=("values",),
           returns="list[@v];values"),
    Choice("keys", "[@k @i]", ("Take @n. Return a list of @c.", "List @c of @n."), tags=("keys",),
           returns="list[@k];keys"),
    Choice("sorted_keys", "sorted(@k @i)", ("Take @n. Return @c in sorted order.",), tags=("sorted_keys",),
           returns="list[@k];keys"),
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


def _points(parts: Sequence[Any], pen: Pen) -> Draft:
    first, second, value, end = parts
    name = pen.pick(POINTS)
    doc = say(
        end.phrase(pen),
        f"{value.phrase(pen)} for the (x, y) in {name} where x {first.holds(pen)} and y {second.holds(pen)}",
    )
    generator = f"{value.part.code} for x, y in {name} if {first.code('x')} and {second.code('y')}"
    returns = end.part.returns
    return Draft((Parameter(name, "list[tuple[int, int]]", "points"),), returns, doc,
                 ("return " + end.part.code.replace("@g", generator),), (*tags_of(end, value, first, second),
                                                                         ("points",)))  # fmt: skip


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


FAMILIES: tuple[Family, ...] = (
    Family("pieces", "chunks and sliding windows", 1.4, (PIECES, AGGREGATES, (None, *INT_CHANGES)), _pieces),
    Family("rows", "working on each row of a table", 1.4, (ROW_AGGREGATES, (None, *INT_CONDITIONS), (None,
                                                                                                     *INT_CHANGES)),
                                                                                                     _rows,
           _rows_allowed),
    Family("grids", "changing each cell of a table", 1.2, ((None, *INT_CONDITIONS), INT_CHANGES), _grid, same_type),
    Family("stacks", "stacks", 1.2, (INT_CONDITIONS, (None, *INT_TO_INT), STACK_ENDS), _stack),
    Family("queues", "queues", 1.2, ((QUEUE_SIZES,), (None, *INT_CONDITIONS), (None, *INT_TO_INT), QUEUE_ENDS), _queue,
           none_share=(0, 0.3, 0.5, 0)),
    Family("entries by value", "choosing entries of a dictionary by value", 1.6,
           (INT_CONDITIONS, (None, *INT_CHANGES, *STR_CHANGES), ENTRY_ENDS), _entries, _entries_allowed),
    Family("entries by key", "choosing entries of a dictionary by key", 1.4,
           (STR_CONDITIONS, (None, *INT_CHANGES, *STR_CHANGES), ENTRY_ENDS), _entries, _entries_allowed),
    Family("points", "points with two coordinates", 1.4, (INT_CONDITIONS, INT_CONDITIONS, POINT_VALUES, POINT_ENDS),
           _points,
           different),
)  # fmt: skip
