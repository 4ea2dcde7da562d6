"""Memory of this process and its children, against amounts that are known."""

import os
import subprocess
import sys
import time

import pytest

from hornbook.run.memory import PeakMemory

MB = 1 << 20


def peak_of(act: object) -> int:
    with PeakMemory() as memory:
        act()  # type: ignore[operator]
    return memory.peak_bytes


def test_what_is_held_for_a_moment_is_seen() -> None:
    def hold(size: int) -> None:
        held = b"x" * size
        time.sleep(0.6)
        del held

    little, much = peak_of(lambda: hold(MB)), peak_of(lambda: hold(300 * MB))
    assert 280 * MB < much - little < 340 * MB


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads, which here only sleeps
def test_another_program_counts_and_a_fork_of_this_one_does_not() -> None:
    held = b"x" * (300 * MB)

    def fork(more: int = 0) -> None:
        pid = os.fork()
        if pid == 0:
            grown = b"x" * more
            time.sleep(0.6)
            os._exit(len(grown) != more)
        here = b"x" * (20 * MB)  # a parent's size may change while its fork lives
        assert os.waitpid(pid, 0) == (pid, 0)
        assert here

    def run() -> None:
        subprocess.run([sys.executable, "-c", f"import time; x = b'x' * ({200 * MB}); time.sleep(0.8)"], check=True)

    alone = peak_of(lambda: time.sleep(0.3))
    assert peak_of(fork) < alone + 60 * MB
    assert alone + 160 * MB < peak_of(lambda: fork(200 * MB)) < alone + 260 * MB
    assert alone + 190 * MB < peak_of(run) < alone + 300 * MB
    assert len(held) == 300 * MB
