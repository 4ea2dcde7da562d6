# ruff: noqa: E501 (programs in one line each)
"""Programs that speak the boundary's own language: raw frames, and values made to exhaust who looks at them.

Each is a finding of somebody who attacked this sandbox; each must end with its own verdict, soon, and leave the program
after it alone, whether its tests run in a tester that is kept or in one of their own.
"""

import os
import textwrap
import time
from pathlib import Path

import pytest

from hornbook.sandbox.execute import run_programs
from hornbook.sandbox.probe import available
from hornbook.sandbox.programs import Limits, Program

LIMITS = Limits(cpu_seconds=1.0, memory_mb=256, wall_seconds=1.5)
RAW = """
import os, json
def recvn(n):
    b = b''
    while len(b) < n:
        p = os.read(3, n - len(b))
        if not p: os._exit(0)
        b += p
    return b
def recv(): return json.loads(recvn(int.from_bytes(recvn(4), 'big')))
def send(m):
    b = json.dumps(m).encode(); b = len(b).to_bytes(4, 'big') + b
    while b: b = b[os.write(3, b):]
send(["ready"])
"""
ANSWERS = (
    RAW
    + """
while True:
    k, turn, verb, target, args, kw = recv()
    if verb == "look": r = {"r": [1, "function", "f"]}
    elif verb == "call": r = ANSWER
    elif verb in ("sub", "reflected_sub"): r = {"r": [3, "object", "int"]}
    elif verb == "get": r = {"r": [4, "function", "m"]}
    elif verb == "abs": r = 0.0
    elif verb in ("contains", "bool"): r = True
    else: r = 0
    send(["done", turn, r, []])
"""
)
SPEAKERS = {  # name: source, test
    "an object where none was declared": (
        ANSWERS.replace("ANSWER", '{"r": [2, "object", "int"]}'),
        "assert abs(f(2) - 4) < 1e-6",
    ),
    "an object that holds everything": (
        ANSWERS.replace("ANSWER", '{"r": [2, "object", "int"]}'),
        "assert 'expected' in f(2)",
    ),
    "a function with the methods of a string": (
        ANSWERS.replace("ANSWER", '{"r": [2, "function", "str"]}'),
        "assert f(2).startswith('secret')",
    ),
    "a flood that reads nothing": (
        'import os\ndef f(x):\n    m = b\'["ask",1,"next","x",[],{}]\'; m = len(m).to_bytes(4, \'big\') + m\n'
        "    while True: os.write(3, m * 1000)\n",
        "assert f(2) == 4",
    ),
    "a number of four billion digits": (
        ANSWERS.replace("ANSWER", '{"x": ["fractions.Fraction", ["1e4000000000"]]}'),
        "assert f(2) == 4",
    ),
    "numbers of one hash": (
        ANSWERS.replace("ANSWER", '{"s": [None, [{"i": hex((2**61 - 1) * (i + 9))} for i in range(200000)]]}'),
        "assert f(2) == 4",
    ),
    "a range of a billion": ("def f(x): return range(7 * 10**8)\n", "assert set(f(2)) == {1}"),
    "an iterator of large strings": (
        "def f(x):\n    while True: yield 'x' * 10_000_000\n",
        "assert list(f(2)) == []",
    ),
    "StopIteration in a loop of the tests": (
        "def f(x): raise StopIteration\n",
        "assert all(map(f, [1, 2]))\nfor r, e in zip(map(f, [1, 2]), [2, 4]): assert r == e",
    ),
    "CPU time of children": (
        "import os, time\ndef f(x):\n    for _ in range(4):\n        if os.fork() == 0:\n"
        "            while time.process_time() < 0.7: pass\n            os._exit(0)\n"
        "    for _ in range(4): os.wait()\n    return 4\n",
        "assert f(2) == 4",
    ),
    "leaves a scratch directory shut": (
        "import os\ntry: os.chmod('/tmp', 0o555)\nexcept OSError: pass\ndef f(x): return 0\n",
        "assert f(2) == 4",
    ),
    "swallows its own exception": (
        "import contextlib\n@contextlib.contextmanager\ndef quiet():\n    try: yield\n    except Exception: pass\n"
        "def f(x): raise ValueError\n",
        "with quiet():\n    assert f(2) == 4",
    ),
}
QUIET = "import contextlib\n@contextlib.contextmanager\ndef quiet():\n    try: yield\n    except Exception: pass\n"
SPEAKERS |= {
    "swallows StopIteration": (QUIET + "def f(x): raise StopIteration\n", "with quiet():\n    assert f(2) == 4"),
    "swallows a failed operation": (QUIET + "def f(x): return None\n", "with quiet():\n    assert f(2)[0] == 4"),
    "swallows a signalling NaN": (
        QUIET + "import decimal\ndef f(x): return decimal.Decimal('sNaN')\n",
        "with quiet():\n    assert f(2) == 4",
    ),
    "swallows a failed assert in another guise": (
        QUIET + "def f(x): return 0\n",
        "with quiet():\n    try:\n        assert f(2) == 4\n    except AssertionError as e:\n        raise ValueError from e",
    ),
    "a module that is a function": (
        "def sys(): pass\nsys.getsizeof = lambda *a: 0\ndef f(x): return 0\n",
        "assert f(2) == sys.getsizeof(2)",
    ),
    "StopAsyncIteration": (
        "def f(x): raise StopAsyncIteration\n",
        "import asyncio\nclass A:\n    def __aiter__(self): return self\n    async def __anext__(self): return f(2)\n"
        "async def all_of():\n    async for x in A(): assert x == 4\nasyncio.run(all_of())",
    ),
}
INNOCENT = "import os\nopen('/tmp/own', 'w').close()\ndef f(x): return 2 * x\n" + "#" * 200_000
PROBES = {probe.backend.name: probe for probe in available()}


