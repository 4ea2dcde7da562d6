"""Order, independence of programs, and what happens when the machinery itself is hit."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hornbook.sandbox.execute import Server, ServerLostError, Turnstile, run_programs
from hornbook.sandbox.isolation import Backend
from hornbook.sandbox.probe import available
from hornbook.sandbox.programs import Limits, Program, generous_limits

LIMITS = generous_limits(cpu_seconds=1.0, memory_mb=256)


@pytest.fixture(scope="module", params=["bubblewrap", "unshare"])
def backend(request: pytest.FixtureRequest) -> Backend:
    probe = next(probe for probe in available() if probe.backend.name == request.param)
    if not probe.works:
        pytest.skip(f"{request.param} does not work here: {probe.detail}")
    return probe.backend


def children(pid: int) -> list[int]:
    """All processes below one, from the host's /proc."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children(int(child))]
    return found


def test_verdicts_come_in_order_whatever_the_workers(backend: Backend) -> None:
    programs = [Program(str(i), f"x = {i}\n", (f"assert x % 3, 'multiple {i}'",)) for i in range(100)]
    seen = [
        [(v.id, v.outcome, v.detail) for v in run_programs(programs, LIMITS, workers, backend)] for workers in (1, 3)
    ]
    assert seen[0] == seen[1]
    assert seen[0] == [
        (str(i), "passed", "") if i % 3 else (str(i), "failed", f"test 1: AssertionError: multiple {i}")
        for i in range(100)
    ]


def test_programs_are_taken_as_verdicts_are_wanted(backend: Backend) -> None:
    taken = 0

    def endless() -> Iterator[Program]:
        nonlocal taken
        while True:
            taken += 1
            yield Program(str(taken), "x = 1\n", ())

    verdicts = run_programs(endless(), LIMITS, 1, backend)
    for _ in range(10):
        assert next(verdicts).outcome == "passed"
    verdicts.close()
    assert taken < 100


def test_nothing_of_one_program_reaches_the_next(backend: Backend) -> None:
    leaves = """
import builtins, os, sys, threading, time
open('/tmp/left', 'w').close()
os.makedirs('/tmp/deep/er')
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            open('/tmp/alive', 'w').close()
            time.sleep(0.01)
threading.Thread(target=time.sleep, args=(100,)).start()
sys.modules['math'] = None
builtins.len = lambda x: 0
"""
    finds = "import math, os, time\ntime.sleep(0.1)\n"
    tests = ("assert os.listdir('/tmp') == []", "assert len([1]) == 1", "assert math.floor(1.5) == 1")
    programs = [Program("leaves", leaves, ()), Program("finds", finds, tests)] * 2
    assert [(v.outcome, v.detail) for v in run_programs(programs, LIMITS, 1, backend)] == [("passed", "")] * 4


def test_details_hold_no_addresses(backend: Backend) -> None:
    program = Program("a", "class A: pass\ndef f(): raise ValueError(str(A()))\n", ("f()",))
    (verdict,) = run_programs([program], LIMITS, 1, backend)
    assert verdict.detail == "test 1: ValueError: <candidate.A object at 0x…>"


def test_a_set_of_strings_has_one_order(backend: Backend) -> None:
    program = Program("a", "", ("assert False, list({'one', 'two', 'three', 'four', 'five'})",))
    assert len({v.detail for _ in range(3) for v in run_programs([program], LIMITS, 1, backend)}) == 1


def test_a_server_killed_under_a_program_is_replaced(backend: Backend) -> None:
    """SIGKILL to everything below us, twice: no hang, no verdict lost or doubled."""
    before = set(children(os.getpid()))

    def kill_twice() -> None:
        for _ in range(2):
            time.sleep(0.4)
            for pid in set(children(os.getpid())) - before:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    programs = [Program(str(i), "import time\ntime.sleep(0.05)\n", ()) for i in range(40)]
    killer = threading.Thread(target=kill_twice)
    killer.start()
    verdicts = list(run_programs(programs, LIMITS, 2, backend))
    killer.join()
    assert [v.id for v in verdicts] == [str(i) for i in range(40)]
    assert {v.outcome for v in verdicts} <= {"passed", "error", "failed"}
    assert sum(v.outcome == "passed" for v in verdicts) >= 36  # at most the one in hand of each worker, each time


def test_a_program_on_which_the_server_dies_twice_is_an_error(backend: Backend) -> None:
    """A fault planted in the server: it dies whenever it meets the program `fatal`."""
    programs = [Program("a", "x = 1", ()), Program("b", "'fatal'", ()), Program("c", "x = 1", ())]

    def faulty(source: str, scratch_mb: int) -> list[str]:
        reads = 'request = json.loads(read_exactly(CONTROL, int.from_bytes(header, "big")))'
        return backend.command(
            source.replace(reads, f'{reads}; "fatal" in request["source"] and os._exit(3)'), scratch_mb
        )

    verdicts = list(run_programs(programs, LIMITS, 1, Backend("faulty", backend.tool, faulty)))
    assert [(v.id, v.outcome) for v in verdicts] == [("a", "passed"), ("b", "error"), ("c", "passed")]
    assert verdicts[1].detail == "the sandbox died, twice"


def test_nothing_outlives_a_host_that_is_killed(backend: Backend) -> None:
    script = f"""
import sys
from hornbook.sandbox.execute import run_programs
from hornbook.sandbox.isolation import BACKENDS
from hornbook.sandbox.programs import Limits, Program
backend = next(b for b in BACKENDS if b.name == {backend.name!r})
print("up", flush=True)
list(run_programs([Program("a", "import time; time.sleep(1000)", ())], Limits(1.0, 256, 900.0), 1, backend))
"""
    host = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert host.stdout is not None
    host.stdout.readline()
    deadline = time.monotonic() + 20
    while len(below := children(host.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # until the program itself sleeps
    below = children(host.pid)
    host.kill()
    host.wait()
    host.stdout.close()
    while any(Path(f"/proc/{pid}").exists() for pid in below) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(below) >= 2
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]


def test_a_back_end_that_fails_says_what_its_tool_said() -> None:
    broken = Backend("broken", "sh", lambda source, scratch_mb: ["/bin/sh", "-c", "echo 'no such thing' >&2; exit 1"])
    with pytest.raises(ServerLostError, match="no such thing"):
        Server(broken, LIMITS)


def test_alone_means_alone() -> None:
    turnstile, inside, crowd = Turnstile(), [], []

    def pass_through(alone: bool) -> None:
        for _ in range(50):
            with turnstile.alone() if alone else turnstile.together():
                inside.append(alone)
                crowd.append((alone, len(inside)))
                time.sleep(0.0005)
                inside.remove(alone)

    threads = [threading.Thread(target=pass_through, args=(alone,)) for alone in (True, True, False, False, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(crowd) == 250
    assert all(size == 1 for alone, size in crowd if alone)
    assert max(size for alone, size in crowd if not alone) > 1


def test_a_timeout_is_tried_again_alone(backend: Backend) -> None:
    limits = Limits(cpu_seconds=1.0, memory_mb=256, wall_seconds=1.0)
    programs = [Program("sleeps", "import time\ntime.sleep(2)\n", ()), Program("quick", "x = 1\n", ())]
    started = time.monotonic()
    outcomes = [v.outcome for v in run_programs(programs, limits, 2, backend)]
    assert outcomes == ["timeout", "passed"]
    assert time.monotonic() - started >= 2.0  # two wall clocks
