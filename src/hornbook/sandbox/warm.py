"""What the two warm interpreters inside the sandbox share: limits, messages, a program's end, and the way they start.

Runs inside the sandbox and imports nothing of the rest of the project, and little of the standard library: every page
it touches is a page each fork copies. Each server is process 1 of its namespace, so it reaps all orphans, and
`kill(-1)` reaches everything a program left behind and nothing else. Only with `--unsafe-execution` is there no
namespace; then each program leads a process group of its own, and what leaves the group escapes.
"""

import gc
import json
import os
import resource
import select
import signal
from typing import Any

KEPT_ENVIRONMENT = ("HOME", "LANG", "PYTHONHASHSEED", "PYTHONUTF8", "TMPDIR")
SCRATCH_MODE = 0o1777
CONTROL = 3  # the descriptor that joins the two servers
DONE, GONE = b"d", b"g"  # from the judge: the tests have ended; they ended because the candidate went away
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2  # linux/prctl.h
# What exercises and test sets import: loaded once here rather than in every child (typing alone takes 4 ms there). Not
# `random`: it seeds itself anew after every fork, 0.2 ms of 1.5 ms.
WARM_IMPORTS = "collections copy datetime functools heapq itertools math operator re string typing"
# Run before the first fork: what the compiler and the interpreter set up on first use would be set up in every child.
WARM_RUNS = 100
WARM_PROGRAM = '''
from collections import Counter
from typing import Dict, List, Optional

class Box:
    """A box."""

    def __init__(self, items: Optional[List[int]] = None) -> None:
        self.items = list(items or [])

    def total(self, start: int = 0) -> int:
        """The sum."""
        for item in self.items:
            if item > 0 and item % 2 == 0 or not item:
                start += item
            else:
                start -= -item
        return start

def words(text: str) -> Dict[str, int]:
    counts = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return {word: count for word, count in sorted(counts.items(), key=lambda pair: pair[0])}

def power(x: float, n: int) -> float:
    return 1.0 if n == 0 else x * power(x, n - 1)
'''
WARM_TESTS = (
    "assert Box([1, 2, 3]).total() == 6",
    "assert words('a b a') == {'a': 2, 'b': 1} and Counter('aab')['a'] == 2",
    "assert [round(power(x, 3), 2) for x in (1.5, 2)] == [3.38, 8], f'{2!r}'",
)


def read_exactly(handle: int, count: int) -> bytes:
    """`count` bytes; empty where the other end has gone."""
    parts = []
    while count:
        part = os.read(handle, min(count, 1 << 20))
        if not part:
            return b""
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def receive(handle: int) -> Any:
    """The next message, or None at the end. Reads no byte too many: children inherit this memory."""
    size = read_exactly(handle, 4)
    return json.loads(read_exactly(handle, int.from_bytes(size, "big"))) if size else None


def send(handle: int, message: Any) -> None:
    """One message."""
    data = json.dumps(message).encode()
    data = len(data).to_bytes(4, "big") + data
    while data:
        data = data[os.write(handle, data) :]


def isolated() -> bool:
    """Whether this process, or its parent, is alone in a namespace."""
    return 1 in (os.getpid(), os.getppid())


def limit(request: Any) -> None:
    """Bind this process, and all it starts, to the limits of a request."""
    cpu, size = request["cpu"], request["scratch_mb"] << 20
    limits = [
        (resource.RLIMIT_CPU, cpu, cpu + 1),  # SIGXCPU, and a second later SIGKILL for who ignores it
        (resource.RLIMIT_AS, request["memory_mb"] << 20, request["memory_mb"] << 20),
        (resource.RLIMIT_FSIZE, size, size),
        (resource.RLIMIT_NOFILE, request["open_files"], request["open_files"]),
        (resource.RLIMIT_CORE, 0, 0),
    ]
    if isolated():  # elsewhere it would count all processes of the user
        most_processes = request["processes"] + 2  # the server, the first process
        limits.append((resource.RLIMIT_NPROC, most_processes, most_processes))
    for what, soft, hard in limits:
        most = resource.getrlimit(what)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(what, (soft, hard))


