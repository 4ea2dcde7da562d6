"""Known verdicts in, balanced tables out, and canaries that bite."""

from pathlib import Path

import pytest

from hornbook.recipe import MachineConfig, VerifyConfig, VerifyStep
from hornbook.records import Dropped, Exercise, Outcome, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.sandbox.isolation import Backend
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import generous_limits
from hornbook.synthesize.verify import check_canaries, verify_exercises
from hornbook.tables import read_rows, write_rows

CONFIG = VerifyStep(verify=VerifyConfig(cpu_seconds=1.0, memory_mb=256, failure_limit=0.0), teacher="builtin")


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
    work = Workspace(directory / "out", MachineConfig(workers=workers), Silent())
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
    assert facts["outcomes"] == {"passed": 2, "failed": 2, "timeout": 1, "error": 0}
    assert facts["timeout_rate"] == 0.2


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
        check_canaries(generous_limits(1.0, 256), Backend("gullible", honest.tool, gullible))
