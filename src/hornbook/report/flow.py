"""The flow of rows through a run: what was kept and dropped, and why, from the counts of the manifests."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hornbook.report.record import RunRecord, StepRecord

# What each kind of step does to the rows that flow through it. Other steps look at rows and pass none on.
DOES = {
    "topics": "grow a tree of topics to write about",
    "corpus": "read and sample files",
    "score": "score with the classifier",
    "filter": "keep the best scores",
    "textbooks": "write textbook sections",
    "examples": "run the code of each section",
    "exercises": "write exercises",
    "independent_tests": "write further tests from each docstring",
    "verify": "run each solution against its tests",
    "dedup": "drop near-duplicates",
    "decontaminate": "drop overlaps with test sets",
    "pack": "tokenize and pack",
}
# Steps whose rows the next step of a lane reads too, but does not pass on, and what those rows are.
ASIDES = {"topics": "topics", "independent_tests": "sets of tests", "corpus": "texts to draw extracts from"}
STARTS = ("topics", "textbooks", "exercises")  # their rows are new, whatever they read
SETS = {
    "raw": "Raw code",
    "filtered": "Filtered code",
    "web": "Filtered web text",
    "textbooks": "Synthetic textbooks",
    "general_textbooks": "Synthetic textbooks of general knowledge",
    "exercises": "Synthetic exercises",
}


@dataclass(frozen=True, slots=True)
class Drop:
    """Rows that left at one step for one reason."""

    step: str
    reason: str
    rows: int
    share: float  # of the rows the step read


@dataclass(frozen=True, slots=True)
class Box:
    """One step of a lane."""

    kind: str
    does: str
    read: int | None  # rows; None where the step counts none
    kept: int
    kept_share: float  # of the rows read
    held_out: int | None  # of the kept rows: set aside for evaluation, and read by no step of the lane
    drops: tuple[Drop, ...]
    tokens: int | None
    aside: str  # what its rows are, where they are read beside those of the lane; else empty


@dataclass(frozen=True, slots=True)
class Lane:
    """The steps that one training set went through, in order, and which models read it, by their share of tokens."""

    title: str
    boxes: tuple[Box, ...]
    read_by: tuple[tuple[str, float], ...]


def lanes(run: RunRecord) -> list[Lane]:
    """A lane for every row-carrying step that no other takes rows from: the packed sets, or how far an unfinished run
    came."""
    carrying = {step.directory.name: step for step in run.steps if step.family in DOES}
    taken = {source.directory.name for step in carrying.values() for source in _read(step, carrying)}
    return [_lane(step, carrying, run) for name, step in carrying.items() if name not in taken]


def drops(run: RunRecord) -> Iterator[Drop]:
    """Every reason for which rows left at any step, in the order of the pipeline."""
    for step in run.steps:
        yield from _drops(step)


def _read(step: StepRecord, carrying: Mapping[str, StepRecord]) -> Iterator[StepRecord]:
    """The steps whose rows this one passes on or reads beside them."""
    source = _source(step, carrying)
    yield from _asides(step, carrying) if source is None else (source, *_asides(step, carrying))


def _source(step: StepRecord, carrying: Mapping[str, StepRecord]) -> StepRecord | None:
    """The step whose rows this one takes."""
    if step.family in STARTS:
        return None
    return next((source for source in _carriers(step, carrying) if not _is_aside(source, step)), None)


def _asides(step: StepRecord, carrying: Mapping[str, StepRecord]) -> list[StepRecord]:
    """The steps whose rows this one reads beside those it takes."""
    return [source for source in _carriers(step, carrying) if _is_aside(source, step)]


def _carriers(step: StepRecord, carrying: Mapping[str, StepRecord]) -> list[StepRecord]:
    return [carrying[name] for name in step.inputs.values() if name in carrying]


def _is_aside(source: StepRecord, step: StepRecord) -> bool:
    """Whether a step reads the rows of another beside its own; a corpus is one's own but for what writes anew."""
    return source.family in ASIDES and (source.family != "corpus" or step.family in STARTS)


def _lane(last: StepRecord, carrying: Mapping[str, StepRecord], run: RunRecord) -> Lane:
    steps = [last]
    while (source := _source(steps[0], carrying)) is not None:
        steps.insert(0, source)
    packed = last.name.removeprefix("pack.")
    return Lane(
        title=SETS.get(packed, packed) if last.family == "pack" else f"As far as {last.name}",
        boxes=tuple(box for step in steps for box in _boxes(step, carrying)),
        read_by=tuple((model.name, share) for model in run.models if (share := _share(model.mixture, packed)) > 0),
    )


def _share(mixture: Mapping[str, float], packed: str) -> float:
    return mixture.get(packed, 0.0) / sum(mixture.values())


def _boxes(step: StepRecord, carrying: Mapping[str, StepRecord]) -> Iterator[Box]:
    for source in _asides(step, carrying):
        yield _box(source, ASIDES[source.family])
    yield _box(step, "")


def _box(step: StepRecord, aside: str) -> Box:
    read, kept = (None, 0) if step.counts is None else (step.counts.read, step.counts.kept)
    return Box(
        kind=step.family,
        does=DOES[step.family],
        read=read,
        kept=kept,
        kept_share=kept / max(read or 0, 1),
        held_out=step.facts.get("held_out"),
        drops=tuple(_drops(step)),
        tokens=step.facts.get("tokens"),
        aside=aside,
    )


def _drops(step: StepRecord) -> Iterator[Drop]:
    if step.counts is None:
        return
    whole = max(step.counts.read, 1)
    for reason, rows in sorted(step.counts.dropped.items(), key=lambda item: (-item[1], item[0])):
        if rows:
            yield Drop(step.name, reason, rows, rows / whole)
    if step.counts.failed:
        yield Drop(step.name, "failed (an error, not a judgement)", step.counts.failed, step.counts.failed / whole)
