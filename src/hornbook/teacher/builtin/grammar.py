"""The grammar: families, draws from them, reserved compositions, and how much is in reach."""

import hashlib
import keyword
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from random import Random
from typing import Any

from hornbook.teacher.builtin import forms_collections, forms_numbers, forms_text, sources
from hornbook.teacher.builtin.compose import Bound, Draft, Family, Parameter, literal
from hornbook.teacher.builtin.inputs import EMPTY, Hints, make_arguments
from hornbook.teacher.request import WrittenExercise

FAMILIES: tuple[Family, ...] = (
    *sources.FAMILIES,
    *forms_numbers.FAMILIES,
    *forms_collections.FAMILIES,
    *forms_text.FAMILIES,
)
RESERVED_PER_MILLE = 50  # of the compositions: the drill's, never trained on
NONE_SHARE = 0.4
TESTS, CANDIDATES = 4, 9
BUILTINS = frozenset(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__)
PLAIN_VERBS = (
    "solve", "compute", "process", "evaluate", "answer", "combine", "transform", "examine", "extract", "select", "pick",
    "gather", "reduce", "convert", "handle", "build", "find", "make", "derive", "produce", "work_out", "figure_out",
    "inspect", "summarize", "digest", "report", "run", "task", "helper", "scan", "collect", "prepare", "judge",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Made:
    """An exercise and where it stands in the grammar."""

    family: str
    composition: str
    exercise: WrittenExercise


def is_reserved(composition: str) -> bool:
    """Whether a composition belongs to the drill and may never be trained on."""
    digest = hashlib.blake2b(composition.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 1000 < RESERVED_PER_MILLE


def exercise(seed: int, index: int, family: Family | None = None) -> Made:
    """Exercise number `index` of the stream of `seed`: a function of its arguments alone, never reserved."""
    return draw(Random(f"exercise {seed} {index}"), family, lambda key: not is_reserved(key))


def draw(rng: Random, family: Family | None, wanted: Callable[[str], bool]) -> Made:
    """The first exercise the generator draws whose composition is wanted and whose tests tell something."""
    chosen = family or rng.choices(FAMILIES, [f.weight for f in FAMILIES])[0]
    while True:
        parts = draw_parts(chosen, rng)
        key = chosen.key(parts)
        if wanted(key):
            made = realise(chosen, parts, rng)
            if made is not None:
                return Made(chosen.name, key, made)


def draw_parts(family: Family, rng: Random) -> list[Any]:
    """Parts for the slots of a family, drawn again until they go together."""
    while True:
        parts = []
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


def realise(family: Family, parts: Sequence[Any], rng: Random) -> WrittenExercise | None:
    """A composition with constants, wording and tests; None where its tests would tell nothing."""
    bound = [None if part is None else bind(part, family, rng) for part in parts]
    draft = family.build(bound, rng)
    parameters = list(draft.parameters)
    for part in bound:
        if part is not None and part.parameter is not None:
            if part.parameter.name in [parameter.name for parameter in parameters]:
                return None  # two parameters of one name: another draw
            parameters.append(part.parameter)
    name = name_of(draft, [parameter.name for parameter in parameters], rng)
    signature = (
        draft.signature.replace("@p", ", ".join(f"{p.name}: {p.annotation}" for p in parameters))
        .replace("@r", draft.returns)
        .replace("@f", name)
    )
    imports = "".join(line + "\n" for line in draft.imports) + ("\n\n" if draft.imports else "")
    prompt = f'{imports}{signature}\n    """{draft.doc}"""\n'
    solution = "".join(f"    {line}".rstrip().replace("@f", name) + "\n" for line in draft.body)
    call = draft.call.replace("@f", name)
    tests = make_tests(prompt + solution, call, parameters, hints_of(bound), rng)
    if tests is None:
        return None
    return WrittenExercise(family.topic, name, prompt, solution, tests)


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


def make_tests(
    program: str, call: str, parameters: Sequence[Parameter], hints: Hints, rng: Random
) -> tuple[str, ...] | None:
    """Assert statements on diverse inputs, with results computed by running the program; None where they tell nothing.

    The program is the grammar's own text, so it runs in this process.
    """
    scope: dict[str, Any] = {}
    exec(compile(program, "<grammar>", "exec"), scope)  # noqa: S102
    makers = [parameter.maker for parameter in parameters]
    found: list[tuple[str, str]] = []
    for number in range(CANDIDATES):
        arguments = _arguments(parameters, makers, number, hints, rng)
        expression = call.replace("@a", ", ".join(map(literal, arguments)))
        result = literal(eval(expression, scope))  # noqa: S307
        found.append((expression, result))
    return select_tests(found)


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


def select_tests(found: Sequence[tuple[str, str]]) -> tuple[str, ...] | None:
    """Up to `TESTS` + 1 asserts with as many different results as there are; None where there are too few."""
    results = {result for _, result in found}
    truth = results <= {"True", "False"}
    if len(results) < (2 if truth else 3):
        return None
    chosen: list[tuple[str, str]] = []
    for most in (1, 2, 3):
        for pair in found:
            seen = sum(1 for _, result in chosen if result == pair[1])
            if seen < most and pair not in chosen and len(chosen) < TESTS + (found[0] in chosen):
                chosen.append(pair)
    chosen.sort(key=found.index)
    return tuple(f"assert {call} == {result}" for call, result in chosen)


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
