"""What textbooks and exercises are about, for whom and how: drawn by number, so that every request is its own.

Plain prompting collapses into repetition; constraints on topic, audience and function name, and a few words that must
occur, keep texts apart (phi-1, section 2.2, after TinyStories).
"""

import heapq
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Literal

from hornbook.recipe import BUILTIN, TeacherConfig
from hornbook.records import Document, Topic, content_id
from hornbook.synthesize.topic_tree import Words, read_curriculum, read_taxonomy, read_words
from hornbook.tables import read_rows
from hornbook.teacher.builtin.general import GENERAL_STYLES
from hornbook.teacher.builtin.grammar import FAMILIES, reach
from hornbook.teacher.builtin.lessons import AUDIENCES
from hornbook.teacher.builtin.textbook import STYLES
from hornbook.teacher.request import ExerciseRequest, TextbookRequest

SEEDS = 1 << 32  # request numbers below this one never meet those of another seed of the run
MOST_EXTRACTS = 20_000  # held in memory: about 30 MB
EXTRACT_CHARACTERS = 1500  # about 350 tokens: enough to start from, too little to copy a section from

BUILTIN_TOPICS = tuple(family.topic for family in FAMILIES)
_EXERCISE_WEIGHTS = tuple(accumulate(family.weight for family in FAMILIES))
# Prose on a rare topic is worth as much as on a common one, so textbooks lie half way to an even spread.
_TEXTBOOK_WEIGHTS = tuple(accumulate(family.weight**0.5 for family in FAMILIES))


def read_topics(directory: Path | None) -> tuple[Topic, ...]:
    """The topics a step was given, roots left out; none where it was given none."""
    if directory is None:
        return ()
    return tuple(topic for topic in read_rows(directory / "topics.parquet", Topic) if topic.level > 0)


def exercise_requests(teacher: TeacherConfig, topics: Sequence[Topic]) -> Callable[[int, int], ExerciseRequest]:
    """The stream of requests for exercises: (seed, number) → request.

    The built-in teacher is asked by topic alone, for it knows no other constraint. A model is asked by topic ×
    function name × difficulty × two words of the docstring.
    """
    if teacher == BUILTIN:
        return _builtin_exercise
    chosen, words = topics or _leaves(read_curriculum()), read_words()

    def request(seed: int, number: int) -> ExerciseRequest:
        rng = Random(f"exercise {seed} {number}")  # noqa: S311 (no secret)
        return ExerciseRequest(
            topic=rng.choice(chosen).title,
            seed=seed * SEEDS + number,
            name=_function_name(rng, words),
            difficulty=rng.choice(words.difficulties),
            words=tuple(rng.sample(words.nouns, 2)),
        )

    return request


def section_requests(
    teacher: TeacherConfig, about: Literal["code", "general"], topics: Sequence[Topic], extracts: Sequence[str]
) -> Callable[[int, int], TextbookRequest]:
    """The stream of requests for textbook sections: (seed, number) → request.

    Topic × audience × style, and a noun, a verb and an adjective that must occur; not the words where the built-in
    teacher writes about code, for it knows its own topics alone.
    """
    if teacher == BUILTIN and about == "code":
        return _builtin_section
    words = read_words()
    chosen, audiences, styles = _section_choices(teacher, about, topics)

    def request(seed: int, number: int) -> TextbookRequest:
        rng = Random(f"textbook {seed} {number}")  # noqa: S311 (no secret)
        topic = rng.choice(chosen)
        return TextbookRequest(
            topic=topic.title,
            audience=rng.choice(audiences),
            style=rng.choice(styles),
            seed=seed * SEEDS + number,
            words=(rng.choice(words.nouns), rng.choice(words.verbs), rng.choice(words.adjectives)),
            about=about,
            path=topic.path,
            extract=rng.choice(extracts) if extracts else "",
        )

    return request


def _section_choices(
    teacher: TeacherConfig, about: Literal["code", "general"], topics: Sequence[Topic]
) -> tuple[Sequence[Topic], tuple[str, ...], tuple[str, ...]]:
    """The topics, audiences and styles of sections; the built-in teacher has styles of its own."""
    words = read_words()
    if about == "code":
        return topics or _leaves(read_curriculum()), tuple(AUDIENCES), words.code_styles
    styles = GENERAL_STYLES if teacher == BUILTIN else words.styles
    return topics or _leaves(read_taxonomy()), words.audiences, styles


