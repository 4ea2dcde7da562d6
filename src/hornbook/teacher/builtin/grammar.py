"""The grammar: families, draws from them, reserved compositions, and how much is in reach."""

import builtins
import hashlib
import keyword
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from random import Random
from typing import Any

from hornbook.teacher.builtin import forms_lists, forms_numbers, forms_tables, forms_text, sources
from hornbook.teacher.builtin.compose import Bound, Draft, Family, Parameter, literal
from hornbook.teacher.builtin.inputs import EMPTY, Hints, make_arguments
from hornbook.teacher.builtin.wording import Pen
from hornbook.teacher.request import WrittenExercise

FAMILIES: tuple[Family, ...] = (
    *sources.FAMILIES,
    *forms_numbers.FAMILIES,
    *forms_lists.FAMILIES,
    *forms_tables.FAMILIES,
    *forms_text.FAMILIES,
)
RESERVED_PER_MILLE = 50  # of the compositions: the drill's, never trained on
NONE_SHARE = 0.4
LONGEST_RESULT = 160  # characters of a literal that a reader can still check
BUILTINS = frozenset(dir(builtins))
PLAIN_VERBS = (
    "solve", "compute", "process", "evaluate", "answer", "combine", "transform", "examine", "extract", "select", "pick",
    "gather", "reduce", "convert", "handle", "build", "find", "make", "derive", "produce", "work_out", "figure_out",
    "inspect", "summarize", "digest", "report", "run", "task", "helper", "scan", "collect", "prepare", "judge",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How an exercise is tested."""

    tests: int
    candidates: int  # inputs of which the tests are chosen
    mutants: bool  # refuse tests that pass a solution which leaves out a part


QUICK = Thoroughness(tests=4, candidates=8, mutants=False)
THOROUGH = Thoroughness(tests=8, candidates=30, mutants=True)


@dataclass(frozen=True, slots=True)
class Made:
    """An exercise and where it stands in the grammar."""

    composition: str
    exercise: WrittenExercise
    parts: tuple[Bound | None, ...]
    doc: str
    calls: tuple[tuple[str, str], ...]  # of the tests: the call, and the literal it gives


def is_reserved(composition: str) -> bool:
    """Whether a composition belongs to the drill and may never be trained on."""
    digest = hashlib.blake2b(composition.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 1000 < RESERVED_PER_MILLE


def exercise(family: Family, seed: int, name: str | None = None) -> Made:
    """The exercise of a family that belongs to a seed: a function of its arguments alone, never reserved."""
    pen = Pen(f"exercise {family.name} {seed}", exercise=True)
    return draw(pen, family, lambda key: not is_reserved(key), name=name)


def draw(
    pen: Pen, family: Family, wanted: Callable[[str], bool], thorough: Thoroughness = QUICK, name: str | None = None
) -> Made:
    """The first exercise of a family that is drawn with a wanted composition and tests that tell something."""
    while True:
        parts = draw_parts(family, pen)
        if wanted(family.key(parts)):
            made = realise(family, parts, pen, thorough, name)
            if made is not None:
                return made


def draw_parts(family: Family, rng: Random) -> list[Any]:
    """Parts for the slots of a family, drawn again until they go together."""
    while True:
        parts: list[Any] = []
        for slot, none_share in zip(family.slots, family.none_share or (NONE_SHARE,) * len(family.slots), strict=True):
            options = slot
            if slot[0] is None:
                if rng.random() < none_share:
                    parts.append(None)
                    continue
                options = slot[1:]
            parts.append(rng.choices(options, [getattr(part, "weight", 1.0) for part in options])[0])
        if family.allowed(parts):
            return parts


def realise(
    family: Family, parts: Sequence[Any], pen: Pen, thorough: Thoroughness = QUICK, name: str | None = None
) -> Made | None:
    """A composition with constants, wording and tests; None where its tests would tell nothing."""
    bound = [None if part is None else bind(part, family, pen) for part in parts]
    draft = family.build(bound, pen)
    parameters = list(draft.parameters)
    for part in bound:
        if part is not None and part.parameter is not None:
            if part.parameter.name in [parameter.name for parameter in parameters]:
                return None  # two parameters of one name: another draw
            parameters.append(part.parameter)
    name = name or name_of(draft, [parameter.name for parameter in parameters], pen)
    prompt, solution = written(draft, parameters, name)
    call = draft.call.replace("@f", name)
    found = run_on_inputs(prompt + solution, call, parameters, hints_of(bound), pen, thorough.candidates)
    tests = select_tests(found, thorough.tests)
    if not tests:
        return None
    if thorough.mutants and survives(family, bound, name, call, tests):
        return None
    asserts = tuple(f"assert {expression} == {result}" for expression, result in tests)
    written_exercise = WrittenExercise(family.topic, name, prompt, solution, asserts)
    return Made(family.key(parts), written_exercise, tuple(bound), draft.doc, tuple(tests))


def written(draft: Draft, parameters: Sequence[Parameter], name: str) -> tuple[str, str]:
    """The prompt and the solution of a draft under a name."""
    signature = (
        draft.signature.replace("@p", ", ".join(f"{p.name}: {p.annotation}" for p in parameters))
        .replace("@r", draft.returns)
        .replace("@f", name)
    )
    imports = "".join(line + "\n" for line in draft.imports) + ("\n\n" if draft.imports else "")
    prompt = f'{imports}{signature}\n    """{draft.doc}"""\n'
    return prompt, "".join(f"    {line}".rstrip().replace("@f", name) + "\n" for line in draft.body)


def survives(
    family: Family, bound: Sequence[Bound | None], name: str, call: str, tests: Sequence[tuple[str, str]]
) -> bool:
    """Whether the tests pass a solution that leaves out one of the parts, so that they do not test it."""
    for place, part in enumerate(bound):
        if part is None or family.slots[place][0] is not None or part.parameter is not None:
            continue
        without = [None if other is part else other for other in bound]
        if not family.allowed([None if other is None else other.part for other in without]):
            continue
        draft = family.build(without, Pen(place))
        extra = [other.parameter for other in without if other is not None and other.parameter is not None]
        scope: dict[str, Any] = {}
        program = "".join(written(draft, [*draft.parameters, *extra], name))
        exec(compile(program, "<mutant>", "exec"), scope)  # noqa: S102
        try:
            same = all(literal(eval(expression, scope)) == result for expression, result in tests)  # noqa: S307
        except (AttributeError, TypeError, ValueError):  # a method of another name, a value of another type
            same = False
        if same:
            return True
    return False


def bind(part: Any, family: Family, rng: Random) -> Bound:
    """A part with constants drawn from its domain; now and then its constant becomes a parameter."""
    values = rng.choice(part.domain)
    name = getattr(part, "parameter", "")
    if name and len(values) == 1 and rng.random() < family.parameter_share:
        domain = tuple(choice[0] for choice in part.domain)
        return Bound(part, values, family.unit, Parameter(name, type(values[0]).__name__, "domain", domain))
    return Bound(part, values, family.unit)


def hints_of(bound: Sequence[Bound | None]) -> Hints:
    """What test inputs these parts need."""
    values = [value for part in bound if part is not None for value in part.values]
    words = {getattr(part.part, "hint", "") for part in bound if part is not None}
    return Hints(
        tuple(value for value in values if isinstance(value, int)),
        tuple(value for value in values if isinstance(value, float)),
        tuple(value for value in values if isinstance(value, str)),
        frozenset(words),
    )


def name_of(draft: Draft, taken: Sequence[str], rng: Random) -> str:
    """A function name from what the function does, or now and then a plain verb and a noun."""
    pieces = [rng.choice(tags) for tags in draft.tags if tags]
    if draft.camel:
        return "".join(word.capitalize() for word in "_".join(pieces[:2]).split("_"))
    style = rng.random()
    if style < 0.2:
        chosen = [rng.choice(PLAIN_VERBS), pieces[-1]]
    elif style < 0.35:
        chosen = [*pieces[1:], pieces[0]]
    elif style < 0.6 and len(pieces) > 2:
        chosen = [pieces[0], *rng.sample(pieces[1:], 1)]
    else:
        chosen = pieces
    name = "_".join(chosen)
    if keyword.iskeyword(name) or name in BUILTINS or name in taken:
        return f"{name}_{rng.choice(('result', 'of', 'value', 'task'))}"
    return name


def run_on_inputs(
    program: str, call: str, parameters: Sequence[Parameter], hints: Hints, rng: Random, count: int
) -> list[tuple[str, str]]:
    """Calls on diverse inputs and the literals they give; empty where the exercise is of no use.

    The program is the grammar's own text, so it runs in this process.
    """
    scope: dict[str, Any] = {}
    exec(compile(program, "<grammar>", "exec"), scope)  # noqa: S102
    makers = [parameter.maker for parameter in parameters]
    found: list[tuple[str, str]] = []
    idle = 0
    for number in range(count):
        arguments = _arguments(parameters, makers, number, hints, rng)
        expression = call.replace("@a", ", ".join(map(literal, arguments)))
        result = literal(eval(expression, scope))  # noqa: S307
        if len(result) > LONGEST_RESULT:
            return []
        found.append((expression, result))
        idle += result == literal(arguments[0])
    return [] if idle >= count - 1 else found  # idle: it gives back what it got


def _arguments(
    parameters: Sequence[Parameter], makers: Sequence[str], number: int, hints: Hints, rng: Random
) -> tuple[object, ...]:
    if number == 0 and makers[0] in EMPTY:
        rest = [EMPTY[maker]() if maker in EMPTY else None for maker in makers]
    else:
        rest = [None] * len(makers)
    for place, parameter in enumerate(parameters):
        if rest[place] is None:
            if parameter.maker == "domain":
                rest[place] = rng.choice(parameter.values)
            else:
                rest[place] = make_arguments((parameter.maker,), rng, hints)[0]
    return tuple(rest)


def select_tests(found: Sequence[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """Up to `count` calls with as many different results as there are; none where there are too few to tell."""
    results = {result for _, result in found}
    if len(results) < (2 if results <= {"True", "False"} else 3):
        return []
    chosen: list[tuple[str, str]] = []
    for most in (1, 2, 3):
        for pair in found:
            seen = sum(1 for _, result in chosen if result == pair[1])
            if seen < most and pair not in chosen and len(chosen) < count:
                chosen.append(pair)
    return sorted(chosen, key=found.index)


def family_of(topic: str) -> Family | None:
    """The family that teaches a topic."""
    return _families_by_topic().get(topic)


@cache
def _families_by_topic() -> dict[str, Family]:
    return {family.topic: family for family in FAMILIES}


@cache
def reach() -> dict[str, int]:
    """For each family, how many exercises differ in composition or constants, wording aside."""
    counts = {}
    for family in FAMILIES:
        total = 0
        for parts in product(*family.slots):
            if family.allowed(parts):
                size = 1
                for part in parts:
                    size *= 1 if part is None else len(part.domain)
                total += size
        counts[family.name] = total
    return counts


def compositions(family: Family) -> list[tuple[Any, ...]]:
    """Every composition of a family, in order."""
    return [parts for parts in product(*family.slots) if family.allowed(parts)]
