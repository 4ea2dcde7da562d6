"""Pipelines: the items of a source, those that meet a condition, each of them changed, and what is made of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from hornbook.teacher.builtin.compose import Bound, Draft, Family, Parameter, noun_phrase, say, type_of
from hornbook.teacher.builtin.finishes import Finish, finishes
from hornbook.teacher.builtin.primitives import NO_CONSTANTS, Domain, Kind, changes, conditions
from hornbook.teacher.builtin.wording import INTS, SINGULAR, WORDS, Pen, Wording

LOOP_SHARE = 0.22  # of the pipelines that may be written as a loop; the docstring then asks for one
LOOP_WORDS = ("Use a loop.", "Use a for loop.", "Write a loop.")
LIST_PARAMETERS: dict[Kind, tuple[Wording[str], str, str]] = {
    "int": (INTS, "list[int]", "ints"),
    "str": (WORDS, "list[str]", "words"),
}
VARIABLES: dict[Kind, str] = {"int": "x", "float": "x", "str": "w", "char": "c"}


@dataclass(frozen=True, slots=True)
class Slot:
    """A parameter before it is named."""

    annotation: str
    names: Wording[str]
    maker: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where the items of a pipeline come from. `@p` and `@q` are the parameters, `@x` the item, `@k` a constant."""

    name: str
    kind: Kind
    slots: tuple[Slot, ...]
    items: str  # an iterable expression
    plural: str = "@p"  # the noun; `@p` where the parameter's name is one
    tail: str = ""  # of the noun: `of n`
    singular: str = ""  # only where `plural` is not `@p`
    opening: str = ""  # a sentence that says what is taken first
    clauses: str = ""  # the for clauses where they are not just `@x in items`
    guard: str = ""  # a condition that makes the item one of the source
    setup: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    listed: bool = True  # `items` is a list
    ordered: bool = True
    derived: bool = False  # the items are not simply the parameter's own
    without: tuple[str, ...] = ()  # conditions and changes that say nothing here
    domain: Domain = NO_CONSTANTS
    tags: tuple[str, ...] = ()
    hint: str = ""  # the shape its test inputs need


def pipelines(
    name: str,
    topic: str,
    weight: float,
    sources: Sequence[Source],
    *,
    unit: str = "letter",
    without: tuple[str, ...] = (),
    none_share: tuple[float, ...] = (0.0, 0.25, 0.4, 0.0),
) -> Family:
    """The family of all pipelines over some sources of one kind."""
    kind = sources[0].kind
    slots = (tuple(sources), (None, *conditions(kind)), (None, *changes(kind)), finishes(*without))
    return Family(name, topic, weight, slots, _build, _allowed, unit, none_share=none_share)


def _allowed(parts: Sequence[Any]) -> bool:
    source, condition, change, finish = parts
    kind = change.gives if change else source.kind
    return (
        kind in finish.kinds
        and not (finish.condition == "must" and condition is None)
        and not (finish.change == "must" and (change is None or not change.by))
        and not (finish.change == "none" and change is not None)
        and not (finish.ordered and not source.ordered)
        and not (finish.identity and condition is None and change is None and not source.derived)
        and not (condition is not None and condition.name in source.without)
        and not (change is not None and change.name in source.without)
    )


def _build(parts: Sequence[Any], pen: Pen) -> Draft:
    source, condition, change, finish = parts
    parameters = name_parameters(source.part.slots, pen)
    body = source_body(source, condition, change, finish, parameters, pen)
    doc = source_doc(source, condition, change, finish, parameters, pen)
    end: Finish = finish.part
    if end.loop and pen.random() < LOOP_SHARE:
        body = _loop_body(source, condition, change, finish, parameters)
        doc += " " + pen.choice(LOOP_WORDS)
        imports = source.part.imports
    else:
        imports = source.part.imports + end.imports
    return Draft(
        parameters,
        return_type(source, change, end),
        doc,
        body,
        pipeline_tags(parts, parameters),
        tuple(sorted(imports)),
    )


def pipeline_tags(parts: Sequence[Bound | None], parameters: tuple[Parameter, ...]) -> tuple[tuple[str, ...], ...]:
    """Pieces of a name: what is done, to which items, of what."""
    source, condition, change, finish = parts
    assert source is not None
    nouns = source.part.tags or (parameters[0].name,)
    tags = [part.part.tags for part in (finish, condition, change) if part is not None]
    return (*tags, nouns)


def name_parameters(slots: Sequence[Slot], pen: Pen) -> tuple[Parameter, ...]:
    """Parameters with names that differ from one another."""
    named: list[Parameter] = []
    for slot in slots:
        free = [name for name in pen.known(slot.names) if name not in [parameter.name for parameter in named]]
        named.append(Parameter(pen.choice(free), slot.annotation, slot.maker))
    return tuple(named)


def return_type(source: Bound, change: Bound | None, end: Finish) -> str:
    """The annotation of the result."""
    came = type_of(source.part.kind)
    gives = type_of(change.part.gives) if change else came
    return end.returns.replace("@t", gives).replace("@v", came)


