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

MARK = "only-the-tests-say-this"
CALL = (f"assert f() == 1, {MARK!r}",)

# source, outcome, and what the detail must hold where that tells a contained attack from a mere mistake
ATTACKS = {
    "prints passed": ("print('passed', flush=True)\ndef f(): return 0\n", "failed", "test 1: AssertionError"),
    "sys.exit(0)": ("import sys\nsys.exit(0)\n", "failed", "program: SystemExit: 0"),
    "raise SystemExit in a test": ("def f(): raise SystemExit(0)\n", "failed", "test 1: SystemExit: 0"),
    "os._exit(0)": ("import os\nos._exit(0)\n", "failed", "exit status 0 before the tests had ended"),
    "os._exit(0) in a test": ("import os\ndef f(): os._exit(0)\n", "failed", "exit status 0"),
    "exec of another program": (
        "import os, sys\ndef f(): os.execv(sys.executable, [sys.executable, '-c', 'print(1)'])\n",
        "failed",
        "",
    ),
    "writes to every descriptor": (
        "import os\nfor fd in range(64):\n    try: os.write(fd, b'x' * 16 + b'passed')\n    except OSError: pass\n"
        "os._exit(0)\n",
        "failed",
        "too large",
    ),
    "fakes replies before it leaves": (
        "import os\ntext = b'[\"ready\"]', b'[\"done\", 1, 1, []]', b'[\"done\", 2, 1, []]'\n"
        "for part in text: os.write(3, len(part).to_bytes(4, 'big') + part)\nos._exit(0)\n",
        "failed",
        "",  # the tests look the name up first, and an answer of 1 cannot be called
    ),
    "fakes a reply of no shape": (
        "import os\ndef f():\n    os.write(3, b'\\0\\0\\0\\2[]')\n    return 1\n",
        "failed",
        "spoke out of turn",
    ),
    "announces a reply of 4 GB": (
        "import os\ndef f():\n    os.write(3, b'\\xff' * 4)\n    return 1\n",
        "failed",
        "too large",
    ),
    "returns data nested too deeply": (
        "def f():\n    x = []\n    for _ in range(10**5): x = [x]\n    return x\n",
        "failed",
        "too deeply",
    ),
    "returns itself": ("def f():\n    x = []\n    x.append(x)\n    return x\n", "failed", "test 1: AssertionError"),
    "returns 100 MB": ("def f(): return 'x' * 20_000_000\n", "failed", "more than 16 MB"),
    "closes every descriptor": ("import os\nos.closerange(0, 64)\ndef f(): return 1\n", "failed", ""),
    "closes the channel and goes on": (
        "import os, time\ndef f():\n    os.closerange(0, 64)\n    while True: time.sleep(1)\n",
        "failed",
        "closed its connection",
    ),
    "replaces exec and compile": (
        "import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None\ndef f(): return 0\n",
        "failed",
        "test 1: AssertionError",
    ),
    "replaces AssertionError": (
        "import builtins\nbuiltins.AssertionError = type('Quiet', (Warning,), {})\ndef f(): return 0\n",
        "failed",
        "test 1: AssertionError",
    ),
    "raises what a test may expect": ("def f(): raise AssertionError\n", "failed", "test 1: AssertionError"),
    "defines check": ("def check(*a): pass\ndef f(): return 0\n", "failed", "test 1: AssertionError"),
    "replaces modules": (
        "import sys\nfor name in list(sys.modules): sys.modules[name] = None\ndef f(): return 0\n",
        "failed",
        "",
    ),
    "replaces json in the boundary": (
        "import json\njson.dumps = lambda *a, **k: '[\"done\", 1, 1, []]'\ndef f(): return 0\n",
        "failed",
        "",
    ),
    "replaces __eq__ of its result": (
        "class A:\n    def __eq__(self, other): return True\ndef f(): return A()\n",
        "failed",
        "test 1: AssertionError",
    ),
    "lies about its class": (
        "class A:\n    __class__ = int\n    def __eq__(self, other): return True\ndef f(): return A()\n",
        "failed",
        "",
    ),
    "an int that lies": (
        "class A(int):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(): return A(0)\n",
        "failed",
        "test 1: AssertionError",
    ),
    "a list that lies": (
        "class A(list):\n    def __eq__(self, other): return True\n    def __iter__(self): return iter([1])\n"
        "def f(): return A()\n",
        "failed",
        "test 1: AssertionError",
    ),
    "a str that lies": (
        "class A(str):\n    def __eq__(self, other): return True\n    def __str__(self): return '1'\n"
        "def f(): return A()\n",
        "failed",
        "test 1: AssertionError",
    ),
    "kills itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "failed", "killed by SIGKILL"),
    "segfault": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "failed", "killed by SIGSEGV"),
    "segfault through ctypes": ("import ctypes\ndef f(): return ctypes.string_at(1)\n", "failed", "killed by SIGSEGV"),
    "memory bomb": ("def f(): return len(bytearray(1 << 30))\n", "failed", "MemoryError"),
    "memory bomb of small pieces": (
        "def f():\n    x = []\n    while True: x.append([0] * 999)\n",
        "failed",
        "MemoryError",
    ),
    "disk bomb": (
        "def f():\n    for i in range(99):\n        open(f'/tmp/{i}', 'wb').write(b'x' * (8 << 20))\n",
        "failed",
        "No space left",
    ),
    "one huge file": ("def f(): open('/tmp/x', 'wb').write(b'x' * (17 << 20))\n", "failed", "File too large"),
    "stack overflow": ("def g(): g()\ndef f(): g()\n", "failed", "RecursionError"),
    "stack overflow beyond Python's": (
        "import sys\nsys.setrecursionlimit(10**8)\nclass A:\n"
        "    def __getattr__(self, name): return getattr(self, name)\ndef f(): return A().x\n",
        "failed",
        "",
    ),
    "lone surrogate": ("def f(): return '\\ud800'.encode()\n", "failed", "UnicodeEncodeError"),
    "null byte": ("def f(): return 1\0\n", "failed", "null bytes"),
    "reads standard input": ("def f(): return int(input())\n", "failed", "EOFError"),
    "fork bomb": ("import os\ndef f():\n    while True: os.fork()\n", "failed", "Resource temporarily unavailable"),
    "thread bomb": (
        "import threading, time\ndef f():\n    while True: threading.Thread(target=time.sleep, args=(9,)).start()\n",
        "failed",
        "can't start new thread",
    ),
}

