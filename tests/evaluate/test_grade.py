"""Files of samples: good lines graded whatever the bad ones are; pass@k beside an independent implementation."""

import gzip
import itertools
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hornbook import testsets
from hornbook.errors import UserError
from hornbook.evaluate.grade import grade_samples, score_at_k
from hornbook.evaluate.samples import read_samples
from hornbook.records import GradedSample
from hornbook.run.progress import Silent
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import generous_limits
from hornbook.tables import read_rows

PROBLEMS = {problem.task_id: problem for problem in testsets.load("drill")[:3]}
LIMITS = generous_limits(3.0, 256)  # as the command has it: a busy machine makes a short program slow


def write(path: Path, *lines: object) -> Path:
    path.write_bytes(
        b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    )
    return path


def right(task_id: str) -> dict[str, str]:
    return {"task_id": task_id, "completion": testsets.load("drill")[int(task_id.split("/")[1])].reference}


def wrong(task_id: str) -> dict[str, str]:
    return {"task_id": task_id, "completion": "    pass\n"}


def graded(path: Path, out: Path, partial: bool = True, ks: tuple[int, ...] = (1,)) -> dict[str, object]:
    return grade_samples(path, "drill", out, ks, partial, LIMITS, 2, choose_backend(), Silent())


def test_every_line_gets_its_outcome_in_order(tmp_path: Path) -> None:
    whole = testsets.load("drill")[1]
    path = write(
        tmp_path / "samples.jsonl",
        right("drill/0"),
        wrong("drill/0"),
        b"",
        {"task_id": "drill/1", "solution": whole.prompt + whole.reference},
        b'{"task_id": "drill/2", "completion": ',
        {"task_id": "drill/999", "completion": "    pass\n"},
        [1],
        {"completion": "    pass\n"},
        {"task_id": "drill/2"},
        {"task_id": "drill/2", "completion": "    pass", "solution": "pass"},
        {"task_id": "drill/2", "completion": "    return 1\0"},
        {"task_id": "drill/2", "completion": "    x = 1\n" * 250_000},  # 2.5 MB: compiled well within the CPU limit
        {"task_id": "drill/2", "completion": "    while True: pass\n"},
        b'{"task_id": "drill/2", "completion": "\0"}',
        b"\xff\xfe",
        right("drill/2"),
    )
    summary = graded(path, tmp_path / "out.jsonl")
    rows = list(read_rows(tmp_path / "out.jsonl", GradedSample))
    assert [(row.line, row.task_id, row.sample, row.outcome) for row in rows] == [
        (1, "drill/0", 0, "passed"),
        (2, "drill/0", 1, "failed"),
        (4, "drill/1", 0, "passed"),
        (5, "", 0, "unscored"),
        (6, "", 0, "unscored"),
        (7, "", 0, "unscored"),
        (8, "", 0, "unscored"),
        (9, "", 0, "unscored"),
        (10, "", 0, "unscored"),
        (11, "drill/2", 0, "failed"),
        (12, "drill/2", 1, "failed"),
        (13, "drill/2", 2, "timeout"),
        (14, "", 0, "unscored"),
        (15, "", 0, "unscored"),
        (16, "drill/2", 3, "passed"),
    ]
    details = {row.line: row.detail for row in rows}
    assert "not JSON" in details[5]
    assert "no task 'drill/999'" in details[6]
    assert "not a JSON object" in details[7]
    assert "no field `task_id`" in details[8]
    assert "no text `completion` or `solution`" in details[9]
    assert "both" in details[10]
    assert "null bytes" in details[11]
    assert "CPU time over 3 s" in details[13]
    assert summary["outcomes"] == {"passed": 3, "failed": 3, "timeout": 1, "error": 0, "unscored": 8}
    assert summary["timeout_rate"] == 1 / 7
    assert {row.isolation for row in rows} == {choose_backend().name}


def test_the_reader_is_not_led_astray_by_ids_as_tools_write_them() -> None:
    for written in ("MBPP/11", "Mbpp/11", "mbpp/11", 11, "11"):
        problems = {"MBPP/11": PROBLEMS["drill/0"]}
        path = Path(f"{__file__}.none")
        with pytest.raises(UserError, match="cannot be read"):
            list(read_samples(path, problems))
        assert [s.task_id for s in _read({"task_id": written, "solution": "pass"}, problems)] == ["MBPP/11"]


def _read(row: object, problems: object) -> list[object]:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "samples.jsonl.gz"
        path.write_bytes(gzip.compress(json.dumps(row).encode()))
        return list(read_samples(path, problems))  # type: ignore[arg-type]


def test_missing_tasks_and_empty_files_end_before_anything_is_run(tmp_path: Path) -> None:
    some = write(tmp_path / "some.jsonl", right("drill/0"))
    with pytest.raises(UserError, match=r"no sample of 163 of the 164 tasks of drill \(drill/1, .*--partial"):
        graded(some, tmp_path / "out.jsonl", partial=False)
    empty = write(tmp_path / "empty.jsonl")
    with pytest.raises(UserError, match="holds no sample of drill"):
        graded(empty, tmp_path / "out.jsonl")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(some.read_bytes())[:-9])
    with pytest.raises(UserError, match=r"cut\.jsonl\.gz: cannot be read"):
        graded(tmp_path / "cut.jsonl.gz", tmp_path / "out.jsonl")
    assert not list(tmp_path.glob("out*"))


