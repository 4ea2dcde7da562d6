"""Order, bounded look-ahead, and workers that do not outlive who started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hornbook.run.workers import ordered_map


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers: int) -> None:
    assert list(ordered_map(abs, range(-20, 0), workers)) == list(range(20, 0, -1))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_workers_end_when_their_parent_is_killed() -> None:
    script = """
import itertools, time
from hornbook.run.workers import ordered_map
if __name__ == "__main__":
    for _ in ordered_map(time.sleep, itertools.repeat(0.05), 2):
        print("working", flush=True)
"""
    host = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert host.stdout is not None
    assert host.stdout.readline() == b"working\n"
    workers = children(host.pid)
    assert len(workers) >= 2
    os.kill(host.pid, signal.SIGKILL)
    host.wait()
    host.stdout.close()
    deadline = time.monotonic() + 10
    alive = workers
    while alive and time.monotonic() < deadline:
        time.sleep(0.1)
        alive = [pid for pid in workers if running(pid)]
    assert alive == []


def running(pid: int) -> bool:
    """Whether a process is there and no zombie that somebody has yet to reap."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