# Each of these ends by a clock, the same under every back end.
ENDLESS = {
    "endless loop": ("while True: pass\n", "timeout", "CPU time over 1 s"),
    "endless loop in a test": ("def f():\n    while True: pass\n", "timeout", "CPU time over 1 s"),
    "sleeps for ever in a test, with children": (
        "import os, time\ndef f():\n    os.fork()\n    time.sleep(1000)\n",
        "timeout",
        "wall clock over",
    ),
    "endless output": ("while True: print('x' * 10000)\n", "timeout", "CPU time over 1 s"),
    "ignores SIGXCPU and SIGTERM": (
        "import signal\nfor s in (signal.SIGXCPU, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
        "while True: pass\n",
        "timeout",
        "CPU time over 1 s",
    ),
    "asks the tests without end": (
        "def f(g=None):\n    while True: g()\n",
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
    "tests in memory": """
        import gc, sys
        def texts(value, seen, depth=0):
            if id(value) in seen or depth > 6: return
            seen.add(id(value))
            if isinstance(value, (str, bytes)): yield value if isinstance(value, str) else value.decode('latin-1')
            elif isinstance(value, dict):
                for pair in list(value.items()): yield from texts(pair, seen, depth + 1)
            elif isinstance(value, (list, tuple, set)):
                for item in list(value): yield from texts(item, seen, depth + 1)
        def f():
            frames, frame = [], sys._getframe()
            while frame:
                frames += [dict(frame.f_locals), frame.f_code.co_consts]
                frame = frame.f_back
            gc.unfreeze()
            found = texts([frames, gc.get_objects(), sys.argv, sys.orig_argv, dict(sys.modules)], set())
            mark = ''.join(['only-the-tests', '-say-this'])
            own = [text for text in found if mark in text]
            return own == []
        """,
    "tests in files": """
        import os
        def f():
            mark = b''.join([b'only-the-tests', b'-say-this'])
            for directory, _, names in os.walk('/tmp'):
                for name in names:
                    if mark in open(os.path.join(directory, name), 'rb').read(): return False
            return True
        """,
    "installed packages": """
        import os, sys
        def f():
            places = [os.path.join(directory, 'site-packages') for directory in sys.path]
            return not any(os.listdir(place) for place in places if os.path.isdir(place))
        """,
    "writes": """
        import os
        def f():
            for directory, below, _ in os.walk('/'):
                if directory.count('/') > 2:
                    below.clear()  # a large /usr would take more than the second of CPU
                if not directory.startswith('/tmp'):
                    try:
                        open(directory + '/planted', 'w')
                        return False
                    except OSError:
                        pass
            return True
        """,
    "writes through a symbolic link": """
        import os
        def f():
            for number, place in enumerate(('/', '/usr/lib', HOME, PROJECT, '/dev')):
                os.symlink(place, f'/tmp/{number}')
                try:
                    open(f'/tmp/{number}/planted', 'w')
                    return False
                except OSError:
                    pass
            return True
        """,
    "network": """
        import socket
        def f():
            for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
                    try:
                        socket.socket(family, kind)
                        return False
                    except OSError:
                        pass
            try:
                socket.create_connection(('127.0.0.1', PORT), 0.2)
                return False
            except OSError:
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
            for number in set(signal.Signals) - {signal.SIGCONT}:
                os.kill(1, number)
            return True
        """,
    "binds the server's hands": """
        import os, resource
        def f():
            for act in (
                lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)),
                lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
                lambda: os.sched_setaffinity(1, [0]),
                lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
            ):
                try:
                    act()
                    return False
                except PermissionError:
                    pass
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
    "system calls": """
        import ctypes, errno
        libc = ctypes.CDLL(None, use_errno=True)
        CALLS = {'x86_64': {  # name: number and arguments that would work
            'ptrace': (101, 16, 1, 0, 0), 'process_vm_readv': (310, 1, 0, 0, 0, 0, 0), 'unshare': (272, 0x10000000),
            'clone into namespaces': (56, 0x10000011, 0, 0, 0, 0), 'mount': (165, 0, b'/tmp', b'tmpfs', 0, 0),
            'keyctl': (250, 0, -3, 1), 'bpf': (321, 0, 0, 0), 'perf_event_open': (298, 0, 0, -1, -1, 0),
            'userfaultfd': (323, 0), 'io_uring_setup': (425, 1, 0), 'shmget': (29, 0, 4096, 0o1600),
            'memfd_create': (319, b'x', 0), 'pidfd_getfd': (438, 0, 0, 0), 'personality': (135, 0x40000),
            'clone3': (435, 0, 0), 'unknown': (600,), 'x32 getpid': (0x40000000 + 39,),
        }}
        import platform
        def f():
            for name, (number, *arguments) in CALLS.get(platform.machine(), {}).items():
                ctypes.set_errno(0)
                if libc.syscall(number, *arguments) != -1 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
                    return name
            return True
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
            return held == [0, 1, 2, 3]
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
        programs = [(name, source, list(CALL)) for name, (source, _, _) in ATTACKS.items()]
        contained = [f"assert f() is True, {MARK!r}"]
        programs += [(name, head + textwrap.dedent(source), contained) for name, source in CONTAINED.items()]
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
    test = "assert f(lambda: 1) == 1" if "asks" in name else "assert f() == 1"
    seen = grade("unshare", "self", [(name, source, [test])], wall)
    assert seen[name][0] == outcome
    assert detail in seen[name][1]