def _placer(source: Bound, parameters: tuple[Parameter, ...]) -> Callable[[str], str]:
    variable = VARIABLES[source.part.kind]

    def place(template: str) -> str:
        text = source.fill(template).replace("@x", variable)
        for mark, parameter in zip(("@p", "@q"), parameters, strict=False):
            text = text.replace(mark, parameter.name)
        return text

    return place


def source_body(
    source: Bound,
    condition: Bound | None,
    change: Bound | None,
    finish: Bound,
    parameters: tuple[Parameter, ...],
    rng: Random,
) -> tuple[str, ...]:
    """The lines of a pipeline as one comprehension."""
    place = _placer(source, parameters)
    origin: Source = source.part
    variable = VARIABLES[origin.kind]
    items = place(origin.items)
    clauses = place(origin.clauses) or f"{variable} in {items}"
    tests = [place(origin.guard)] if origin.guard else []
    if condition:
        tests.append(condition.code(variable))
    test = " and ".join(tests)
    element = change.code(variable) if change else variable
    only = f" if {test}" if test else ""
    generator = f"{element} for {clauses}{only}"
    bare = not (change or test or origin.clauses)
    marks = {
        "@g": items if bare else generator,
        "@h": items if bare else f"[{generator}]",
        "@l": (items if origin.listed else f"list({items})") if bare else f"[{generator}]",
        "@s": f"set({items})" if bare else f"{{{generator}}}",
        "@f": clauses,
        "@c": test,
        "@i": only,
        "@e": element,
        "@x": variable,
    }
    return tuple(_mark(line, marks) for line in (*map(place, origin.setup), *map(finish.fill, finish.part.code)))


def _loop_body(
    source: Bound, condition: Bound | None, change: Bound | None, finish: Bound, parameters: tuple[Parameter, ...]
) -> tuple[str, ...]:
    place = _placer(source, parameters)
    origin: Source = source.part
    variable = VARIABLES[origin.kind]
    clauses = place(origin.clauses) or f"{variable} in {place(origin.items)}"
    tests = [place(origin.guard)] if origin.guard else []
    if condition:
        tests.append(condition.code(variable))
    before, inside, after = finish.part.loop
    lines = [*map(place, origin.setup), *([before] if before else [])]
    depth = 0
    for clause in clauses.split(" for "):
        lines.append("    " * depth + f"for {clause}:")
        depth += 1
    if tests:
        lines.append("    " * depth + f"if {' and '.join(tests)}:")
        depth += 1
    element = change.code(variable) if change else variable
    lines += ["    " * depth + inside.replace("@e", element).replace("@x", variable), after]
    return tuple(lines)


def source_doc(
    source: Bound,
    condition: Bound | None,
    change: Bound | None,
    finish: Bound,
    parameters: tuple[Parameter, ...],
    rng: Random,
) -> str:
    """The docstring of a pipeline."""
    place = _placer(source, parameters)
    origin: Source = source.part
    plural, tail = place(origin.plural), place(origin.tail)
    items = noun_phrase(condition, plural, tail, rng)
    singular = place(origin.singular) or SINGULAR[plural]
    marks = {
        "@n": change.many(rng, items) if change else items,
        "@m": items,
        "@a": f"{singular} {tail}".rstrip(),
        "@w": condition.holds(rng) if condition else "",
        "@y": change.by() if change else "",
    }
    opening = place(origin.opening) + " " if origin.opening else ""
    frame = say(finish.fill(rng.choice(finish.part.frames)), marks.pop("@n"))
    return opening + _mark(frame, marks)


def _mark(template: str, marks: dict[str, str]) -> str:
    """The template with its marks replaced, each once over: what is filled in is not looked at again."""
    pieces = template.split("@")
    return pieces[0] + "".join(marks["@" + piece[0]] + piece[1:] for piece in pieces[1:])


def list_parameter(kind: Kind, pen: Pen) -> tuple[Parameter, str, str]:
    """A list parameter, its noun in the singular, and the loop variable."""
    names, annotation, maker = LIST_PARAMETERS[kind]
    name = pen.pick(names)
    return Parameter(name, annotation, maker), SINGULAR[name], VARIABLES[kind]


def generator_text(variable: str, items: str, condition: Bound | None, change: Bound | None) -> str:
    """`change for variable in items if condition`, without what is not there."""
    element = change.code(variable) if change else variable
    only = f" if {condition.code(variable)}" if condition else ""
    return f"{element} for {variable} in {items}{only}"


def guarded(condition: Bound | None, variable: str, depth: int, line: str) -> list[str]:
    """A line of a loop body, under the condition where there is one."""
    indent = "    " * depth
    if condition is None:
        return [indent + line]
    return [f"{indent}if {condition.code(variable)}:", f"{indent}    {line}"]


def different(parts: Sequence[Any]) -> bool:
    """Whether the first two parts differ, and would not give one name to two parameters."""
    first, second = parts[0], parts[1]
    return bool(first.name != second.name and not (first.parameter and first.parameter == second.parameter))


def same_type(parts: Sequence[Any]) -> bool:
    """Whether a changed item can stand among items that stay as they are."""
    condition, change = parts[0], parts[1]
    return bool(change.by and (condition is None or change.gives == condition.kind))
