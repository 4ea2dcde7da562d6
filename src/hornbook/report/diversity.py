"""The measures of diversity in plain words: each synthetic set beside the real corpus, and along its growth."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hornbook.report.figures import Growth
from hornbook.report.flow import SETS
from hornbook.report.record import DiversityRecord
from hornbook.report.shown import number, one_place, percent, three_places

HIGHER, LOWER = "Higher is more diverse.", "Lower is more diverse."
UNMEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure and what it means."""

    key: str  # in the file of the step
    amount: str  # the key of how much it is taken over, and the unit
    unit: str
    shown: Callable[[float], str]
    name: str
    meaning: str
    better: str  # which direction is more diverse


@dataclass(frozen=True, slots=True)
class Cell:
    """A measure of one set of texts, in words, and over how much of it."""

    value: str  # or `not measured`
    over: str


@dataclass(frozen=True, slots=True)
class Row:
    """One measure."""

    name: str
    meaning: str
    better: str  # which direction is more diverse
    of_set: Cell
    corpus: Cell


@dataclass(frozen=True, slots=True)
class Table:
    """All measures of one set."""

    name: str
    title: str
    rows: tuple[Row, ...]
    last_step: str  # what the last texts brought; empty where there are too few points to say


MEASURES = (
    Measure(
        "near_duplicate_rate", "texts", "text", percent, "near-duplicates",
        "Share of texts that nearly repeat another: of the runs of five words in either, 70% or more stand in both.",
        LOWER,
    ),
    Measure(
        "distinct_1", "words", "word", three_places, "distinct words",
        "Different words, over all words.",
        HIGHER,
    ),
    Measure(
        "distinct_2", "words", "word", three_places, "distinct 2-grams",
        "Different pairs of neighbouring words, over all such pairs.",
        HIGHER,
    ),
    Measure(
        "distinct_3", "words", "word", three_places, "distinct 3-grams",
        "Different runs of three words, over all such runs: how seldom a turn of phrase comes back.",
        HIGHER,
    ),
    Measure(
        "compression_ratio", "bytes", "byte", "{:,.2f}".format, "compression ratio",
        "How many times smaller the text becomes when compressed: what repeats takes little room.",
        LOWER,
    ),
    Measure(
        "vendi_score", "vendi_texts", "text", one_place, "Vendi score",
        "The effective number of different texts, by the words and phrases they share: 1 where all are the same, at "
        "most the number of texts.",
        HIGHER,
    ),
)  # fmt: skip


def table_of(found: DiversityRecord) -> Table:
    """The table of a set."""
    rows = (*_measure_rows(found.of_set, found.corpus), *_coverage_rows(found.coverage))
    return Table(found.name, title_of(found), rows, last_step_of(found))


def title_of(found: DiversityRecord) -> str:
    """The set's name as the flow has it."""
    return SETS.get(found.name, found.name)


def _measure_rows(of_set: Mapping[str, Any], corpus: Mapping[str, Any]) -> Iterator[Row]:
    for measure in MEASURES:
        own, real = (
            _cell(found[measure.key], measure.shown, f"over {_count(found[measure.amount], measure.unit)}")
            for found in (of_set, corpus)
        )
        yield Row(measure.name, measure.meaning, measure.better, own, real)


def _count(many: int, what: str) -> str:
    return f"{number(many)} {what}{'' if many == 1 else 's'}"


def _cell(value: float | None, show: Callable[[float], str], over: str) -> Cell:
    return Cell(UNMEASURED if value is None else show(value), over)


def _coverage_rows(coverage: Mapping[str, Any] | None) -> Iterator[Row]:
    """How a set lies over its topics; over audiences too, where it has some."""
    if coverage is None:
        return
    corpus = Cell(UNMEASURED, "real code is about none of these topics")
    topics = f"{_count(coverage['topics'], 'topic')}, {_count(coverage['rows'], 'text')}"
    pairs = (
        f"{number(coverage['pairs'])} of {_count(coverage['pairs_possible'], 'pair')}: "
        f"{_count(coverage['topics'], 'topic')} × {_count(coverage['audiences'], 'audience')}"
    )
    if coverage["audiences"] > 1:
        yield Row(
            "coverage of topics × audiences",
            "Share of the pairs of a topic and an audience that at least one text was written for.",
            HIGHER, _cell(coverage["share_covered"], percent, pairs), corpus,
        )  # fmt: skip
    yield Row(
        "balance over topics",
        "How evenly the texts lie over the topics: 1 where all topics are equally common.",
        HIGHER, _cell(coverage["topic_balance"], three_places, topics), corpus,
    )  # fmt: skip
    if coverage["audiences"] > 1:
        yield Row(
            "balance over topics × audiences",
            "The same over all pairs: 1 where all are equally common.",
            HIGHER, _cell(coverage["pair_balance"], three_places, pairs), corpus,
        )  # fmt: skip


def last_step_of(found: DiversityRecord) -> str:
    """What the last texts brought, beside those before them."""
    if len(found.curve) < 2:
        return ""
    earlier, before, last = ({"texts": 0}, *found.curve)[-3:]
    return (
        f"The last {_count(last['texts'] - before['texts'], 'text')} brought "
        f"{one_place(last['new_trigrams_per_text'])} 3-grams each that no text before had; the "
        f"{number(before['texts'] - earlier['texts'])} before those brought "
        f"{one_place(before['new_trigrams_per_text'])} each."
    )


def growths_of(found: DiversityRecord) -> Iterator[tuple[str, str, Growth, str]]:
    """The small figures of a set: key, title, what to draw, and a caption."""
    title, corpus = title_of(found), found.corpus
    measured = [point["measures"] for point in found.curve]
    yield (
        "new",
        f"{title}: new 3-grams by number of texts",
        Growth(
            "new 3-grams per text",
            found.name,
            [(point["texts"], point["new_trigrams_per_text"]) for point in found.curve],
        ),
        "What each added text brings: runs of three words that no text before had, on average since the point before. "
        "Near 0, generation adds nothing.",
    )
    yield (
        "near",
        f"{title}: near-duplicates by number of texts",
        Growth(
            "near-duplicates (%)",
            found.name,
            [(one["texts"], _hundredfold(one["near_duplicate_rate"])) for one in measured],
            (corpus["texts"], _hundredfold(corpus["near_duplicate_rate"])),
        ),
        "Share of texts that nearly repeat another. Where it climbs, generation repeats itself.",
    )
    # Beyond the texts it is taken over the score stands still, which would look like saturation: each size once.
    scores = {one["vendi_texts"]: one["vendi_score"] for one in measured}
    yield (
        "vendi",
        f"{title}: Vendi score by number of texts",
        Growth("Vendi score", found.name, list(scores.items()), (corpus["vendi_texts"], corpus["vendi_score"])),
        f"How many different texts the first ones come to; measured on {number(max(scores, default=0))} at most. Where "
        "it flattens, texts are like those before.",
    )


def _hundredfold(share: float | None) -> float | None:
    return None if share is None else 100 * share
