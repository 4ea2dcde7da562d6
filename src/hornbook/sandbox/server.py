"""The warm interpreter inside the isolation: forks a child per program and says what became of it.

The file runs as a script by its text (`python -c`), knows nothing of the rest of the project, and imports little: every
page it touches is a page each fork copies. It is process 1 of its namespace, so it reaps all orphans and `kill(-1)`
reaches everything a program left behind and nothing else.

Messages in both directions are a 4-byte big-endian length and a JSON object. The child's verdict counts only if it
starts with a token drawn for that program, which the child holds in a local variable: printing, exit codes and
whatever else is written to the pipe prove nothing.
"""

import gc
import json
import os
import resource
import select
import signal
import sys
from typing import Any, NoReturn

SCRATCH = "/tmp"  # noqa: S108 (a tmpfs of the sandbox's own)
TOKEN_BYTES = 16
REPORT_BYTES = 2048  # below the capacity of a pipe, so the child never waits for a reader
KEPT_ENVIRONMENT = ("HOME", "LANG", "PYTHONHASHSEED", "PYTHONUTF8", "TMPDIR")
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


def receive() -> Any:
    """The next request, or None at the end. Reads no byte too many: children inherit this memory."""
    size = read_exactly(4)
    return json.loads(read_exactly(int.from_bytes(size, "big"))) if size else None


def read_exactly(count: int) -> bytes:
    """`count` bytes from the host; empty where it has gone."""
    parts = []
    while count:
        part = os.read(0, min(count, 1 << 20))
        if not part:
            return b""
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def send(message: Any) -> None:
    """One reply to the host."""
    data = json.dumps(message).encode()
    data = len(data).to_bytes(4, "big") + data
    while data:
        data = data[os.write(1, data) :]


def limit(request: Any) -> None:
    """Bind this process, and all it starts, to the limits of the request."""
    cpu, size = request["cpu"], request["scratch_mb"] << 20
    for what, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 1),  # SIGXCPU, and a second later SIGKILL for who ignores it
        (resource.RLIMIT_AS, request["memory_mb"] << 20, request["memory_mb"] << 20),
        (resource.RLIMIT_FSIZE, size, size),
        (resource.RLIMIT_NPROC, request["processes"] + 2, request["processes"] + 2),  # the server, the first process
        (resource.RLIMIT_NOFILE, request["open_files"], request["open_files"]),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        most = resource.getrlimit(what)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(what, (soft, hard))


def candidate(request: Any, report: int, null: int, token: bytes) -> NoReturn:
    """The child: run the program, then its tests, and report with the token. Never returns."""
    write, leave, run, process = os.write, os._exit, exec, os.getpid  # as they are now: the program may replace them
    where, first = "program", process()
    try:
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.close(null)
        limit(request)
        gc.enable()
        module = type(sys)("candidate")
        sys.modules["candidate"] = module
        namespace = module.__dict__
        where = "tests"
        tests = [(f"test {i}", compile(test, f"<test {i}>", "exec")) for i, test in enumerate(request["tests"], 1)]
        where = "program"
        code = compile(request["source"], "<program>", "exec")
        run(code, namespace)
        for where, test in tests:  # noqa: B007 (`where` is for describe)
            run(test, namespace)
        message = b"passed"
    except BaseException as error:
        message = b"failed" + describe(where, error)
    if process() == first:  # and not a copy the program forked off
        write(report, token + message)
    leave(0)


def describe(where: str, error: BaseException) -> bytes:
    """Where an exception arose, its type and its message."""
    try:
        text = str(error)
    except BaseException:  # the program's own __str__
        text = "(no message)"
    text = f"{where}: {type(error).__name__}: {text}" if text else f"{where}: {type(error).__name__}"
    return text[:REPORT_BYTES].encode("utf-8", "backslashreplace")[: REPORT_BYTES - TOKEN_BYTES - 6]


def wait(pid: int, seconds: float) -> bool:
    """Wait until the child is dead; False where the wall clock ran out first. Ends the server if the host has gone."""
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(0, 0)  # reports only that the host hung up
    ready = poll.poll(seconds * 1000)
    os.close(handle)
    if any(fd == 0 for fd, _ in ready):
        os._exit(0)  # process 1: the kernel kills all others with it
    return bool(ready)


def bury() -> None:
    """Kill and reap whatever the program left running."""
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return
    try:
        while True:
            os.wait()
    except ChildProcessError:
        return


def sweep() -> bool:
    """Empty the scratch directory; False where that takes more than deleting files."""
    try:
        for name in os.listdir(SCRATCH):  # noqa: PTH208 (pathlib costs memory that every fork would copy)
            os.unlink(f"{SCRATCH}/{name}")  # noqa: PTH108
    except OSError:
        return False
    return True


def judge(request: Any, status: int, in_time: bool, cpu: float, report: bytes) -> tuple[str, str]:
    """Outcome and detail of a dead child. `report` is what followed the token, empty where no token came."""
    if not in_time:
        return "timeout", f"wall clock over {request['wall']:g} s"
    if os.WIFSIGNALED(status):
        killer = os.WTERMSIG(status)
        if killer == signal.SIGXCPU or (killer == signal.SIGKILL and cpu >= request["cpu"]):
            return "timeout", f"CPU time over {request['cpu']} s"
        return "failed", f"killed by {signal.Signals(killer).name}"
    if report == b"passed":
        return "passed", ""
    if report.startswith(b"failed"):
        return "failed", report[len(b"failed") :].decode("utf-8", "replace")
    return "failed", f"exit status {os.WEXITSTATUS(status)} before the tests had ended"


def serve_one(request: Any, null: int) -> dict[str, Any]:
    """Run one program and give the reply."""
    token = os.urandom(TOKEN_BYTES)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        candidate(request, writer, null, token)
    os.close(writer)
    in_time = wait(pid, request["wall"])
    if not in_time:
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    bury()
    data = os.read(reader, TOKEN_BYTES + REPORT_BYTES)  # all writers are dead: never blocks
    os.close(reader)
    cpu = usage.ru_utime + usage.ru_stime
    report = data[TOKEN_BYTES:] if data[:TOKEN_BYTES] == token else b""
    outcome, detail = judge(request, status, in_time, cpu, report)
    return {"outcome": outcome, "detail": detail, "cpu": round(cpu, 4), "spent": not sweep()}


def main() -> None:
    """Serve requests until the host closes the pipe, or the scratch directory cannot be emptied."""
    if os.getpid() != 1:
        sys.exit("the sandbox server runs only as process 1 of its own namespace")
    for name in list(os.environ):
        if name not in KEPT_ENVIRONMENT:
            del os.environ[name]
    os.chdir(SCRATCH)
    os.closerange(3, 256)
    null = os.open(os.devnull, os.O_RDWR)
    for name in WARM_IMPORTS.split():
        __import__(name)
    for _ in range(WARM_RUNS):
        namespace: dict[str, Any] = {}
        for part in (WARM_PROGRAM, *WARM_TESTS):
            exec(compile(part, "<warm>", "exec"), namespace)  # noqa: S102 (our own constant)
    send({"ready": sys.version.split()[0]})
    os.dup2(null, 2)
    gc.collect()
    gc.freeze()
    gc.disable()
    while (request := receive()) is not None:
        reply = serve_one(request, null)
        send(reply)
        if reply["spent"]:
            return


if __name__ == "__main__":
    main()
