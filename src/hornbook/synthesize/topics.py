"""The curriculum: what textbooks and exercises are about, for whom and how, drawn by number."""

from itertools import accumulate
from random import Random

from hornbook.teacher.builtin.grammar import FAMILIES, reach
from hornbook.teacher.builtin.lessons import AUDIENCES
from hornbook.teacher.builtin.textbook import STYLES
from hornbook.teacher.request import ExerciseRequest, TextbookRequest

SEEDS = 1 << 32  # request numbers below this one never meet those of another seed of the run

TOPICS = tuple(family.topic for family in FAMILIES)
_EXERCISE_WEIGHTS = tuple(accumulate(family.weight for family in FAMILIES))
# Prose on a rare topic is worth as much as on a common one, so textbooks lie half way to an even spread.
_TEXTBOOK_WEIGHTS = tuple(accumulate(family.weight**0.5 for family in FAMILIES))


def exercise_request(seed: int, number: int) -> ExerciseRequest:
    """Request `number` of the stream of `seed`."""
    rng = Random(f"exercise topic {seed} {number}")  # noqa: S311 (no secret)
    return ExerciseRequest(rng.choices(TOPICS, cum_weights=_EXERCISE_WEIGHTS)[0], seed * SEEDS + number)


def textbook_request(seed: int, number: int) -> TextbookRequest:
    """Request `number` of the stream of `seed`: topic × audience × style (phi-1, section 2.2)."""
    rng = Random(f"textbook topic {seed} {number}")  # noqa: S311 (no secret)
    topic = rng.choices(TOPICS, cum_weights=_TEXTBOOK_WEIGHTS)[0]
    return TextbookRequest(topic, rng.choice(tuple(AUDIENCES)), rng.choice(STYLES), seed * SEEDS + number)


def exercises_in_reach() -> int:
    """How many exercises the built-in grammar can tell apart by composition and constants, wording aside."""
    return sum(reach().values())


def sections_in_reach() -> int:
    """How many sections differ in audience, style, or the composition or constants of their example, wording aside."""
    return exercises_in_reach() * len(AUDIENCES) * len(STYLES)
