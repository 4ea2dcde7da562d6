"""The whole chain at toy size: real stages, real sandbox, real training."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MINI = Path(__file__).parents[1] / "recipes" / "mini.yaml"
TINY = [str(MINI), "--arm", "tiny", "--set", "machine.compile=off"]


def command(*arguments):
    return [sys.executable, "-m", "hornbook.cli", *arguments]


def hornbook(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=600)


def files_of_steps(work):
    """Checksums of every file of every finished step: shards, weights, scores."""
    return {
        path.parent.name: json.loads(path.read_text())["files"]
        for path in work.glob("*/manifest.json")
        if path.parent.suffix != ".partial"
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    work = tmp_path_factory.mktemp("chain") / "work"
    answer = hornbook("run", *TINY, "--work", str(work))
    assert answer.returncode == 0, answer.stderr
    return work, answer.stdout


def test_one_command_ends_in_scores_and_a_report(finished):
    work, printed = finished
    assert "report.html" in printed.splitlines()[-1]
    assert (work / "runs" / "mini.tiny" / "report.html").stat().st_size > 20_000
    scores = json.loads(hornbook("results", str(work / "runs" / "mini.tiny"), "--json").stdout)
    assert list(scores) == ["A", "B", "C"]
    for tasks in scores.values():
        assert tasks["drill"]["n"] == 164
        for score in tasks.values():
            assert score["value"] is None or score["low"] <= score["value"] <= score["high"]


def test_every_guard_planted_canaries_and_caught_them(finished):
    work, _ = finished
    guards = [
        json.loads(path.read_text())
        for path in sorted(work.glob("*/manifest.json"))
        if re.match(r"filter|dedup|decontaminate|verify", path.parent.name)
    ]
    assert len(guards) == 9
    for manifest in guards:
        canaries = manifest["facts"]["canaries"]
        assert canaries["planted"] == canaries["caught"] > 0, manifest["step"]


def test_a_second_run_does_nothing_and_is_quick(finished):
    work, _ = finished
    before = {path: path.stat().st_mtime_ns for path in work.glob("*/*")}
    started = time.perf_counter()
    answer = hornbook("run", *TINY, "--work", str(work))
    seconds = time.perf_counter() - started
    assert answer.returncode == 0, answer.stderr
    assert re.search(r"\n0 steps run, \d+ done before", answer.stdout)
    steps = {path: time_ for path, time_ in before.items() if path.parent.name != "runs"}
    assert {path: path.stat().st_mtime_ns for path in steps} == steps
    assert seconds < 10  # the 5 seconds, and room for a busy machine


def test_one_changed_field_rebuilds_what_the_plan_said(finished, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(finished[0], work)
    changed = ["--set", "models.C.learning_rate=1e-3", "--work", str(work)]
    planned = json.loads(hornbook("plan", *TINY, *changed, "--json").stdout)["steps"]
    expected = [row["step"] for row in planned if row["state"] != "done"]
    assert expected == ["train.C", "eval.C"]
    why = {row["step"]: row["why"] for row in planned}
    assert why["train.C"] == "train.learning_rate 0.002 → 0.001"
    assert why["eval.C"] == "rebuilt before it: train.C"
    before = set(files_of_steps(work))
    assert hornbook("run", *TINY, *changed).returncode == 0
    made = sorted(name.rsplit("-", 1)[0] for name in set(files_of_steps(work)) - before)
    assert made == sorted(expected)


def test_a_run_killed_in_every_step_ends_in_the_same_bytes(finished, tmp_path):
    work = tmp_path / "work"
    killed: set[str] = set()
    log = tmp_path / "log"
    for _ in range(60):
        with open(log, "w") as output:
            process = subprocess.Popen(
                command("run", *TINY, "--work", str(work)), stdout=output, stderr=output, start_new_session=True
            )
            victim = None
            while process.poll() is None and victim is None:
                partial = {path.name for path in work.glob("*.partial")} - killed
                victim = next(iter(sorted(partial)), None)
                time.sleep(0.005)
            if victim is None:
                break
            time.sleep(0.02 * len(killed) % 0.3)  # at different depths of the steps
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed.add(victim)
    assert process.returncode == 0, log.read_text()
    assert len(killed) >= 20  # nearly every step was killed once; the quickest may slip through
    assert files_of_steps(work) == files_of_steps(finished[0])


def test_a_finished_step_that_was_cut_short_stops_the_next_run(finished, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(finished[0], work)
    (shard,) = work.glob("pack.exercises-*/tokens.bin")
    with open(shard, "r+b") as file:
        file.truncate(1000)
    answer = hornbook("run", *TINY, "--work", str(work))
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert str(shard) in answer.stderr
    assert "delete" in answer.stderr
