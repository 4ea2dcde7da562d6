"""Run programs in the sandbox: a pool of warm servers, each in its own isolation, verdicts in order."""

import contextlib
import json
import os
import queue
import re
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from hornbook.sandbox.isolation import ENVIRONMENT, Backend
from hornbook.sandbox.programs import Limits, Program, Verdict, whole_seconds
from hornbook.sandbox.seccomp import syscall_filter

CHUNK = 8  # programs taken by a thread at a time, or fewer
CHUNK_BYTES = 1 << 20  # of their sources, beyond which no more is taken
AHEAD = 4  # chunks per worker under way or waiting to be taken
START_SECONDS = 30.0
STARTS = 3
GRACE_SECONDS = 10.0  # beyond the wall clock the server itself keeps
DETAIL_CHARACTERS = 300
MODULES = {  # of each server, in the order of their imports
    "candidate": ("values", "boundary", "warm", "candidate"),
    "judge": ("values", "boundary", "warm", "remote", "judge"),
}
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}")


class ServerLostError(Exception):
    """The server or its isolation died, or does not answer."""


class Server:
    """Two warm interpreters, each in an isolation of its own: one for the programs, one for their tests.

    Close it when done.
    """

    def __init__(self, backend: Backend, limits: Limits, cpu: int | None = None) -> None:
        """Start both, on one CPU if it is named, and wait until they are ready.

        Raises ServerLostError with what the tools said.
        """
        self.limits, self.cpu = limits, cpu
        self._scratch = contextlib.ExitStack()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.candidates = self._start(backend, "candidate", ours.fileno(), subprocess.DEVNULL)
            try:
                self.judge = self._start(backend, "judge", theirs.fileno(), subprocess.PIPE)
            except ServerLostError:
                _finish(self.candidates)
                raise
        assert self.judge.stdin is not None
        os.set_blocking(self.judge.stdin.fileno(), False)
        try:
            self._receive(START_SECONDS)
        except ServerLostError as lost:
            self._end()
            said = self._complaint()
            self.close()
            raise ServerLostError(said or str(lost)) from lost

    def _start(self, backend: Backend, role: str, control: int, pipe: int) -> "subprocess.Popen[bytes]":
        environment = dict(ENVIRONMENT)
        if not backend.isolated:
            scratch = self._scratch.enter_context(tempfile.TemporaryDirectory(prefix="hornbook-unsafe-"))
            environment |= {"HOME": scratch, "TMPDIR": scratch}
        try:
            return subprocess.Popen(
                backend.command(server_source(role, control, self.cpu, backend.isolated), self.limits.scratch_mb),
                stdin=pipe,
                stdout=pipe,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=environment,
                cwd="/",
                pass_fds=(control,),
                start_new_session=True,  # a Ctrl-C at the terminal is for us, not for the servers
            )
        except OSError as error:  # a tool that is missing, an interpreter this user may not read
            raise ServerLostError(str(error)) from error

    def _complaint(self) -> str:
        """The last line the tools wrote to standard error."""
        lines: list[str] = []
        for process in (self.judge, self.candidates):
            assert process.stderr is not None
            lines += process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:DETAIL_CHARACTERS] if lines else ""

    def send(self, program: Program) -> None:
        """Ask for one program. Replies come in the order of requests; raises ServerLostError where nobody reads."""
        limits = {
            "cpu": whole_seconds(program.cpu_seconds or self.limits.cpu_seconds),
            "memory_mb": self.limits.memory_mb,
            "scratch_mb": self.limits.scratch_mb,
            "processes": self.limits.processes,
            "open_files": self.limits.open_files,
            "objects": program.objects,
        }
        job = {"tests": program.tests, "context": program.context, "entry_point": program.entry_point}
        source = json.dumps(limits | {"source": program.source}).encode()
        tests = json.dumps(limits | job | {"trusted": program.trusted}).encode()
        request = limits | {
            "wall": self._wall(program),
            "trusted": program.trusted,
            "program_bytes": len(source),
            "job_bytes": len(tests),
        }
        header = json.dumps(request).encode()
        unsent = memoryview(len(header).to_bytes(4, "big") + header + source + tests)
        assert self.judge.stdin is not None
        handle, deadline = self.judge.stdin.fileno(), time.monotonic() + self._wall(program) + GRACE_SECONDS
        try:
            while unsent:
                _await(handle, select.POLLOUT, deadline)
                with contextlib.suppress(BlockingIOError):
                    unsent = unsent[os.write(handle, unsent) :]
        except OSError as error:
            raise ServerLostError(f"the pipe to the sandbox broke ({error})") from error

    def _wall(self, program: Program) -> float:
        """The wall clock, longer where the program's own CPU limit is."""
        return self.limits.wall_seconds * max(1.0, (program.cpu_seconds or 0.0) / self.limits.cpu_seconds)

    def reply(self, program: Program) -> Any:
        """The next reply, which is that on `program`, or ServerLostError."""
        return self._receive(self._wall(program) + GRACE_SECONDS)

    def _receive(self, seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        size = int.from_bytes(self._read(4, deadline), "big")
        return json.loads(self._read(size, deadline))

    def _read(self, count: int, deadline: float) -> bytes:
        assert self.judge.stdout is not None
        handle, data = self.judge.stdout.fileno(), b""
        while len(data) < count:
            _await(handle, select.POLLIN, deadline)
            part = os.read(handle, count - len(data))
            if not part:
                raise ServerLostError("the sandbox died")
            data += part
        return data

    def _end(self) -> None:
        assert self.judge.stdin is not None
        self.judge.stdin.close()  # the servers end by themselves; killing is for when they cannot
        _finish(self.judge)
        _finish(self.candidates)

    def close(self) -> None:
        """End both isolations and every process in them, and let go of the pipes."""
        self._end()
        for pipe in (self.judge.stdout, self.judge.stderr, self.candidates.stderr):
            assert pipe is not None
            pipe.close()
        self._scratch.close()


def _await(handle: int, event: int, deadline: float) -> None:
    """Wait until a pipe can be read or written; raises ServerLostError where that takes too long."""
    poll = select.poll()
    poll.register(handle, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise ServerLostError("the sandbox does not answer")


def _finish(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a server to end by itself, and see to it that it does.

    The tools that wrap it do not always take it with them when they are killed, as root above all: so it goes first.
    """
    try:
        process.wait(2.0)
    except subprocess.TimeoutExpired:
        for pid in reversed(_below(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()


def _below(pid: int) -> list[int]:
    """The processes below one, parents before children."""
    found = []
    with contextlib.suppress(OSError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            found += [child, *_below(child)]
    return found


def server_source(role: str, control: int, cpu: int | None, isolated: bool) -> str:
    """The program text of a server: it and what it imports, without a file to read inside.

    `control` is the descriptor of the socket between the two servers. On one CPU they wake each other without an
    interrupt between CPUs: 45 µs a call for 106, and 568 programs/s for 327 with ten calls each (2 virtual cores).
    """
    modules = {
        f"hornbook.sandbox.{name}": Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        for name in MODULES[role]
    }
    syscalls = syscall_filter() if isolated else ""
    return (
        "import builtins, os, sys\n"
        f"if {isolated} and os.getpid() != 1:\n"
        "    sys.exit('the sandbox server runs only as process 1 of its own namespace')\n"
        f"os.dup2({control}, 3)\n"
        f"if {cpu} is not None: os.sched_setaffinity(0, [{cpu}])\n"
        f"for name, text in {modules!r}.items():\n"
        "    sys.modules[name] = type(sys)(name)\n"
        "    sys.modules[name].__builtins__ = dict(vars(builtins))\n"  # a program may replace the real ones
        "    exec(compile(text, name, 'exec'), sys.modules[name].__dict__)\n"
        f"sys.modules['hornbook.sandbox.{role}'].main({syscalls!r})\n"
    )


class Turnstile:
    """Many pass together, or one passes alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = 0  # who is alone or waits to be

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Enter beside others; waits while someone is alone or wants to be."""
        with self._changed:
            self._changed.wait_for(lambda: self._alone == 0)
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Enter when everybody has left."""
        with self._changed:
            self._alone += 1
            self._changed.wait_for(lambda: self._inside == 0)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._alone -= 1
            self._leave()

    def _leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()


class Seat:
    """Where a server runs: started when first wanted, started again when lost."""

    def __init__(self, backend: Backend, limits: Limits, cpu: int | None) -> None:
        self.backend, self.limits, self.cpu = backend, limits, cpu
        self.server: Server | None = None

    def advance(self, programs: list[Program]) -> list[Verdict]:
        """Verdicts on at least the first of the programs."""
        verdicts, lost = self._attempt(programs)
        if not verdicts:  # the first program saw the server die: once more, with a fresh server, by itself
            verdicts, lost = self._attempt(programs[:1])
        if not verdicts:
            verdicts = [Verdict(programs[0].id, "error", f"{lost}, twice", 0.0, objects=programs[0].objects)]
        return verdicts

    def _start(self) -> Server:
        """A server; a start that somebody kills is tried again. Raises ServerLostError where none comes of it."""
        for _ in range(STARTS - 1):
            with contextlib.suppress(ServerLostError):
                return Server(self.backend, self.limits, self.cpu)
        return Server(self.backend, self.limits, self.cpu)

    def _attempt(self, programs: list[Program]) -> tuple[list[Verdict], str]:
        verdicts: list[Verdict] = []
        self.server = server = self.server or self._start()
        try:
            for i, program in enumerate(programs):
                for following in programs[i + 1 if i else 0 : i + 2]:  # one ahead: hides the wait for the pipe
                    server.send(following)
                reply = server.reply(program)
                outcome, detail = reply["outcome"], _plain(reply["detail"])
                found = Verdict(program.id, outcome, detail, reply["cpu"], reply["memory_mb"], program.objects)
                verdicts.append(found)
                if reply["spent"]:  # a scratch directory could not be emptied, and both servers have ended
                    self.close()
                    break
        except ServerLostError as lost:
            self.close()
            return verdicts, str(lost)
        return verdicts, ""

    def close(self) -> None:
        """End the server, if there is one."""
        if self.server is not None:
            self.server.close()
        self.server = None


class Pool:
    """Seats taken and given back by threads."""

    def __init__(self, backend: Backend, limits: Limits, workers: int) -> None:
        self.turnstile = Turnstile()
        cpus = sorted(os.sched_getaffinity(0)) if workers > 1 else []
        self.seats = [
            Seat(backend, limits, cpus[i % len(cpus)] if workers <= len(cpus) else None) for i in range(workers)
        ]
        self.idle: queue.SimpleQueue[Seat] = queue.SimpleQueue()
        for seat in self.seats:
            self.idle.put(seat)

    def run_chunk(self, programs: list[Program]) -> list[Verdict]:
        """The verdicts on some programs; those that timed out are tried once more, alone, before that counts."""
        seat = self.idle.get()
        try:
            with self.turnstile.together():
                verdicts: list[Verdict] = []
                while len(verdicts) < len(programs):
                    verdicts += seat.advance(programs[len(verdicts) :])
            for i, verdict in enumerate(verdicts):
                if verdict.outcome == "timeout":
                    with self.turnstile.alone():
                        verdicts[i] = seat.advance([programs[i]])[0]
        finally:
            self.idle.put(seat)
        return verdicts

    def close(self) -> None:
        """End all servers. Only once no thread uses one."""
        for seat in self.seats:
            seat.close()


def _plain(detail: str) -> str:
    """Without what differs from run to run, and short enough for a table."""
    detail = ADDRESS.sub("0x…", detail).encode("utf-8", "replace").decode("utf-8")
    return detail if len(detail) <= DETAIL_CHARACTERS else detail[: DETAIL_CHARACTERS - 1] + "…"


def run_programs(
    programs: Iterable[Program], limits: Limits, workers: int, backend: Backend
) -> Generator[Verdict, None, None]:
    """The verdict on each program, in order, each run by itself inside `backend` (see `probe.choose_backend`).

    Streams: at most `workers * AHEAD * CHUNK` programs are in memory. A server that dies is replaced and the program it
    died on tried once more; if it dies again that program's outcome is `error`. Raises ServerLostError where no server
    starts.
    """
    chunks = _chunked(programs)
    pool = Pool(backend, limits, workers)
    threads = ThreadPoolExecutor(workers, thread_name_prefix="sandbox")
    pending: deque[Future[list[Verdict]]] = deque()
    try:
        pending.extend(threads.submit(pool.run_chunk, chunk) for chunk in islice(chunks, workers * AHEAD))
        while pending:
            yield from pending.popleft().result()
            pending.extend(threads.submit(pool.run_chunk, chunk) for chunk in islice(chunks, 1))
    finally:
        threads.shutdown(wait=True, cancel_futures=True)
        pool.close()


def _chunked(programs: Iterable[Program]) -> Iterator[list[Program]]:
    chunk: list[Program] = []
    for program in programs:
        chunk.append(program)
        if len(chunk) == CHUNK or sum(len(each.source) for each in chunk) > CHUNK_BYTES:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
