"""Against the authors' files, where they are here; against planted copies everywhere."""

import gzip
import io
import json
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hornbook import setfiles, testsets
from hornbook.errors import UserError
from hornbook.evaluate.code import program_of
from hornbook.sandbox.execute import run_programs
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import generous_limits
from hornbook.testsets import UnavailableError

SIZES = {"humaneval": 164, "mbpp": 500, "mbpp-sanitized": 427, "drill": 164, "unconventional": 50}


def available_path(name: str) -> Path:
    path = testsets.find(name)
    if path is None:
        pytest.skip(f"{name} is not on this machine")
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that holds no test set and has no network."""
    monkeypatch.setattr(setfiles, "PACKAGED", tmp_path / "packaged")
    monkeypatch.setattr(setfiles, "CHECKOUT", tmp_path / "checkout" / "deep")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def refuse(*address: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path


@pytest.mark.parametrize("name", testsets.NAMES)
def test_every_reference_passes_in_the_sandbox(name: str) -> None:
    available_path(name)
    problems = testsets.load(name)
    assert len(problems) == len({problem.task_id for problem in problems}) == SIZES[name]
    programs = (program_of(p, p.prompt + p.reference) for p in problems)
    verdicts = run_programs(programs, generous_limits(20.0, 512), 2, choose_backend())
    assert [v for v in verdicts if v.outcome != "passed"] == []


@pytest.mark.parametrize("name", testsets.NAMES)
def test_the_reference_without_its_last_line_fails_somewhere(name: str) -> None:
    """The tests of a set bite: of 20 references cut short at most 2 pass (MBPP/20 and MBPP/29 ask for little)."""
    available_path(name)
    problems = testsets.load(name)[:20]
    cut = (p.prompt + "\n".join(p.reference.rstrip().splitlines()[:-1]) + "\n" for p in problems)
    programs = (program_of(p, source) for p, source in zip(problems, cut, strict=True))
    verdicts = list(run_programs(programs, generous_limits(5.0, 512), 2, choose_backend()))
    assert len([v for v in verdicts if v.outcome == "passed"]) <= 2


def test_humaneval_is_the_authors_text() -> None:
    with gzip.open(available_path("humaneval"), "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for problem, row in zip(testsets.load("humaneval"), rows, strict=True):
        assert (problem.task_id, problem.prompt, problem.entry_point) == (
            row["task_id"],
            row["prompt"],
            row["entry_point"],
        )
        assert problem.tests == (row["test"], f"check({row['entry_point']})")


def test_mbpp_keeps_its_line_ends_and_names_its_functions() -> None:
    available_path("mbpp")
    problems = testsets.load("mbpp")
    assert [p.task_id for p in problems] == [f"MBPP/{i}" for i in range(11, 511)]
    assert sum("\r\n" in p.reference for p in problems) == 499  # counted in the authors' file
    assert all(f"{p.entry_point}(" in p.prompt for p in problems)


ORIGINALS = Path(__file__).parents[2] / "shared" / "benchmarks"


def hub(files: dict[str, list[dict[str, object]]]) -> Callable[..., io.BytesIO]:
    """A hub that holds these Parquet files, by the end of their address."""

    def open_url(url: str, timeout: float) -> io.BytesIO:
        rows = next(rows for name, rows in files.items() if url.endswith(name))
        out = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), out)
        return io.BytesIO(out.getvalue())

    return open_url


def test_the_hubs_parquet_of_the_same_content_is_the_same_set(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = ORIGINALS / "humaneval" / "HumanEval.jsonl.gz"
    if not original.is_file():
        pytest.skip("humaneval is not on this machine")
    with gzip.open(original, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    monkeypatch.setattr(urllib.request, "urlopen", hub({"/openai_humaneval/test-00000-of-00001.parquet": rows}))
    assert len(testsets.load("humaneval")) == 164
    monkeypatch.setattr(urllib.request, "urlopen", hub({}))  # fetched once, it is on this machine
    assert testsets.checksum_here("humaneval") == testsets.SOURCES["humaneval"].checksum


def test_a_set_in_several_files_of_the_hub_is_put_in_order(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = ORIGINALS / "mbpp" / "sanitized-mbpp.json.gz"
    if not original.is_file():
        pytest.skip("mbpp-sanitized is not on this machine")
    with gzip.open(original, "rt", encoding="utf-8") as file:
        rows = json.load(file)
    bounds = {"test": (11, 510), "train": (601, 974), "validation": (511, 600), "prompt": (1, 10)}
    files = {
        f"/sanitized/{split}-00000-of-00001.parquet": [row for row in rows if low <= row["task_id"] <= high]
        for split, (low, high) in bounds.items()
    }
    monkeypatch.setattr(urllib.request, "urlopen", hub(files))
    assert [p.task_id for p in testsets.load("mbpp-sanitized")] == [f"MBPP/{row['task_id']}" for row in rows]
    files["/sanitized/prompt-00000-of-00001.parquet"][0]["prompt"] += " "
    (bare / "cache" / "hornbook" / "testsets" / "mbpp-sanitized.jsonl.gz").unlink()
    with pytest.raises(UnavailableError, match="holds something else"):
        testsets.load("mbpp-sanitized")


def test_a_changed_byte_is_noticed(bare: Path) -> None:
    row = {"task_id": "HumanEval/0", "prompt": "def f():\n", "entry_point": "f"}
    row |= {"canonical_solution": "    return 1\n", "test": "def check(f):\n    assert f() == 1\n"}
    folder = bare / "here" / "shared" / "benchmarks" / "humaneval"
    folder.mkdir(parents=True)
    with gzip.open(folder / "HumanEval.jsonl.gz", "wt") as out:
        out.write(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"HumanEval\.jsonl\.gz: 1 problems with checksum"):
        testsets.load("humaneval")


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"no json\n"), gzip.compress(b'{"task_id": 1}\n')],
    ids=["no gzip", "no json", "no field"],  # of the bytes, which hold the time, no two processes would make the same
)
def test_a_broken_file_is_named(bare: Path, content: bytes) -> None:
    folder = bare / "shared" / "benchmarks" / "humaneval"
    folder.mkdir(parents=True)
    (folder / "HumanEval.jsonl.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"HumanEval\.jsonl\.gz: not the test set humaneval"):
        testsets.checksum_here("humaneval")


def test_without_file_and_network_a_set_is_unavailable_and_says_so_at_once(bare: Path) -> None:
    started = time.monotonic()
    for name in testsets.NAMES:
        assert testsets.checksum_here(name) is None
        with pytest.raises(UnavailableError, match=name):
            testsets.load(name)
    assert time.monotonic() - started < 2
    assert not list(bare.rglob("*.parquet"))
