"""Prove exercises by running them: only a solution that passes its own tests is trained on."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator

from hornbook.recipe import VerifyStep
from hornbook.records import Dropped, Exercise, Outcome
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.run.workers import cpu_quota
from hornbook.sandbox.execute import run_programs
from hornbook.sandbox.isolation import Backend
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import Limits, Program, generous_limits, makes_objects
from hornbook.tables import TableWriter, count_rows, read_rows

STEP = "verify"
BUILTIN = "builtin"  # the teacher whose tests are results of a reference, never code
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


def verify_exercises(config: VerifyStep, inputs: Inputs, work: Workspace) -> Result:
    """Run each exercise of `inputs["exercises"]` in the sandbox and keep those that pass.

    Writes exercises.parquet (kept), dropped.parquet (reason `failed` or `timeout`) and outcomes.parquet (every one;
    `error` is ours: such an exercise is neither kept nor dropped, and counts as failed). Raises UserError where no
    isolation works, RuntimeError where a planted bad exercise passes.
    """
    backend = choose_backend(unsafe=work.machine.unsafe_execution)
    limits = generous_limits(config.verify.cpu_seconds, config.verify.memory_mb)
    check_canaries(limits, backend)
    path = inputs["exercises"] / "exercises.parquet"
    workers = work.machine.workers or cpu_quota()
    outcomes: Counter[str] = Counter(passed=0, failed=0, timeout=0, error=0)
    cpu_seconds, started = 0.0, time.monotonic()
    with (
        TableWriter(work.directory / "exercises.parquet", Exercise) as kept,
        TableWriter(work.directory / "dropped.parquet", Dropped) as dropped,
        TableWriter(work.directory / "outcomes.parquet", Outcome) as judged,
        work.progress.bar(STEP, count_rows(path), "programs") as bar,
    ):
        programs = programs_of(read_rows(path, Exercise), trusted=config.teacher == BUILTIN)
        verdicts = run_programs(programs, limits, workers, backend)
        # The table is read twice, so that no exercise waits in memory for its verdict.
        for exercise, verdict in zip(read_rows(path, Exercise), verdicts, strict=True):
            outcomes[verdict.outcome] += 1
            cpu_seconds += verdict.cpu_seconds
            judged.write(Outcome(exercise.id, 0, verdict.outcome, verdict.detail, verdict.protocol))
            if verdict.outcome == "passed":
                kept.write(exercise)
            elif verdict.outcome != "error":
                dropped.write(Dropped(exercise.id, STEP, verdict.outcome, verdict.detail))
            bar.advance(1)
    seconds = time.monotonic() - started
    read = outcomes.total()
    reasons = {reason: outcomes[reason] for reason in ("failed", "timeout") if outcomes[reason]}
    return Result(
        counts=Counts(read, outcomes["passed"], reasons, outcomes["error"]),
        facts={
            "outcomes": dict(outcomes),
            "timeout_rate": outcomes["timeout"] / read if read else 0.0,
            "backend": backend.name,
            "canaries": {"planted": len(CANARIES) - 1, "caught": len(CANARIES) - 1, "innocent_kept": 1},
        },
        timing={"programs_per_second": round(read / max(seconds, 1e-9), 1), "cpu_seconds": round(cpu_seconds, 2)},
    )


def programs_of(exercises: Iterable[Exercise], trusted: bool) -> Iterator[Program]:
    """Each exercise as the program that proves it. `trusted`: its tests were computed here, not written by a model."""
    for e in exercises:
        source = e.prompt + e.solution
        yield Program(e.id, source, e.tests, e.prompt, e.name, makes_objects(source), trusted)


def check_canaries(limits: Limits, backend: Backend) -> None:
    """Run the planted exercises; raises RuntimeError where one does not end as it must."""
    expected = [outcome for _, outcome in CANARIES]
    for verdict, outcome in zip(run_programs((p for p, _ in CANARIES), limits, 1, backend), expected, strict=True):
        if verdict.outcome != outcome:
            raise RuntimeError(
                f"{STEP}: the planted exercise `{verdict.id}` {verdict.outcome} ({verdict.detail}) where it must have "
                f"{outcome}: no verdict of this run can be trusted"
            )