@pytest.fixture(scope="module", params=["bubblewrap", "unshare"])
def backend(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    if not PROBES[request.param].works:
        pytest.skip(f"{request.param} does not work here: {PROBES[request.param].detail}")
    return PROBES[request.param].backend


@pytest.fixture(scope="module", params=[True, False], ids=["tester kept", "tester of its own"])
def verdicts(backend, request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    """Of every hostile program and of the innocent one after it, all through the same servers."""
    trusted = request.param
    innocent = Program("innocent", INNOCENT, ("assert f(2) == 4",), "", "f", False, trusted)
    hostile = [Program(name, source, (test,), "", "f", False, trusted) for name, (source, test) in SPEAKERS.items()]
    started = time.monotonic()
    found = list(run_programs([each for one in hostile for each in (one, innocent)], LIMITS, 1, backend))
    return dict(zip(SPEAKERS, zip(found[::2], found[1::2], strict=True), strict=True)), time.monotonic() - started


@pytest.mark.parametrize("name", SPEAKERS)
def test_it_fails_and_the_next_program_is_left_alone(verdicts, name: str) -> None:  # type: ignore[no-untyped-def]
    hostile, innocent = verdicts[0][name]
    assert hostile.outcome in ("failed", "timeout"), hostile
    assert innocent.outcome == "passed", innocent


def test_hostile_programs_end_soon(verdicts) -> None:  # type: ignore[no-untyped-def]
    """Two wall clocks for each that is late, and the start of a few servers."""
    assert verdicts[1] < 60


CONTEXTS = {  # source, test, context: helpers of the prompt are the prompt's own, whatever the program makes of them
    "a helper that returns a constant": (
        "def tol(): return 10**9\ndef f(x): return 0\n",
        "assert abs(f(2) - 4) < tol()",
        "def tol(): return 0.5\ndef f(x):\n    'd'\n",
    ),
    "a prompt that ends in a body": (
        "def close(a, b): return True\ndef f(x): return 0\n",
        "assert close(f(2), 4)",
        "from math import (\n    fabs,\n)\ndef close(a, b): return fabs(a - b) < 1e-6\ndef f(x):\n    ",
    ),
    "a prompt that ends in the middle of a statement": (
        "def close(a, b): return True\ndef f(x): return 0\n",
        "assert close(f(2), 4)",
        "def close(a, b): return abs(a - b) < 1e-6\ndef f(x):\n    return (x +",
    ),
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_helpers_of_the_prompt_are_its_own(backend, name: str) -> None:  # type: ignore[no-untyped-def]
    source, test, context = CONTEXTS[name]
    honest = source.replace("return 0\n", "return 2 * x\n")
    programs = [Program("forged", source, (test,), context, "f"), Program("honest", honest, (test,), context, "f")]
    assert [v.outcome for v in run_programs(programs, LIMITS, 1, backend)] == ["failed", "passed"]


FORGES = """
import os, sys, time
frame = sys._getframe()
while 'jobs' not in frame.f_locals: frame = frame.f_back
fd = frame.f_locals['jobs'].fileno()
def say(b): os.write(fd, len(b).to_bytes(4, 'big') + b)
"""
TESTERS = {  # what tests that a model wrote may say in their tester's name
    "a detail that is no text": ("say(b'[\"failed\",5]'); time.sleep(9)", "failed"),
    "an outcome that is none": ('say(b\'["error","x"]\'); time.sleep(9)', "failed"),
    "half a message": ("os.write(fd, b'\\0\\0\\1\\0'); time.sleep(99)", "timeout"),
    "a message without end": (
        "os.write(fd, b'\\xff' * 4)\nfor _ in range(99): os.write(fd, bytes(1 << 20))\ntime.sleep(9)",
        "failed",
    ),
    "three words": ("say(b'[1,2,3]'); time.sleep(9)", "failed"),
}


@pytest.mark.parametrize("name", TESTERS)
def test_a_tester_that_says_nonsense_is_one_failed_program(backend, name: str) -> None:  # type: ignore[no-untyped-def]
    says, outcome = TESTERS[name]
    hostile = Program("hostile", "def f(x): return 2 * x\n", (FORGES + says,), "", "f")
    innocent = Program("innocent", INNOCENT, ("assert f(2) == 4",), "", "f")
    verdicts = list(run_programs([innocent, hostile, innocent], LIMITS, 1, backend))
    assert [v.outcome for v in verdicts] == ["passed", outcome, "passed"]


def test_the_order_of_programs_changes_no_verdict(backend) -> None:  # type: ignore[no-untyped-def]
    """An exception of a module is known by its class whether or not a program before used that module."""
    raises = Program(
        "raises",
        "import decimal\ndef f(x): return decimal.Decimal(x)\n",
        ("try: f('x')\nexcept ArithmeticError as e: assert type(e).__module__ == 'decimal'\nelse: assert False",),
        "",
        "f",
        trusted=True,
    )
    uses = Program("uses", raises.source, ("assert f('2') == 2",), "", "f", trusted=True)
    outcomes = [v.outcome for v in run_programs([raises, uses, raises], LIMITS, 1, backend)]
    assert outcomes == ["passed"] * 3


def test_servers_that_are_lost_leave_nothing_behind(backend) -> None:  # type: ignore[no-untyped-def]
    """A judge that spins and hears nothing, a fault planted in it: it is killed with all its processes."""
    from hornbook.sandbox.isolation import Backend

    def deaf(source: str, scratch_mb: int) -> list[str]:
        return backend.command(source.replace("job = read_exactly(judge.host_in", "while True: pass\\n        job = read_exactly(judge.host_in"), scratch_mb)  # fmt: skip

    before = set(servers())
    limits = Limits(1.0, 256, wall_seconds=0.5)
    import hornbook.sandbox.execute as execute

    grace, execute.GRACE_SECONDS = execute.GRACE_SECONDS, 0.5
    try:
        (verdict,) = run_programs([Program("a", "x = 1", ())], limits, 1, Backend("deaf", backend.tool, deaf))
    finally:
        execute.GRACE_SECONDS = grace
    assert (verdict.outcome, verdict.detail) == ("error", "the sandbox does not answer, twice")
    deadline = time.monotonic() + 5
    while set(servers()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert set(servers()) - before == set()


def servers() -> list[int]:
    """Every process of this machine that runs a sandbox server."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"hornbook.sandbox" in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_indentation_of_the_raw_prelude() -> None:
    """The prelude is a program: a typing slip in it would make every case above fail for the wrong reason."""
    compile(textwrap.dedent(RAW), "<raw>", "exec")
    compile(ANSWERS.replace("ANSWER", "4"), "<answers>", "exec")
