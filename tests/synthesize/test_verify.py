"""Known verdicts in, balanced tables out, and canaries that bite."""

from pathlib import Path

import pytest

from hornbook.recipe import MachineConfig, VerifyConfig
from hornbook.records import Dropped, Exercise, Outcome, TestSet, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.sandbox.isolation import Backend
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import generous_limits
from hornbook.step_config import VerifyStep
from hornbook.synthesize.verify import CANARIES, check_canaries, verify_exercises
from hornbook.tables import read_rows, write_rows

LIMITS = VerifyConfig(cpu_seconds=1.0, memory_mb=256, failure_limit=0.0, failing_sections="drop")
CONFIG = VerifyStep(verify=LIMITS, trusted=True)


def exercise(body: str, *tests: str) -> Exercise:
    prompt = 'def double(x: int) -> int:\n    """Twice a number."""\n'
    return Exercise(content_id(prompt + body), "integers", "double", prompt, body, tests, "request")


EXERCISES = [
    exercise("    return 2 * x\n", "assert double(2) == 4", "assert double(-1) == -2"),
    exercise("    return x + 2\n", "assert double(2) == 4", "assert double(-1) == -2"),
    exercise("    return x +\n", "assert double(2) == 4"),
    exercise("    while x:\n        x += 1\n", "assert double(2) == 4"),
    exercise("    return x << 1\n", "assert double(2) == 4"),
]


def run(directory: Path, workers: int) -> dict[str, object]:
    (directory / "in").mkdir(parents=True)
    (directory / "out").mkdir()
    write_rows(directory / "in" / "exercises.parquet", Exercise, EXERCISES)
    work = Workspace(directory / "out", MachineConfig(workers=workers), Silent(), directory / "out", "test")
    result = verify_exercises(CONFIG, {"exercises": directory / "in"}, work)
    assert result.counts is not None
    assert result.counts.balanced()
    return {"counts": result.counts, "facts": result.facts}


def test_only_what_passes_is_kept_and_the_rest_says_why(tmp_path: Path) -> None:
    found = run(tmp_path, 1)
    out = tmp_path / "out"
    assert list(read_rows(out / "exercises.parquet", Exercise)) == [EXERCISES[0], EXERCISES[4]]
    assert list(read_rows(out / "dropped.parquet", Dropped)) == [
        Dropped(EXERCISES[1].id, "verify", "failed", "test 2: AssertionError"),
        Dropped(EXERCISES[2].id, "verify", "failed", "program: SyntaxError: invalid syntax (<program>, line 3)"),
        Dropped(EXERCISES[3].id, "verify", "timeout", "CPU time over 1 s"),
    ]
    assert [row.outcome for row in read_rows(out / "outcomes.parquet", Outcome)] == [
        "passed", "failed", "failed", "timeout", "passed",
    ]  # fmt: skip
    facts = found["facts"]
    assert isinstance(facts, dict)
    assert facts["outcomes"] == {"passed": 2, "failed": 2, "timeout": 1, "outvoted": 0, "error": 0}
    assert facts["timeout_rate"] == 0.2
    assert facts["disagreement_rate"] == 0.6


def test_the_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    assert run(tmp_path / "one", 1) == run(tmp_path / "two", 2)
    for name in ("exercises.parquet", "dropped.parquet", "outcomes.parquet"):
        assert (tmp_path / "one" / "out" / name).read_bytes() == (tmp_path / "two" / "out" / name).read_bytes()


def test_a_sandbox_that_passes_everything_is_caught() -> None:
    """The real isolation around a server whose judge always says passed."""
    honest = choose_backend()

    def gullible(source: str, scratch_mb: int) -> list[str]:
        return honest.command(
            source.replace('verdict, detail = "failed", ""', 'verdict, detail = "passed", ""'), scratch_mb
        )

    with pytest.raises(RuntimeError, match="canary: wrong"):
        check_canaries(CANARIES, generous_limits(1.0, 256), Backend("gullible", honest.tool, gullible))


def test_the_majority_of_independent_tests_decides(tmp_path: Path) -> None:
    right = "    return 2 * x\n"
    good, also_good, wrong = ("assert double(2) == 4",), ("assert double(-3) == -6",), ("assert double(2) == 5",)
    rows = [exercise(right, *good), exercise("    return x + x\n", *wrong), exercise("    return x * 2\n", *good)]
    sets = [
        [also_good, wrong],  # two of three pass: kept, with the tests of both
        [good, also_good],  # its own tests err, and are outvoted: kept without them
        [wrong, wrong],  # only its own pass: dropped
    ]
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    write_rows(tmp_path / "in" / "exercises.parquet", Exercise, rows)
    further = [
        TestSet(row.id, number, tests, "r")
        for row, of_row in zip(rows, sets, strict=True)
        for number, tests in enumerate(of_row, 1)
    ]
    write_rows(tmp_path / "in" / "test_sets.parquet", TestSet, further)
    inputs = {"exercises": tmp_path / "in", "independent_tests": tmp_path / "in"}
    work = Workspace(tmp_path / "out", MachineConfig(workers=1), Silent(), tmp_path, "test")
    result = verify_exercises(VerifyStep(verify=LIMITS, trusted=False), inputs, work)
    kept = list(read_rows(tmp_path / "out" / "exercises.parquet", Exercise))
    assert [row.tests for row in kept] == [(*good, *also_good), (*good, *also_good)]
    assert [(row.id, row.reason) for row in read_rows(tmp_path / "out" / "dropped.parquet", Dropped)] == [
        (rows[2].id, "outvoted")
    ]
    assert result.counts is not None
    assert result.counts.balanced()
    assert result.facts["sets_of_tests"] == 9
    assert result.facts["disagreement_rate"] == 4 / 9
    assert result.facts["split"] == 3
    assert result.facts["kept_against_own_tests"] == 1
    assert len(list(read_rows(tmp_path / "out" / "outcomes.parquet", Outcome))) == 9
