"""What an evaluation is made of: items, what a model answers to each, and what an answer is worth.

A task turns a test set into items and answers into scores; it knows no model. `asking` puts the items to a model, keeps
every answer, and goes on where it stopped; so answers can be scored again without a model.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, get_args

from hornbook.evaluate.stats import wilson_interval
from hornbook.run.progress import Progress
from hornbook.sandbox.isolation import Backend
from hornbook.sandbox.programs import Limits
from hornbook.teacher.request import Teacher

Family = Literal[
    "common sense", "knowledge", "code", "reasoning", "unconventional problems", "emergence", "safety", "text"
]
FAMILIES: tuple[Family, ...] = get_args(Family)  # in the order of the tables
T = TypeVar("T")
IMPOSSIBLE = 1e30  # a log-probability of this size comes from no finite logits of float32, times a context's tokens
ROUNDING = 0.01  # above 0 by which a log-probability of a token may be, in bfloat16
Kind = Literal["passed", "failed", "timeout", "error", "unscored"]


@dataclass(frozen=True, slots=True)
class Likely:
    """Asks how likely each continuation is after its context; an empty context is end-of-text alone."""

    pairs: tuple[tuple[str, str], ...]  # (context, continuation)


@dataclass(frozen=True, slots=True)
class Write:
    """Asks for a greedy completion."""

    prompt: str
    stops: tuple[str, ...]  # the completion ends before the first of these, and at end-of-text
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a task."""

    id: str  # unique in the task
    ask: Likely | Write

    @property
    def prompt_hash(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of everything that is asked, as JSON."""
        ask = self.ask
        asked = ask.pairs if isinstance(ask, Likely) else [ask.prompt, ask.stops, ask.max_new_tokens]
        return hashlib.sha256(json.dumps(asked).encode("ascii")).hexdigest()[:16]


# What a model answers, as JSON: of Likely, for each pair [log-probability, number of tokens, whether greedy]; of Write,
# the raw text up to the stop string.
Output = str | list[list[Any]]


@dataclass(frozen=True, slots=True)
class Scored:
    """What one answer is worth."""

    outcome: Kind  # passed: right; failed: wrong; timeout; error: ours; unscored: nothing could judge it
    score: float | None  # what the task's metric averages; None: outside of n, and counted as failed
    detail: dict[str, Any] = field(default_factory=dict)  # JSON: what was chosen, read, found


@dataclass(frozen=True, slots=True)
class Tools:
    """What scoring may need beside the answers."""

    backend: Backend | None  # None: programs cannot be run on this machine
    limits: Limits
    workers: int
    teacher: Teacher | None  # None: nobody was named to grade
    progress: Progress


class Task(Protocol):
    """One benchmark under one protocol."""

    @property
    def name(self) -> str:
        """As `--tasks` has it."""

    @property
    def family(self) -> Family:
        """The group of tasks it stands in."""

    @property
    def version(self) -> int:
        """Raised whenever an item or a score changes for the same data and answers."""

    @property
    def metric(self) -> str:
        """What its value is."""

    def items(self, limit: int | None) -> Sequence[Item]:
        """`limit` items (None: all), drawn from the whole set, always the same and in the same order.

        Raises testsets.UnavailableError where the data are not to be had.
        """

    def data(self) -> str:
        """The checksum of the data the items come from."""

    def score(self, items: Sequence[Item], outputs: Sequence[Output], tools: Tools) -> Iterator[Scored]:
        """What each answer is worth, in order; none has a fault (see `fault_of`).

        Raises testsets.UnavailableError where a tool is missing.
        """

    def summarize(self, scored: Sequence[Scored], items: Sequence[Item], outputs: Sequence[Output]) -> dict[str, Any]:
        """`{metric, value, n, low, high, failed, …}`; value null and a reason where nothing could be scored."""


def proportion(metric: str, scored: Iterable[Scored]) -> dict[str, Any]:
    """The mean of scores in [0, 1] with its Wilson interval. What has no score is outside n, and counted as failed."""
    rows = list(scored)
    scores = [row.score for row in rows if row.score is not None]
    missing = len(rows) - len(scores)
    if not scores:
        return {"metric": metric, "value": None, "n": 0, "low": None, "high": None, "failed": missing} | {
            "reason": "no answer could be scored" if rows else "there is no item"
        }
    total = float(sum(scores))
    low, high = wilson_interval(total, len(scores))
    value = {"metric": metric, "value": total / len(scores), "n": len(scores), "low": low, "high": high}
    return value | {"failed": missing}


def fault_of(item: Item, output: Output | None) -> str:
    """Why an answer has no value, or nothing.

    To a Likely it is as many log-probabilities as were asked, each possible and over a token at least; to a Write a
    text.
    """
    if output is None:
        return "the model's logits are not finite"
    if isinstance(item.ask, Write):
        return "" if isinstance(output, str) else "the answer is not to what was asked"
    if isinstance(output, str) or len(output) != len(item.ask.pairs):
        return "the answer is not to what was asked"
    if any(value is None or not abs(value) < IMPOSSIBLE for value, *_ in output):
        return "the model gave a log-probability that is not finite"
    if any(tokens < 1 for _, tokens, *_ in output):
        return "a continuation has no token of its own"
    if any(value > ROUNDING * tokens for value, tokens, *_ in output):
        return "the model gave a log-probability above 0"
    return ""


def spread(rows: Sequence[T], limit: int | None) -> list[tuple[int, T]]:
    """Rows and their places: all, or `limit` of them at even distances.

    The first of a set are no sample of it: of HellaSwag's first thousand none is from WikiHow, of all two thirds are.
    """
    if limit is None or limit >= len(rows):
        return list(enumerate(rows))
    return [(place, rows[place]) for place in (number * len(rows) // limit for number in range(limit))]
