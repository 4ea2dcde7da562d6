"""Each planted cheat fails however its tests are run, and each would fool a grader of the common kind."""

from dataclasses import replace

import pytest

from hornbook.sandbox.cheats import CHEATS, CONTEXT, HONEST, SOURCES, TESTS
from hornbook.sandbox.execute import run_programs
from hornbook.sandbox.probe import available
from hornbook.sandbox.programs import Program, generous_limits

LIMITS = generous_limits(1.0, 256)


@pytest.mark.parametrize("name", ["bubblewrap", "unshare"])
@pytest.mark.parametrize("trusted", [True, False], ids=["in the judge", "in a child of the judge"])
@pytest.mark.parametrize("objects", [True, False], ids=["objects", "values"])
def test_cheats_fail_and_the_honest_passes(name: str, trusted: bool, objects: bool) -> None:
    probe = next(probe for probe in available() if probe.backend.name == name)
    if not probe.works:
        pytest.skip(f"{name} does not work here: {probe.detail}")
    programs = [replace(program, trusted=trusted, objects=objects) for program in (*CHEATS, HONEST)]
    # A cheat must not spoil what comes after it, so the honest one stands between.
    mixed = [each for program in programs for each in (program, replace(HONEST, id="between", trusted=trusted))]
    passed = {v.id for v in run_programs(mixed, LIMITS, 1, probe.backend) if v.outcome == "passed"}
    assert passed == {HONEST.id, "between"}
    failed = [v for v in run_programs(mixed, LIMITS, 1, probe.backend) if v.id == "between" and v.outcome != "passed"]
    assert failed == []


def test_in_the_candidates_own_process_some_of_them_pass() -> None:
    """The cheats bite: the same asserts, inside the candidate as peers run them, are fooled."""
    fooled = []
    for name in ("equals everything", "an int that lies"):
        namespace: dict[str, object] = {}
        exec(CONTEXT + SOURCES[name], namespace)
        for test in TESTS:
            exec(test, namespace)
        fooled.append(name)
    assert fooled == ["equals everything", "an int that lies"]


def test_a_test_that_expects_an_exception_is_not_met_by_leaving() -> None:
    """`except:` around the call must not turn a dead candidate into a pass."""
    test = "try:\n    f(-1)\nexcept BaseException:\n    pass\nelse:\n    raise SystemExit('no exception')\n"
    sources = {
        "honest": "def f(x):\n    if x < 0: raise ValueError(x)\n",
        "exits": "import sys\ndef f(x): sys.exit(0)\n",
        "leaves": "import os\ndef f(x): os._exit(0)\n",
        "closes": "import os\ndef f(x): os.close(3)\n",
        "nests": "def f(x):\n    y = []\n    for _ in range(10**5): y = [y]\n    return y\n",
    }
    backend = next(probe.backend for probe in available() if probe.works)
    for trusted in (True, False):
        programs = [Program(name, source, (test,), "", "f", False, trusted) for name, source in sources.items()]
        outcomes = {v.id: v.outcome for v in run_programs(programs, LIMITS, 1, backend)}
        assert outcomes == {name: "passed" if name == "honest" else "failed" for name in sources}