def test_repeated_samples_count_and_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", right("drill/0"), right("drill/0"), wrong("drill/0"))
    summary = graded(path, tmp_path / "out.parquet", ks=(1, 2, 5))
    assert summary["repeated"] == 1
    scores = summary["scores"]
    assert isinstance(scores, dict)
    assert scores["pass@1"]["value"] == pytest.approx(2 / 3)
    assert scores["pass@2"]["value"] == 1.0
    assert scores["pass@5"]["value"] is None
    assert scores["pass@5"]["reason"] == "needs 5 samples a task; drill/0 has 3"


def estimator(num_samples: list[int], num_correct: list[int], k: int) -> np.ndarray:
    """pass@k as openai/human-eval computes it (human_eval/evaluation.py), written from its definition there."""

    def estimate(n: int, c: int) -> float:
        if n - c < k:
            return 1.0
        return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))

    return np.array([estimate(n, c) for n, c in zip(num_samples, num_correct, strict=True)])


@pytest.mark.parametrize("k", [1, 10, 100])
def test_pass_at_k_is_the_fields_and_the_probability_itself(k: int) -> None:
    draw = np.random.default_rng(k)
    scored = {f"t/{i}": 200 for i in range(164)}
    passed = {task_id: int(draw.integers(0, 201)) for task_id in scored}
    score = score_at_k(Counter(passed), Counter(scored), k)
    assert score["value"] == pytest.approx(float(np.mean(estimator([200] * 164, list(passed.values()), k))), abs=1e-12)
    assert score["low"] < score["value"] < score["high"]
    # By counting: of all ways to draw 2 of 5 samples with 2 right ones, the share that holds a right one.
    draws = list(itertools.combinations([1, 1, 0, 0, 0], 2))
    assert score_at_k(Counter(a=2), Counter(a=5), 2)["value"] == pytest.approx(sum(map(any, draws)) / len(draws))


def test_errors_of_ours_are_in_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which a reference fails can say nothing of other solutions to that problem."""
    path = write(tmp_path / "s.jsonl", wrong("drill/0"), right("drill/1"), right("drill/2"))
    broken = replace(PROBLEMS["drill/0"], reference="    raise SystemError('this machine')\n")
    monkeypatch.setattr(testsets, "load", lambda name: (*PROBLEMS.values(), broken))
    summary = graded(path, tmp_path / "out.jsonl")
    rows = list(read_rows(tmp_path / "out.jsonl", GradedSample))
    assert [row.outcome for row in rows] == ["error", "passed", "passed"]
    assert rows[0].detail == "the reference failed on this machine: test 1: SystemError: this machine"
    scores = summary["scores"]
    assert isinstance(scores, dict)
    assert (scores["pass@1"]["value"], scores["pass@1"]["n"]) == (1.0, 2)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hornbook.cli", "grade", *arguments], capture_output=True, text=True, timeout=120
    )


def test_the_command_prints_scores_and_ends_by_what_it_found(tmp_path: Path) -> None:
    lines = [right(f"drill/{i}") for i in range(164)]
    path = write(tmp_path / "s.jsonl", *lines)
    done = command(str(path), "--testset", "drill", "--out", str(tmp_path / "out.jsonl"), "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["scores"]["pass@1"]["value"] == 1.0
    assert summary["outcomes"]["passed"] == 164
    bad = write(tmp_path / "bad.jsonl", *lines, b"{")
    done = command(str(bad), "--testset", "drill", "--out", str(tmp_path / "bad-out.jsonl"))
    assert done.returncode == 1
    assert "100.0%" in done.stdout
    assert "1 row is of no use (line 165: not JSON" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--testset", "nonesuch"], "the test sets: humaneval, mbpp, mbpp-sanitized, drill"),
        (["--testset", "drill", "-k", "0"], "-k 0: not a list of whole numbers above 0"),
        (["--testset", "drill", "-k", "1,x"], "-k 1,x: not a list"),
        (["--testset", "drill", "--out", "out.csv"], "must end in .jsonl or .parquet"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    path = write(tmp_path / "s.jsonl", right("drill/0"))
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "out.jsonl")]
    done = command(str(path), *arguments, *out)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_unsafe_execution_is_loud_and_recorded(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", right("drill/0"), wrong("drill/1"))
    out = tmp_path / "out.jsonl"
    done = command(str(path), "--testset", "drill", "--out", str(out), "--partial", "--unsafe-execution")
    assert done.returncode == 0, done.stderr
    assert "WARNING: --unsafe-execution" in done.stderr
    rows = list(read_rows(out, GradedSample))
    assert [(row.outcome, row.isolation) for row in rows] == [("passed", "none (unsafe)"), ("failed", "none (unsafe)")]
