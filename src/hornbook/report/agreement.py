"""How far synthetic code can be trusted: solutions against tests, and textbook sections whose code did not run."""

from dataclasses import dataclass

from hornbook.report.record import RunRecord, StepRecord

CODE = {  # outcomes of the step `examples`
    "ran": "all of its Python ran to the end",
    "none": "holds no Python to run",
    "failed": "its Python raised an error",
    "timeout": "its Python did not end in time",
    "error": "could not be run, by a fault of ours: not a judgement",
}


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of solutions and tests. None: not measured."""

    exercises: int
    sets: int  # of tests, that were run
    disagreement: float | None  # share of the sets that their solution does not pass
    split: int | None  # exercises of which some sets pass and some do not; None where each has only one
    split_share: float | None  # of the exercises
    against_own_tests: int | None  # exercises kept although their own tests fail; None where each has only one set


@dataclass(frozen=True, slots=True)
class SectionRow:
    """How many textbook sections had one outcome when their code was run."""

    outcome: str
    meaning: str
    rows: int
    share: float


def agreement_of(run: RunRecord) -> Agreement | None:
    """What the step `verify` tells; None where it has not finished."""
    verify = run.step("verify")
    if verify is None or verify.counts is None or "sets_of_tests" not in verify.facts:
        return None
    facts, exercises = verify.facts, verify.counts.read
    several = facts["sets_of_tests"] > exercises
    return Agreement(
        exercises=exercises,
        sets=facts["sets_of_tests"],
        disagreement=facts["disagreement_rate"],
        split=facts["split"] if several else None,
        split_share=facts["split"] / exercises if several and exercises else None,
        against_own_tests=facts["kept_against_own_tests"] if several else None,
    )


def section_rows(examples: StepRecord | None) -> list[SectionRow]:
    """What a step `examples` tells; empty where it has not finished or had no section to run."""
    found = {} if examples is None else examples.facts["code"]
    whole = sum(found.values())
    return [
        SectionRow(outcome, meaning, found.get(outcome, 0), found.get(outcome, 0) / whole)
        for outcome, meaning in CODE.items()
        if whole and (found.get(outcome) or outcome != "error")
    ]