def draw_extracts(directory: Path | None, seed: int) -> tuple[str, ...]:
    """A piece each of at most `MOST_EXTRACTS` documents, drawn by hash; nothing where there are no documents."""
    if directory is None:
        return ()
    smallest: list[tuple[str, str]] = []  # negated order: the heap's first is the largest drawn
    for document in read_rows(directory / "documents.parquet", Document):
        entry = (content_id(f"{seed} {document.id}"), _piece(document.text, seed))
        if len(smallest) < MOST_EXTRACTS:
            heapq.heappush(smallest, (_negated(entry[0]), entry[1]))
        else:
            heapq.heappushpop(smallest, (_negated(entry[0]), entry[1]))
    return tuple(piece for _, piece in sorted(smallest, reverse=True))


def _negated(digits: str) -> str:
    return "".join(f"{15 - int(digit, 16):x}" for digit in digits)


def _piece(text: str, seed: int) -> str:
    """Consecutive lines of a document from a seeded place, about `EXTRACT_CHARACTERS` long."""
    last = max(0, len(text) - EXTRACT_CHARACTERS)
    start = Random(f"extract {seed} {content_id(text)}").randint(0, last)  # noqa: S311 (no secret)
    start = text.find("\n", start, start + 200) + 1 or start
    return text[start : start + EXTRACT_CHARACTERS].strip()


def _builtin_exercise(seed: int, number: int) -> ExerciseRequest:
    rng = Random(f"exercise topic {seed} {number}")  # noqa: S311 (no secret)
    return ExerciseRequest(rng.choices(BUILTIN_TOPICS, cum_weights=_EXERCISE_WEIGHTS)[0], seed * SEEDS + number)


def _builtin_section(seed: int, number: int) -> TextbookRequest:
    rng = Random(f"textbook topic {seed} {number}")  # noqa: S311 (no secret)
    topic = rng.choices(BUILTIN_TOPICS, cum_weights=_TEXTBOOK_WEIGHTS)[0]
    return TextbookRequest(topic, rng.choice(tuple(AUDIENCES)), rng.choice(STYLES), seed * SEEDS + number)


def _function_name(rng: Random, words: Words) -> str:
    """A name such as `merge_sorted_orders` or `is_valid_ticket`: what phi-1 constrained exercises by."""
    verb, noun = rng.choice(words.name_verbs), rng.choice(words.name_nouns)
    quality = rng.choice(words.name_qualifiers)
    form = rng.randrange(4)
    if form == 0:
        return f"{verb}_{noun}"
    if form == 1:
        return f"is_{quality}_{noun}"
    if form == 2:
        return f"{verb}_{noun}_by_{rng.choice(words.name_nouns)}"
    return f"{verb}_{quality}_{noun}"


@cache
def _paths_with_children(topics: tuple[Topic, ...]) -> frozenset[str]:
    return frozenset(topic.path.rpartition(" > ")[0] for topic in topics)


def _leaves(topics: Sequence[Topic]) -> tuple[Topic, ...]:
    parents = _paths_with_children(tuple(topics))
    return tuple(topic for topic in topics if topic.path not in parents)


def exercises_in_reach(teacher: TeacherConfig, topics: Sequence[Topic]) -> int:
    """How many requests for exercises differ. Of the built-in teacher: how many exercises its grammar can tell apart by
    composition and constants, wording aside."""
    if teacher == BUILTIN:
        return sum(reach().values())
    words, chosen = read_words(), topics or _leaves(read_curriculum())
    verbs, nouns, qualities = len(words.name_verbs), len(words.name_nouns), len(words.name_qualifiers)
    names = verbs * nouns + qualities * nouns + verbs * nouns * nouns + verbs * qualities * nouns
    pairs = len(words.nouns) * (len(words.nouns) - 1)
    return len(chosen) * names * len(words.difficulties) * pairs


def sections_in_reach(teacher: TeacherConfig, about: Literal["code", "general"], topics: Sequence[Topic]) -> int:
    """How many requests for sections differ, their extracts aside. Of the built-in teacher and code: how many sections
    differ in audience, style, or the composition or constants of their example, wording aside."""
    if teacher == BUILTIN and about == "code":
        return exercises_in_reach(teacher, topics) * len(AUDIENCES) * len(STYLES)
    words = read_words()
    chosen, audiences, styles = _section_choices(teacher, about, topics)
    return len(chosen) * len(audiences) * len(styles) * len(words.nouns) * len(words.verbs) * len(words.adjectives)
