"""What a report says about one run, as values: `collect` fills them, `flow`, `figures` and `render` read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hornbook.records import Exercise
from hornbook.run.step import Counts


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A finished step, as its manifest tells it."""

    name: str
    directory: Path
    inputs: Mapping[str, str]  # the names of directories, by the name the step gives them
    counts: Counts | None
    facts: Mapping[str, Any]
    timing: Mapping[str, Any]
    machine: Mapping[str, Any]
    version: int
    started: str  # ISO 8601, UTC
    ended: str
    seconds: float
    peak_memory_bytes: int
    size_bytes: int  # of all its files

    @property
    def family(self) -> str:
        """What kind of step it is: `dedup` for `dedup.exercises`."""
        return self.name.split(".")[0]


@dataclass(frozen=True, slots=True)
class Score:
    """One model on one task. `value` is None where the task could not be measured; `reason` says why."""

    task: str
    metric: str  # `pass@1` (0 to 1) or `bits_per_byte`
    value: float | None
    n: int
    low: float | None  # of the 95% interval
    high: float | None
    failed: int  # errors of ours: not scored, and not wrong
    reason: str


@dataclass(frozen=True, slots=True)
class LossPoint:
    """One training step."""

    step: int
    tokens: int  # seen so far in this training run
    loss: float  # nats per token
    learning_rate: float


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """One trained model of the recipe; what is not there yet is empty."""

    name: str
    label: str
    start: str  # `scratch`, `pretrained`, or the name of another model
    mixture: Mapping[str, float]
    scores: Mapping[str, Score]  # by task
    losses: tuple[LossPoint, ...]
    parameters: int | None
    epochs: Mapping[str, float]  # by set: how often each of its sequences was read
    held_out_loss: Mapping[str, float]  # by set, at the last step, in nats per token; empty where none was measured
    selected_step: int | None  # the checkpoint that became the model, where the best one does
    verdicts: Mapping[str, Mapping[str, int]]  # by task: how many samples had each outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """What one model wrote for a problem, and what became of it."""

    model: str
    text: str
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class ProblemSample:
    """One problem with the first answer of every model."""

    task: str
    task_id: str
    prompt: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class ScoreBin:
    """Documents whose classifier score lies from `low` to `high` (excluded), by what the filter did with them."""

    low: float
    high: float
    kept: int
    dropped: int


@dataclass(frozen=True, slots=True)
class DocumentSample:
    """A document of the corpus from one whole point of score, as the filter judged it."""

    low: float
    high: float
    kept: bool
    score: float
    source: str
    text: str  # its beginning
    characters: int  # of the whole document


@dataclass(frozen=True, slots=True)
class FilterRecord:
    """What a filter did to its corpus."""

    step: str  # `filter`, or `filter.web`
    bins: tuple[ScoreBin, ...]
    documents: tuple[DocumentSample, ...]


@dataclass(frozen=True, slots=True)
class ExerciseSample:
    """An exercise and what became of its solution in the sandbox; `reason` is empty where it passed."""

    exercise: Exercise
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class TextbookSample:
    """A synthetic textbook section."""

    source: str
    text: str


@dataclass(frozen=True, slots=True)
class BrokenSection:
    """A textbook section whose code did not run; `detail` is empty where such sections are kept and marked."""

    outcome: str  # failed, timeout
    detail: str
    text: str


@dataclass(frozen=True, slots=True)
class TextbookRecord:
    """Samples of a set of textbooks; what is not there yet is empty."""

    step: str  # `textbooks`, or `textbooks.general`
    samples: tuple[TextbookSample, ...]
    broken: tuple[BrokenSection, ...]


@dataclass(frozen=True, slots=True)
class DiversityRecord:
    """How diverse a synthetic set is, as the file of its step has it (`synthesize.diversity`)."""

    name: str  # of the set
    of_set: Mapping[str, Any]  # Measures
    corpus: Mapping[str, Any]  # Measures
    curve: tuple[Mapping[str, Any], ...]  # Points, of the set
    coverage: Mapping[str, Any] | None  # Coverage; None: its rows have no topics


@dataclass(frozen=True, slots=True)
class RunDescription:
    """What `run.json` says of a run: which steps make it up, and where they are or will be."""

    name: str
    arm: str | None
    recipe: Mapping[str, Any]  # as resolved
    steps: tuple[tuple[str, Path], ...]  # name and directory, in the order of the pipeline
    models: Mapping[str, str]  # the label of each model, by its name


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a recipe, finished or not."""

    description: RunDescription
    steps: tuple[StepRecord, ...]  # that are finished, in the order of the pipeline
    missing: tuple[str, ...]  # names of the steps that are not
    models: tuple[ModelRecord, ...]
    filters: tuple[FilterRecord, ...]  # one for each filter of the run, finished or not
    exercises: tuple[ExerciseSample, ...]
    textbooks: tuple[TextbookRecord, ...]  # one for each set of textbooks of the run, finished or not
    problems: tuple[ProblemSample, ...]
    diversity: tuple[DiversityRecord, ...]
    failures: Mapping[str, Mapping[str, int]]  # of each step that asked a model: its unusable replies by reason

    def step(self, name: str) -> StepRecord | None:
        """The finished step of that name."""
        return next((step for step in self.steps if step.name == name), None)
