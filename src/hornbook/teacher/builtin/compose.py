"""What an exercise is made of: parts with their constants filled in, and the draft that a family builds from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from hornbook.teacher.builtin.primitives import NO_CONSTANTS, Change, Condition, Constant, Domain
from hornbook.teacher.builtin.wording import Pen

PARAMETER_SHARE = 0.12  # of the constants that may be parameters of the function instead of literals
THAT = ("that ", "whose ", "with ", "of ")  # how an adjunct begins that may follow a noun with its own adjunct


class Part(Protocol):
    """A primitive: something with a name in the composition and a domain of constants."""

    @property
    def name(self) -> str:
        """Unique among the parts of one slot."""

    @property
    def domain(self) -> Domain:
        """The values its constants may take."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A part that is nothing but a name and some text: an operation of one family, a style, an order."""

    name: str
    code: str = ""
    phrases: tuple[str, ...] = ()
    domain: Domain = NO_CONSTANTS
    tags: tuple[str, ...] = ()
    returns: str = ""
    level: int = 3  # how strongly the code binds, as in `Change`
    more: tuple[str, ...] = ()  # phrases that exercises have besides


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the function to write, and how its test inputs are made."""

    name: str
    annotation: str
    maker: str  # a key of `inputs.MAKERS`, or `domain` for one of `values`
    values: tuple[Constant, ...] = ()


@dataclass(frozen=True, slots=True)
class Bound:
    """A part with its constants chosen."""

    part: Any  # Condition, Change, Choice, Source or Finish
    values: tuple[Constant, ...]
    unit: str = "letter"  # what a string is said to be made of
    parameter: Parameter | None = None  # takes the place of @k

    @property
    def name(self) -> str:
        """The name of the part."""
        return str(self.part.name)

    def fill(self, template: str) -> str:
        """The template with its constants and units, in code and phrases alike."""
        text = template.replace("@us", self.unit + "s").replace("@u", self.unit)
        if self.values:
            text = text.replace("@k", self.parameter.name if self.parameter else literal(self.values[0]))
        if len(self.values) > 1:
            text = text.replace("@j", literal(self.values[1]))
        return text

    def code(self, item: str, level: int = 3) -> str:
        """The code of the part on an expression that binds with `level`."""
        part = self.part
        if isinstance(part, Change) and level < part.needs:
            item = f"({item})"
        return self.fill(part.code).replace("@x", item)

    def holds(self, rng: Random) -> str:
        """A condition as a predicate: `is even`."""
        return self.fill(rng.choice(self.part.holds))

    def one(self, rng: Random, item: str) -> str:
        """A change of one item: `the square of n`."""
        return self.fill(rng.choice(self.part.one)).replace("@x", item)

    def many(self, rng: Random, items: str) -> str:
        """A change of many items: `the squares of the numbers`."""
        return self.fill(rng.choice(self.part.many)).replace("@n", items)

    def by(self) -> str:
        """A change as a property: `square`."""
        return self.fill(self.part.by)

    def phrase(self, pen: Pen) -> str:
        """A choice in words."""
        more: tuple[str, ...] = self.part.more if pen.exercise else ()
        return self.fill(pen.choice((*self.part.phrases, *more)))


@dataclass(frozen=True, slots=True)
class Draft:
    """An exercise before it has a name and tests. `@f` is the name to come."""

    parameters: tuple[Parameter, ...]
    returns: str
    doc: str
    body: tuple[str, ...]  # lines, indented relative to the body
    tags: tuple[tuple[str, ...], ...]  # synonyms for each piece of the name, most telling first
    imports: tuple[str, ...] = ()
    signature: str = "def @f(@p) -> @r:"
    call: str = "@f(@a)"
    camel: bool = False  # the name of a class


Builder = Callable[[Sequence[Any], Pen], Draft]  # parts are `Bound` or None, one for each slot
Allowed = Callable[[Sequence[Any]], bool]  # parts are unbound or None


@dataclass(frozen=True, slots=True)
class Family:
    """A shape of exercise: slots, and how parts chosen for them become a draft."""

    name: str
    topic: str
    weight: float
    slots: tuple[tuple[Any, ...], ...]  # of parts; None: nothing stands there
    build: Builder
    allowed: Allowed = lambda parts: True
    unit: str = "letter"
    parameter_share: float = PARAMETER_SHARE
    none_share: tuple[float, ...] = ()  # for each slot, how often None is drawn where it may be; default 0.4

    def key(self, parts: Sequence[Any]) -> str:
        """The composition: the family and the names of its parts in order, without constants or wording."""
        return "|".join((self.name, *("-" if part is None else part.name for part in parts)))


def literal(value: object) -> str:
    """A Python literal, the same in every process: strings in double quotes, sets in order."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(literal, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(literal, value))) + "}" if value else "set()"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if hasattr(value, "isoformat"):
        return f"date({value.year}, {value.month}, {value.day})"  # type: ignore[attr-defined]
    return repr(value)


def noun_phrase(condition: Bound | None, plural: str, tail: str, rng: Random) -> str:
    """The items that meet the condition: `the even digits of n`, `the words that start with "a"`."""
    if condition is None:
        return f"the {plural} {tail}".rstrip()
    part: Condition = condition.part
    ways = [*part.before, *part.head, *part.after]
    way = rng.choice(ways)
    if way in part.before:
        phrase = f"the {way} {plural} {tail}"
    elif way in part.head:
        phrase = f"the {way} {tail}"
    else:
        if tail and not way.startswith(THAT):
            following = [other for other in part.after if other.startswith(THAT)]
            way = rng.choice(following) if following else f"that are {way}"
        phrase = f"the {plural} {tail} {way}" if tail else f"the {plural} {way}"
    return condition.fill(" ".join(phrase.split()))


def say(template: str, items: str, mark: str = "@n") -> str:
    """The template with the items in it; a clause such as `, each doubled` ends in a comma where the text goes on."""
    if ", each " in items:
        template = template.replace(f"{mark} ", f"{mark}, ")
    return template.replace(mark, items)


def type_of(kind: str) -> str:
    """The Python type of items of a kind."""
    return "str" if kind == "char" else kind


def tags_of(*parts: Bound | None) -> tuple[tuple[str, ...], ...]:
    """The pieces of a name that the parts offer."""
    return tuple(part.part.tags for part in parts if part is not None)