def fork_program() -> int:
    """A child for one program; 0 in the child."""
    pid = os.fork()
    if pid == 0:
        if not isolated():
            os.setsid()
        gc.enable()
    return pid


def wait_for(handle: int, seconds: float, host: int) -> bool:
    """Wait until there is something to read; False where the wall clock ran out first.

    Ends the server, and all its processes with it, if `host` hung up.
    """
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(host, 0)  # reports only that the other end hung up
    ready = poll.poll(seconds * 1000)
    if any(fd == host for fd, _ in ready):
        os._exit(0)  # process 1: the kernel kills all others with it
    return bool(ready)


def bury(pid: int) -> None:
    """Kill the child and whatever it left running."""
    try:
        if os.getpid() == 1:
            os.kill(-1, signal.SIGKILL)
        else:
            os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def reap() -> None:
    """Wait for all that `bury` killed."""
    try:
        while True:
            os.wait()
    except ChildProcessError:
        return


def children_cpu() -> float:
    """CPU seconds of all children that were waited for, and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def sweep(scratch: str) -> bool:
    """Empty the scratch directory; False where that takes more than deleting files."""
    try:
        for name in os.listdir(scratch):  # noqa: PTH208 (pathlib costs memory that every fork would copy)
            os.unlink(f"{scratch}/{name}")  # noqa: PTH108
        if os.getpid() == 1 and os.stat(scratch).st_mode & 0o7777 != SCRATCH_MODE:  # noqa: PTH116
            # An ordinary user's program may have shut the next one out.
            os.chmod(scratch, SCRATCH_MODE)  # noqa: PTH101
        return not os.listxattr(scratch)
    except OSError:
        return False


def killer_of(status: int, cpu: float, request: Any) -> tuple[str, str]:
    """Outcome and detail of a process that a signal ended; empty where none did."""
    if not os.WIFSIGNALED(status):
        return "", ""
    killer = os.WTERMSIG(status)
    if killer == signal.SIGXCPU or (killer == signal.SIGKILL and cpu >= request["cpu"]):
        return "timeout", f"CPU time over {request['cpu']} s"
    return "failed", f"killed by {signal.Signals(killer).name}"


def prepare(syscall_filter: str) -> None:
    """Make this interpreter warm, and take from it what it will not need (`syscall_filter`: see seccomp.py)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # process 1 is deaf to signals of its namespace it has no handler for
    for name in list(os.environ):
        if name not in KEPT_ENVIRONMENT:
            del os.environ[name]
    scratch = os.environ["TMPDIR"]
    if os.listdir(scratch):  # noqa: PTH208
        raise SystemExit(f"{scratch} inside the sandbox is not its own: it holds files, which would be deleted")
    os.chdir(scratch)
    os.closerange(CONTROL + 1, 256)
    for name in WARM_IMPORTS.split():
        __import__(name)
    for _ in range(WARM_RUNS):
        namespace: dict[str, Any] = {}
        for part in (WARM_PROGRAM, *WARM_TESTS):
            exec(compile(part, "<warm>", "exec"), namespace)  # noqa: S102 (our own constant)
    if syscall_filter:
        refuse_system_calls(bytes.fromhex(syscall_filter))


def refuse_system_calls(program: bytes) -> None:
    """Install a seccomp filter on this process and all it starts. Raises OSError where the kernel does not take it."""
    import ctypes

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    compiled = Filter(len(program) // 8, program)
    no_new_privileges = libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if no_new_privileges or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(compiled), 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel refused the system call filter")


def settle() -> None:
    """After the last thing that is the same for all programs: nothing of it is ever collected, or moved."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    gc.collect()
    gc.freeze()
    gc.disable()
