"""One attack each, under every back end, as root and as an ordinary user: contained, and never passed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from hornbook.sandbox.isolation import BACKENDS, NOBODY

HERE = Path(__file__).parent
SOURCE_ROOT = HERE.parents[1] / "src"

# source, outcome, and what the detail must hold where that tells a contained attack from a mere mistake
ATTACKS = {
    "prints passed": ("print('passed', flush=True)\ndef f(): return 0\n", "failed", "test 1: AssertionError"),
    "sys.exit(0)": ("import sys\nsys.exit(0)\n", "failed", "program: SystemExit: 0"),
    "raise SystemExit in a test": ("def f(): raise SystemExit(0)\n", "failed", "test 1: SystemExit: 0"),
    "os._exit(0)": ("import os\nos._exit(0)\n", "failed", "exit status 0 before the tests had ended"),
    "os._exit(0) in a test": ("import os\ndef f(): os._exit(0)\n", "failed", "exit status 0"),
    "writes to every descriptor": (
        "import os\nfor fd in range(64):\n    try: os.write(fd, b'x' * 16 + b'passed')\n    except OSError: pass\n"
        "os._exit(0)\n",
        "failed",
        "exit status 0",
    ),
    "closes every descriptor": ("import os\nos.closerange(0, 64)\ndef f(): return 1\n", "failed", ""),
    "replaces exec and compile": (
        "import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None\ndef f(): return 0\n",
        "failed",
        "test 1: AssertionError",
    ),
    "replaces AssertionError": (
        "import builtins\nbuiltins.AssertionError = type('Quiet', (Warning,), {})\ndef f(): return 0\n",
        "failed",
        "test 1",
    ),
    "kills itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "failed", "killed by SIGKILL"),
    "segfault": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "failed", "killed by SIGSEGV"),
    "memory bomb": ("def f(): return len(bytearray(1 << 30))\n", "failed", "MemoryError"),
    "disk bomb": (
        "def f():\n    for i in range(99):\n        open(f'/tmp/{i}', 'wb').write(b'x' * (8 << 20))\n",
        "failed",
        "No space left",
    ),
    "one huge file": ("def f(): open('/tmp/x', 'wb').write(b'x' * (17 << 20))\n", "failed", "File too large"),
    "stack overflow": ("def g(): g()\ndef f(): g()\n", "failed", "RecursionError"),
    "lone surrogate": ("def f(): return '\\ud800'.encode()\n", "failed", "UnicodeEncodeError"),
    "null byte": ("def f(): return 1\0\n", "failed", "null bytes"),
    "fork bomb": ("import os\ndef f():\n    while True: os.fork()\n", "failed", "Resource temporarily unavailable"),
}

# Each of these ends by a clock, the same under every back end.
ENDLESS = {
    "endless loop": ("while True: pass\n", "timeout", "CPU time over 1 s"),
    "sleeps for ever in a test, with children": (
        "import os, time\ndef f():\n    os.fork()\n    time.sleep(1000)\n",
        "timeout",
        "wall clock over",
    ),
    "endless output": ("while True: print('x' * 10000)\n", "timeout", "CPU time over 1 s"),
    "ignores SIGXCPU": (
        "import signal\nfor s in (signal.SIGXCPU, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
        "while True: pass\n",
        "timeout",
        "CPU time over 1 s",
    ),
}

# Each passes only if what it tries is refused, and finds out by itself.
CONTAINED = {
    "home": """
        import os, sys
        def f():  # at most the way to an interpreter that lies in it
            names = os.listdir(HOME) if os.path.exists(HOME) else []
            return all(sys.base_prefix.startswith(os.path.join(HOME, name)) for name in names)
        """,
    "project": "import os\ndef f(): return not os.path.exists(PROJECT)\n",
    "environment": "import os\ndef f(): return 'SECRET_FOR_TEST' not in os.environ and 'PATH' not in os.environ\n",
    "proc": "import os\ndef f(): return not os.path.exists('/proc/1') and not os.path.exists('/outside/etc')\n",
    "installed packages": """
        import os, sys
        def f():
            places = [os.path.join(directory, 'site-packages') for directory in sys.path]
            return not any(os.listdir(place) for place in places if os.path.isdir(place))
        """,
    "writes": """
        import os
        def f():
            for directory, _, _ in os.walk('/'):
                if not directory.startswith('/tmp'):
                    try:
                        open(directory + '/planted', 'w')
                        return False
                    except OSError:
                        pass
            return True
        """,
    "network": """
        import socket
        def f():
            for address in (('127.0.0.1', PORT), ('192.0.2.1', 80)):
                try:
                    socket.create_connection(address, 0.2)
                    return False
                except OSError:
                    pass
            return True
        """,
    "other processes": """
        import os
        def f():
            try:
                os.kill(HOST_PID, 0)
                return False
            except ProcessLookupError:
                return os.getppid() == 1
        """,
    "kills the server": """
        import os, signal
        def f():
            os.kill(1, signal.SIGKILL)
            os.kill(1, signal.SIGSTOP)
            return True
        """,
    "requests of others": """
        import os
        def f(): return os.read(0, 100) == b''
        """,
    "privileges": """
        import os
        def f():
            for act in (lambda: os.chroot('/tmp'), lambda: os.setuid(0), lambda: os.setgroups([0])):
                try:
                    act()
                    return False
                except OSError:
                    pass
            return os.getuid() != 0
        """,
    "descriptors": """
        import os
        def f():
            held = []
            for fd in range(256):
                try:
                    os.fstat(fd)
                    held.append(fd)
                except OSError:
                    pass
            return len(held) <= 4
        """,
}


def interpreter_for_nobody() -> str | None:
    """A Python that an ordinary user may run; ours may lie in root's home."""
    for python in (sys._base_executable, "/usr/bin/python3"):  # type: ignore[attr-defined]
        check = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python, "-c"]
        fit = "import os, sys; sys.exit(sys.version_info < (3, 11) or not os.access(sys.executable, os.X_OK))"
        try:
            subprocess.run([*check, fit], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    return None


def grade(
    backend: str, who: str, programs: list[tuple[str, str, list[str]]], wall: float | None = None
) -> dict[str, list[str]]:
    """Outcome and detail of each [id, source, tests], from a process of its own run as `who`."""
    command = [sys.executable]
    if who == "nobody":
        python = interpreter_for_nobody() if os.geteuid() == 0 and shutil.which("setpriv") else None
        if python is None:
            pytest.skip("no other user to become, or no interpreter that user may run")
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python]
    done = subprocess.run(
        [*command, str(HERE / "grade.py")],
        input=json.dumps({"backend": backend, "programs": programs, "source_root": str(SOURCE_ROOT), "wall": wall}),
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": os.environ["PATH"], "SECRET_FOR_TEST": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    verdicts: dict[str, list[str]] = json.loads(done.stdout)
    if "skip" in verdicts:
        pytest.skip(str(verdicts["skip"]))
    return verdicts


@pytest.fixture(scope="module", params=[(b.name, who) for b in BACKENDS for who in ("self", "nobody")], ids="-".join)
def verdicts(request: pytest.FixtureRequest) -> Iterator[dict[str, list[str]]]:
    """All attacks, under one back end as one user."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        known = {
            "HOME": str(Path.home()),
            "PROJECT": str(SOURCE_ROOT),
            "PORT": listening.getsockname()[1],
            "HOST_PID": os.getpid(),
        }
        head = "".join(f"{name} = {value!r}\n" for name, value in known.items())
        programs = [(name, source, ["assert f() == 1"]) for name, (source, _, _) in ATTACKS.items()]
        programs += [(name, head + textwrap.dedent(source), ["assert f()"]) for name, source in CONTAINED.items()]
        backend, who = request.param
        yield grade(backend, who, programs)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_fails_for_the_right_reason(verdicts: dict[str, list[str]], name: str) -> None:
    _, outcome, detail = ATTACKS[name]
    assert verdicts[name][0] == outcome, verdicts[name]
    assert detail in verdicts[name][1]


@pytest.mark.parametrize("name", CONTAINED)
def test_what_a_program_reaches_for_is_not_there(verdicts: dict[str, list[str]], name: str) -> None:
    assert verdicts[name] == ["passed", ""]


@pytest.mark.parametrize("name", ENDLESS)
def test_a_program_without_end_is_a_timeout(name: str) -> None:
    source, outcome, detail = ENDLESS[name]
    wall = 3.0 if detail.startswith("wall") else None
    seen = grade("unshare", "self", [(name, source, ["assert f() == 1"])], wall)
    assert seen[name][0] == outcome
    assert detail in seen[name][1]
