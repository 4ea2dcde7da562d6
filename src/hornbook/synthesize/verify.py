"""Prove exercises by running them: only a solution that passes its tests is trained on.

An exercise may have several independent sets of tests (`independent_tests.py`): then the majority decides, and the
tests it keeps are those of the sets its solution passes.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from hornbook.records import Dropped, Exercise, Outcome, TestSet
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.run.workers import cpu_quota
from hornbook.sandbox.execute import run_programs
from hornbook.sandbox.isolation import Backend
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import Limits, Program, Verdict, generous_limits, makes_objects
from hornbook.step_config import VerifyStep
from hornbook.tables import TableWriter, count_rows, read_rows

STEP = "verify"
PROMPT = "def canary(x):\n    "
EQUALS_EVERYTHING = "class Equal:\n    def __eq__(self, other):\n        return True\n\n\n"
CALLS = ("assert canary(2) == 4",)
# What must come out of each planted program; the first shows that anything can pass at all.
CANARIES = (
    (Program("canary: right", f"{PROMPT}return 2 * x\n", CALLS), "passed"),
    (Program("canary: wrong", f"{PROMPT}return x + 1\n", CALLS), "failed"),
    (Program("canary: leaves with status 0", f"import sys\n\n\n{PROMPT}sys.exit(0)\n", CALLS), "failed"),
    (Program("canary: never ends", f"{PROMPT}\n    while True:\n        pass\n", CALLS), "timeout"),
    (Program("canary: equals everything", EQUALS_EVERYTHING + f"{PROMPT}return Equal()\n", CALLS), "failed"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """An exercise with all its sets of tests, its own first."""

    exercise: Exercise
    sets: tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class Agreement:
    """How often solution and tests disagree."""

    sets: Counter[str] = field(default_factory=Counter)  # outcomes of all sets
    split: int = 0  # exercises of which some sets pass and some do not
    outvoted: int = 0  # kept although their own tests fail


def verify_exercises(config: VerifyStep, inputs: Inputs, work: Workspace) -> Result:
    """Run each exercise of `inputs["exercises"]` in the sandbox and keep those that pass.

    With `inputs["independent_tests"]` an exercise is kept where more than half of its sets of tests pass.

    Writes exercises.parquet (kept), dropped.parquet (reason `failed`, `timeout` or `outvoted`) and outcomes.parquet
    (every set of every exercise, `sample` its number; `error` is ours: such an exercise is neither kept nor dropped,
    and counts as failed). Raises UserError where no isolation works, RuntimeError where a planted bad exercise passes.
    """
    backend = choose_backend(unsafe=work.machine.unsafe_execution)
    limits = generous_limits(config.verify.cpu_seconds, config.verify.memory_mb)
    check_canaries(CANARIES, limits, backend)
    path = inputs["exercises"] / "exercises.parquet"
    others = inputs["independent_tests"] / "test_sets.parquet" if "independent_tests" in inputs else None
    workers = work.machine.workers or cpu_quota()
    outcomes: Counter[str] = Counter(passed=0, failed=0, timeout=0, outvoted=0, error=0)
    agreement, cpu_seconds, started = Agreement(), 0.0, time.monotonic()
    with (
        TableWriter(work.directory / "exercises.parquet", Exercise) as kept,
        TableWriter(work.directory / "dropped.parquet", Dropped) as dropped,
        TableWriter(work.directory / "outcomes.parquet", Outcome) as judged,
        work.progress.bar(STEP, count_rows(path), "exercises") as bar,
    ):
        verdicts = run_programs(programs_of(cases(path, others), config.trusted), limits, workers, backend)
        # The tables are read twice, so that no exercise waits in memory for its verdicts.
        for case in cases(path, others):
            of_sets = list(islice(verdicts, len(case.sets)))
            for number, verdict in enumerate(of_sets):
                judged.write(Outcome(case.exercise.id, number, verdict.outcome, verdict.detail, verdict.protocol))
                cpu_seconds += verdict.cpu_seconds
            outcome, detail, exercise = decide(case, of_sets, agreement)
            outcomes[outcome] += 1
            if outcome == "passed":
                kept.write(exercise)
            elif outcome != "error":
                dropped.write(Dropped(exercise.id, STEP, outcome, detail))
            bar.advance(1)
    seconds, read = time.monotonic() - started, outcomes.total()
    reasons = {reason: outcomes[reason] for reason in ("failed", "timeout", "outvoted") if outcomes[reason]}
    sets = agreement.sets.total()
    return Result(
        counts=Counts(read, outcomes["passed"], reasons, outcomes["error"]),
        facts={
            "outcomes": dict(outcomes),
            "timeout_rate": agreement.sets["timeout"] / sets if sets else 0.0,
            "sets_of_tests": sets,
            "disagreement_rate": (sets - agreement.sets["passed"] - agreement.sets["error"]) / sets if sets else None,
            "split": agreement.split,
            "kept_against_own_tests": agreement.outvoted,
            "backend": backend.name,
            "canaries": {"planted": len(CANARIES) - 1, "caught": len(CANARIES) - 1, "innocent_kept": 1},
        },
        timing={"programs_per_second": round(sets / max(seconds, 1e-9), 1), "cpu_seconds": round(cpu_seconds, 2)},
    )


def cases(exercises: Path, test_sets: Path | None) -> Iterator[Case]:
    """Each exercise with its sets of tests. The further sets stand in the order of the exercises."""
    further = iter(()) if test_sets is None else read_rows(test_sets, TestSet)
    waiting = next(further, None)
    for exercise in read_rows(exercises, Exercise):
        sets = [exercise.tests]
        while waiting is not None and waiting.id == exercise.id:
            sets.append(waiting.tests)
            waiting = next(further, None)
        yield Case(exercise, tuple(sets))


def programs_of(cases: Iterable[Case], trusted: bool) -> Iterator[Program]:
    """Each set of tests as a program. `trusted`: its tests were computed here, not written by a model."""
    for case in cases:
        e = case.exercise
        source = e.prompt + e.solution
        for tests in case.sets:
            yield Program(e.id, source, tests, e.prompt, e.name, makes_objects(source), trusted)


def decide(case: Case, verdicts: list[Verdict], agreement: Agreement) -> tuple[str, str, Exercise]:
    """Outcome, detail, and the exercise as it is kept: with the tests of all sets that pass, each once."""
    agreement.sets.update(verdict.outcome for verdict in verdicts)
    own, exercise = verdicts[0], case.exercise
    if len(verdicts) == 1:
        return own.outcome, own.detail, exercise
    told = [(verdict, tests) for verdict, tests in zip(verdicts, case.sets, strict=True) if verdict.outcome != "error"]
    passed = [tests for verdict, tests in told if verdict.outcome == "passed"]
    agreement.split += 0 < len(passed) < len(told)
    if not told:
        return "error", own.detail, exercise
    if 2 * len(passed) > len(told):
        agreement.outvoted += own.outcome != "passed"
        return "passed", "", replace(exercise, tests=tuple(dict.fromkeys(chain.from_iterable(passed))))
    worst = next(verdict for verdict, _ in told if verdict.outcome != "passed")
    if own.outcome == "passed":
        return "outvoted", f"{len(passed)} of {len(told)} sets of tests pass; {worst.detail}", exercise
    return worst.outcome, f"{len(passed)} of {len(told)} sets of tests pass; {worst.detail}", exercise


def check_canaries(canaries: Sequence[tuple[Program, str]], limits: Limits, backend: Backend) -> None:
    """Run planted programs; raises RuntimeError where one does not end as it must."""
    expected = [outcome for _, outcome in canaries]
    for verdict, outcome in zip(run_programs((p for p, _ in canaries), limits, 1, backend), expected, strict=True):
        if verdict.outcome != outcome:
            raise RuntimeError(
                f"the planted program `{verdict.id}` {verdict.outcome} ({verdict.detail}) where it must have "
                f"{outcome}: no verdict of this run can be trusted"
            )
