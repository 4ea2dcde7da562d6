"""Families on single numbers: steps, branches, labels, iteration, recursion."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hornbook.teacher.builtin.compose import Bound, Choice, Draft, Family, Parameter, noun_phrase, say, tags_of, type_of
from hornbook.teacher.builtin.pipeline import different
from hornbook.teacher.builtin.primitives import Change, Domain, changes, conditions
from hornbook.teacher.builtin.wording import FLOAT, INDEX, INTS, NUMBER, SINGULAR, START, TWO_NUMBERS, Pen, Wording

INT_CHANGES, INT_CONDITIONS = changes("int"), conditions("int")
INT_TO_INT = tuple(change for change in INT_CHANGES if change.gives == "int")
GENTLE = tuple(change for change in INT_TO_INT if change.name in ("double", "times", "plus", "minus", "from",
                                                                  "divide", "negate",
                                                                  "distance", "cap", "floor"))  # fmt: skip
RESULT = "the result"

SHORTENING = frozenset(("first", "last", "head", "tail", "drop_first", "drop_last", "remove"))
INDEXING = frozenset(
    ("first", "last", "head", "tail", "drop_first", "drop_last")
)  # would fail, or idle, on a short rest

LABEL_PAIRS: Domain = (("low", "high"), ("yes", "no"), ("left", "right"), ("red", "blue"), ("first", "second"),
                                  ("small", "large"), ("hot", "cold"), ("win", "lose"))  # fmt: skip
LABELS = Choice("labels", domain=LABEL_PAIRS, tags=("label", "classify", "kind"))

OPERATIONS = (
    Choice("sum", "@1 + @2", ("the sum of @1 and @2",), tags=("sum", "added"), level=1),
    Choice("difference", "@1 - @2", ("the difference @1 minus @2",), tags=("difference", "minus"), level=1),
    Choice("product", "@1 * @2", ("the product of @1 and @2",), tags=("product", "times"), level=2),
    Choice("larger", "max(@1, @2)", ("the larger of @1 and @2",), tags=("larger", "max")),
    Choice("smaller", "min(@1, @2)", ("the smaller of @1 and @2",), tags=("smaller", "min")),
    Choice("gap", "abs(@1 - @2)", ("the distance between @1 and @2",), tags=("gap", "distance")),
    Choice("squares", "@1 ** 2 + @2 ** 2", ("the sum of the squares of @1 and @2",), tags=("sum_of_squares",), level=1),
    Choice("concatenation", "@1 * 10 + @2", ("ten times @1 plus @2",), tags=("joined",), level=1),
)
COMPARISONS = (
    Choice("larger", "max(@l, @r)", ("Return the larger of @1 and @2.",), tags=("larger", "max"), returns="int"),
    Choice("smaller", "min(@l, @r)", ("Return the smaller of @1 and @2.",), tags=("smaller", "min"), returns="int"),
    Choice("tuple", "@l, @r", ("Return a tuple of @1 and @2.", "Return @1 and @2 as a tuple."), tags=("both", "pair"),
           returns="tuple[int, int]"),
    Choice("list", "[@l, @r]", ("Return a list of @1 and @2.",), tags=("list", "two"), returns="list[int]"),
    Choice("exceeds", "@l > @r", ("Return True if @1 is greater than @2.",), tags=("exceeds", "beats"), returns="bool"),
    Choice("equals", "@l == @r", ("Return True if @1 is equal to @2.",), tags=("equals", "same"), returns="bool"),
)  # fmt: skip


def _chain(first_line: str, start: str, steps: Sequence[Bound | None], pen: Pen) -> tuple[list[str], str, str, str]:
    """Code and words of successive changes: lines, the last expression, the sentences, the last phrase."""
    present = [step for step in steps if step is not None]
    lines, said = [f"result = {first_line}"] if first_line else [], []
    item = "result" if first_line else start
    for step in present[:-1]:
        lines.append(f"result = {step.code(item)}")
        said.append(step.one(pen, start if item == start else RESULT))
        item = "result"
    phrase = present[-1].one(pen, start if item == start else RESULT)
    words = "".join(f"{'Take' if number == 0 else 'Then take'} {words}. " for number, words in enumerate(said))
    return lines, present[-1].code(item), words, phrase


def stepping(kind: str, names: Wording[str], annotation: str, maker: str, noun: str) -> Any:
    def build(parts: Sequence[Any], pen: Pen) -> Draft:
        name = pen.pick(names)
        lines, last, words, phrase = _chain("", name, parts, pen)
        final: Change = [part for part in parts if part is not None][-1].part
        doc = words + pen.vary(f"Return {phrase}.", f"Compute {phrase}.", f"Find {phrase}.")
        body = (*lines, f"return {last}")
        return Draft(
            (Parameter(name, annotation, maker),), type_of(final.gives), doc, body, (*tags_of(*parts), (noun,))
        )

    return build


def steps_allowed(parts: Sequence[Any]) -> bool:
    """Each change takes what the one before gives, and none repeats the one before."""
    present = [part for part in parts if part is not None]
    pairs = list(pairwise(present))
    if not all(a.name != b.name and a.gives == b.kind for a, b in pairs):
        return False
    names = [part.name for part in present]
    if any(name in SHORTENING and set(names[place + 1 :]) & INDEXING for place, name in enumerate(names)):
        return False
    return len({part.parameter for part in present if part.parameter}) == len([p for p in present if p.parameter])


def branching(kind: str, names: Wording[str], annotation: str, maker: str, noun: str) -> Any:
    def build(parts: Sequence[Any], pen: Pen) -> Draft:
        condition, yes, no = parts
        name = pen.pick(names)
        unchanged = f"{name} itself"
        here = yes.one(pen, name)
        there = no.one(pen, name) if no else unchanged
        test = condition.holds(pen)
        doc = pen.choice((
            f"If {name} {test}, return {here}; otherwise return {there}.",
            f"Return {here} if {name} {test}, otherwise {there}.",
        ))  # fmt: skip
        body = (
            f"if {condition.code(name)}:",
            f"    return {yes.code(name)}",
            f"return {no.code(name) if no else name}",
        )
        return Draft(
            (Parameter(name, annotation, maker),),
            type_of(yes.part.gives),
            doc,
            body,
            (*tags_of(yes, condition, no), (noun,)),
        )

    return build


def branch_allowed(parts: Sequence[Any]) -> bool:
    """Both branches give one type, and differ."""
    condition, yes, no = parts
    gives = no.gives if no else condition.kind
    return bool(yes.gives == gives and (no is None or yes.name != no.name))


def _label(parts: Sequence[Any], pen: Pen) -> Draft:
    first, second, labels = parts
    name = pen.pick(NUMBER)
    one, two = labels.fill("@k"), labels.fill("@j")
    doc = f'Return {one} if {name} {first.holds(pen)}, {two} if it {second.holds(pen)}, and "other" otherwise.'
    body = (
        f"if {first.code(name)}:",
        f"    return {one}",
        f"if {second.code(name)}:",
        f"    return {two}",
        'return "other"',
    )
    return Draft((Parameter(name, "int", "int"),), "str", doc, body, (*tags_of(labels, first), ("number",)))


def _label_allowed(parts: Sequence[Any]) -> bool:
    return bool(parts[0].name != parts[1].name)


def _two_numbers(parts: Sequence[Any], pen: Pen) -> Draft:
    operation, change, condition = parts
    one, two = pen.pick(TWO_NUMBERS)
    first = operation.part.code.replace("@1", one).replace("@2", two)
    taken = operation.phrase(pen).replace("@1", one).replace("@2", two)
    parameters = (Parameter(one, "int", "int"), Parameter(two, "int", "int"))
    tags = (*tags_of(operation, change, condition), ("pair",))
    if condition is None:
        if change is None:
            raise AssertionError("refused by `_two_numbers_allowed`")
        doc = f"Take {taken}. Return {change.one(pen, RESULT)}."
        body = (f"result = {first}", f"return {change.code('result')}")
        return Draft(parameters, type_of(change.part.gives), doc, body, tags)
    test = f"return {condition.code('result')}"
    if change is None:
        doc = f"Return True if {taken} {condition.holds(pen)}."
        return Draft(parameters, "bool", doc, (f"result = {first}", test), tags)
    doc = f"Take {taken}. Return True if {change.one(pen, RESULT)} {condition.holds(pen)}."
    return Draft(parameters, "bool", doc, (f"result = {first}", f"result = {change.code('result')}", test), tags)


def _two_numbers_allowed(parts: Sequence[Any]) -> bool:
    _, change, condition = parts
    if condition is None:
        return change is not None
    return change is None or (change.gives == "int" and not (change.parameter and condition.parameter))


def _compare(parts: Sequence[Any], pen: Pen) -> Draft:
    comparison, left, right = parts
    name = pen.pick(NUMBER)
    doc = comparison.phrase(pen).replace("@1", left.one(pen, name)).replace("@2", right.one(pen, name))
    code = comparison.part.code.replace("@l", left.code(name)).replace("@r", right.code(name))
    return Draft(
        (Parameter(name, "int", "int"),),
        comparison.part.returns,
        doc,
        (f"return {code}",),
        tags_of(comparison, left, right),
    )


def _compare_allowed(parts: Sequence[Any]) -> bool:
    _, left, right = parts
    return bool(left.name != right.name)


def _repeat(parts: Sequence[Any], pen: Pen) -> Draft:
    times, first, second, result = parts
    name = pen.pick(START)
    count = times.fill("@k")
    said = f"replace v by {first.one(pen, 'v')}"
    lines = [f"    v = {first.code('v')}"]
    if second:
        said += f" and then by {second.one(pen, 'v')}"
        lines.append(f"    v = {second.code('v')}")
    opening = pen.vary(
        f"Start with v = {name}. Repeat {count} times: {said}.",
        f"Let v be {name}. Then, {count} times over, {said}.",
        f"With v = {name} at first, {said}; do so {count} times.",
    )
    if result.name == "last":
        doc, body = f"{opening} Return v.", (f"v = {name}", f"for _ in range({count}):", *lines, "return v")
    else:
        doc = f"{opening} Return a list of the values of v after each round."
        body = (
            f"v = {name}",
            "result = []",
            f"for _ in range({count}):",
            *lines,
            "    result.append(v)",
            "return result",
        )
    returns = "int" if result.name == "last" else "list[int]"
    return Draft((Parameter(name, "int", "int"),), returns, doc, body, tags_of(times, first, second))


def _repeat_allowed(parts: Sequence[Any]) -> bool:
    _, first, second, _ = parts
    return second is None or different((first, second))


def _until(parts: Sequence[Any], pen: Pen) -> Draft:
    bound, first, second, result = parts
    name = pen.pick(START)
    limit = bound.fill("@k")
    said = f"replace v by {first.one(pen, 'v')}"
    lines = [f"    v = {first.code('v')}"]
    if second:
        said += f" and then by {second.one(pen, 'v')}"
        lines.append(f"    v = {second.code('v')}")
    before, inside, after = result.part.code.split("; ")
    opening = pen.vary(
        f"Start with v = {name}. While v is less than {limit}, {said}.",
        f"Let v be {name}. As long as v is below {limit}, {said}.",
        f"With v = {name} at first, {said}, again and again while v < {limit}.",
    )
    doc = f"{opening} {result.phrase(pen)}"
    body = (f"v = {name}", before, f"while v < {limit}:", *lines, inside, after)
    filled = tuple(line for line in body if line)
    return Draft((Parameter(name, "int", "count"),), result.part.returns, doc, filled, tags_of(result, first, second))


RECURSIONS = (
    Choice("sum", "@e + rest", ("Return the sum of @n, by recursion.",), tags=("sum", "total"), returns="0"),
    Choice("product", "@e * rest", ("Return the product of @n, by recursion (1 if there are none).",),
           tags=("product",),
           returns="1"),
    Choice("list", "[@e, *rest]", ("Return a list of @n, by recursion.",), tags=("list", "collect"), returns="[]"),
    Choice("reversed", "[*rest, @e]", ("Return a list of @n in reverse order, by recursion.",), tags=("reverse",),
           returns="[]"),
    Choice("largest", "max(@e, rest)", ("Return the largest of 0 and @n, by recursion.",), tags=("largest",),
           returns="0"),
)  # fmt: skip


def _recursion(parts: Sequence[Any], pen: Pen) -> Draft:
    operation, condition, change = parts
    name = pen.pick(INTS)
    items = noun_phrase(condition, name, "", pen)
    doc = say(operation.phrase(pen), change.many(pen, items) if change else items)
    item = change.code("x") if change else "x"
    combined = operation.part.code.replace("@e", item)
    empty = operation.part.returns
    lines = [f"if not {name}:", f"    return {empty}", f"x = {name}[0]", f"rest = @f({name}[1:])"]
    if condition:
        lines += [f"if {condition.code('x')}:", f"    return {combined}", "return rest"]
    else:
        lines.append(f"return {combined}")
    returns = "list[int]" if empty == "[]" else "int"
    tags = (*tags_of(operation, condition, change), (SINGULAR[name] + "s",))
    return Draft((Parameter(name, "list[int]", "ints"),), returns, doc, tuple(lines), tags)


def _recursion_allowed(parts: Sequence[Any]) -> bool:
    operation, condition, change = parts
    plain = condition is None and change is None
    return not (plain and operation.name == "list")


def _sequence(parts: Sequence[Any], pen: Pen) -> Draft:
    start, first, second = parts
    initial = start.fill("@k")
    n = pen.pick(INDEX)
    previous = "the term before"
    said = first.one(pen, previous)
    rest = f"previous = @f({n} - 1)"
    lines = [f"if {n} == 0:", f"    return {initial}", rest]
    item = "previous"
    if second:
        lines.append(f"previous = {first.code(item)}")
        doc = f"Term 0 is {initial}. To get term {n}, take {said}, then {second.one(pen, RESULT)}. Return term {n}."
        lines.append(f"return {second.code(item)}")
    else:
        doc = pen.vary(
            f"Term 0 is {initial}, and each next term is {said}. Return term {n}.",
            f"A sequence begins with {initial} as term 0; each next term is {said}. Return term {n}.",
            f"Return term {n} of the sequence where term 0 is {initial} and each other term is {said}.",
        )
        lines.append(f"return {first.code(item)}")
    return Draft(
        (Parameter(n, "int", "small"),), "int", doc, tuple(lines), (*tags_of(first, second), ("term", "sequence"))
    )


def _generator(parts: Sequence[Any], pen: Pen) -> Draft:
    condition, change = parts
    name = pen.pick(INTS)
    items = noun_phrase(condition, name, "", pen)
    frame = pen.choice(("Yield @n, one by one.", "Generate @n, one by one."))
    doc = frame.replace("@n", change.many(pen, items) if change else items)
    lines = [f"for x in {name}:"]
    if condition:
        lines.append(f"    if {condition.code('x')}:")
    lines.append(("        " if condition else "    ") + f"yield {change.code('x') if change else 'x'}")
    gives = type_of(change.part.gives) if change else "int"
    return Draft(
        (Parameter(name, "list[int]", "ints"),), f"Iterator[{gives}]", doc, tuple(lines),
        (("yield", "generate", "stream"), *tags_of(condition, change)), ("from collections.abc import Iterator",),
        call="list(@f(@a))",
    )  # fmt: skip


def _something(parts: Sequence[Any]) -> bool:
    return any(part is not None for part in parts)


def _float_check(parts: Sequence[Any], pen: Pen) -> Draft:
    first, second, condition = parts
    name = pen.pick(FLOAT)
    lines, last, words, phrase = _chain("", name, (first, second), pen)
    doc = f"{words}Return True if {phrase} {condition.holds(pen)}."
    body = (*lines, f"result = {last}", f"return {condition.code('result')}")
    return Draft((Parameter(name, "float", "float"),), "bool", doc, body,
                 (("check", "is", "test"), *tags_of(first, second, condition)))  # fmt: skip


def _float_check_allowed(parts: Sequence[Any]) -> bool:
    *steps, condition = parts
    present = [part for part in steps if part is not None]
    return steps_allowed(present) and not (condition.parameter and any(part.parameter for part in present))


FLOAT_CHANGES, FLOAT_CONDITIONS = changes("float"), conditions("float")
FLOAT_TO_FLOAT = tuple(change for change in FLOAT_CHANGES if change.gives == "float")
TIMES = Choice("times", domain=((2,), (3,), (4,)), tags=("repeat", "iterate"))
LIMIT = Choice("limit", domain=((20,), (50,), (100,), (200,)))
STARTS = Choice("start", domain=((1,), (2,), (3,), (4,), (5,)))
GROWTH = tuple(change for change in INT_TO_INT if change.name in ("double", "times", "plus"))
SECOND_GROWTH = tuple(change for change in INT_TO_INT if change.name in ("plus", "double", "times", "floor"))
RESULTS = (Choice("last", tags=("last",)), Choice("list", tags=("list",)))
UNTIL_RESULTS = (
    Choice("last", "; ; return v", ("Return v.",), tags=("grow", "first_over"), returns="int"),
    Choice("rounds", "rounds = 0;     rounds += 1; return rounds", ("Return the number of rounds.",),
           tags=("rounds", "count_rounds"), returns="int"),
    Choice("list", "result = [v];     result.append(v); return result", ("Return all values of v in a list.",),
           tags=("trace", "values"), returns="list[int]"),
)  # fmt: skip

FAMILIES: tuple[Family, ...] = (
    Family("integers", "arithmetic with integers", 3.0, (INT_TO_INT, INT_CHANGES, (None, *INT_CHANGES)),
           stepping("int", NUMBER, "int", "int", "number"), steps_allowed, none_share=(0, 0, 0.75)),
    Family("decimals", "arithmetic with decimal numbers", 2.0, (FLOAT_CHANGES, (None, *FLOAT_CHANGES), (None,
                                                                                                        *FLOAT_CHANGES)),
           stepping("float", FLOAT, "float", "float", "float"), steps_allowed, none_share=(0, 0.1, 0.75)),
    Family("decimal checks", "comparing decimal numbers", 1.2, (FLOAT_TO_FLOAT, (None, *FLOAT_TO_FLOAT),
                                                                FLOAT_CONDITIONS),
           _float_check, _float_check_allowed),
    Family("branches", "choosing with if and else", 2.6, (INT_CONDITIONS, INT_CHANGES, (None, *INT_CHANGES)),
           branching("int", NUMBER, "int", "int", "number"), branch_allowed, none_share=(0, 0, 0.3)),
    Family("labels", "naming cases with if", 1.6, (INT_CONDITIONS, INT_CONDITIONS, (LABELS,)), _label, _label_allowed),
    Family("two integers", "functions of two integers", 2.0, (OPERATIONS, (None, *INT_CHANGES), (None,
                                                                                                 *INT_CONDITIONS)),
           _two_numbers, _two_numbers_allowed, none_share=(0, 0.4, 0.5)),
    Family("comparisons", "comparing two results", 1.6, (COMPARISONS, INT_TO_INT, INT_TO_INT), _compare,
           _compare_allowed),
    Family("repetition", "repeating a step", 1.4, ((TIMES,), GENTLE, (None, *GENTLE), RESULTS), _repeat,
           _repeat_allowed,
           none_share=(0, 0, 0.5, 0)),
    Family("while loops", "loops that run while a condition holds", 1.2,
           ((LIMIT,), GROWTH, (None, *SECOND_GROWTH), UNTIL_RESULTS), _until, _repeat_allowed, none_share=(0, 0, 0.3,
                                                                                                           0)),
    Family("recursion on lists", "recursion on lists", 1.6, (RECURSIONS, (None, *INT_CONDITIONS), (None, *INT_TO_INT)),
           _recursion, _recursion_allowed, parameter_share=0, none_share=(0, 0.3, 0.4)),
    Family("recursive sequences", "sequences defined by recursion", 1.2, ((STARTS,), GENTLE, (None, *GENTLE)),
           _sequence,
           lambda parts: _repeat_allowed((*parts, None)), parameter_share=0, none_share=(0, 0, 0.5)),
    Family("generators", "generators", 1.4, ((None, *INT_CONDITIONS), (None, *INT_CHANGES)), _generator, _something,
           none_share=(0.2, 0.4)),
)  # fmt: skip
