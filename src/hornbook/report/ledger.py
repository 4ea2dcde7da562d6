"""What the teachers of a run cost and were sent: from the ledgers and prompts of the manifests."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hornbook.recipe import BUILTIN
from hornbook.report.record import RunRecord

TEACHERS = {  # where the recipe names a step's teacher
    "annotate": ("annotate",),
    "annotate.web": ("web", "annotate"),
    "topics": ("topics",),
    "textbooks": ("textbooks",),
    "textbooks.general": ("general_textbooks",),
    "exercises": ("exercises",),
    "independent_tests": ("exercises",),
}


NUMBERS = (
    "requests_sent", "lost", "refused", "from_journal", "prompt_tokens", "completion_tokens", "usd", "uncertain_usd",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """What one step asked of a model, or all of them; see `LanguageModelTeacher.ledger`."""

    step: str
    model: str  # empty in a total
    requests_sent: int
    lost: int
    refused: int
    from_journal: int
    prompt_tokens: int
    completion_tokens: int
    usd: float
    uncertain_usd: float
    failures: Mapping[str, int]  # replies of no use, by reason


@dataclass(frozen=True, slots=True)
class Ledger:
    """The entries of a run, and who taught it."""

    entries: tuple[Entry, ...]
    total: Entry
    builtin: tuple[str, ...]  # finished steps whose teacher is the built-in one
    to_come: tuple[str, ...]  # unfinished steps that ask a model


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text that a step's requests are made of."""

    step: str
    name: str
    text: str


def ledger_of(run: RunRecord) -> Ledger:
    """A row for every finished step that asked a model."""
    entries = tuple(
        Entry(
            step=step.name,
            model=found["model"],
            failures=run.failures[step.name],
            **{name: found[name] for name in NUMBERS},
        )
        for step in run.steps
        if (found := step.timing.get("ledger"))
    )
    return Ledger(
        entries=entries,
        total=_total(entries),
        builtin=tuple(step.name for step in run.steps if teacher_of(run, step.name) == BUILTIN),
        to_come=tuple(name for name in run.missing if teacher_of(run, name) not in (BUILTIN, None)),
    )


def prompts_of(run: RunRecord) -> Iterator[Prompt]:
    """Every prompt that a step sent, in the order of the pipeline."""
    for step in run.steps:
        for name, text in step.facts.get("prompts", {}).items():
            yield Prompt(step.name, name, text)


def teacher_of(run: RunRecord, step: str) -> Any:
    """The teacher of a step as the recipe has it; None where it asks none."""
    if step not in TEACHERS:
        return None
    section = run.description.recipe
    for part in TEACHERS[step]:
        section = section[part]
    return section["teacher"]


def _total(entries: tuple[Entry, ...]) -> Entry:
    failures: Counter[str] = Counter()
    for entry in entries:
        failures.update(entry.failures)
    return Entry(
        step="all",
        model="",
        failures=dict(sorted(failures.items())),
        **{name: sum(getattr(entry, name) for entry in entries) for name in NUMBERS},
    )
