"""Run programs in the sandbox: a pool of warm servers, each in its own isolation, verdicts in order."""

import json
import os
import queue
import re
import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from hornbook.sandbox.isolation import ENVIRONMENT, Backend
from hornbook.sandbox.programs import Limits, Program, Verdict

CHUNK = 8  # programs sent ahead to one server: hides the wait for the pipe; all their replies fit in one
AHEAD = 4  # chunks per worker under way or waiting to be taken
START_SECONDS = 30.0
GRACE_SECONDS = 10.0  # beyond the wall clock the server itself keeps
DETAIL_CHARACTERS = 300
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}")


class ServerLostError(Exception):
    """The server or its isolation died, or does not answer."""


class Server:
    """One warm interpreter inside an isolation. Close it when done."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        """Start it and wait until it says it is ready; raises ServerLostError with what the tools said."""
        self.limits = limits
        source = Path(__file__).with_name("server.py").read_text(encoding="utf-8")
        try:
            self.process = subprocess.Popen(
                backend.command(source, limits.scratch_mb),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,  # a Ctrl-C at the terminal is for us, not for the servers
            )
        except OSError as error:  # a tool that is missing, an interpreter this user may not read
            raise ServerLostError(str(error)) from error
        try:
            self._receive(START_SECONDS)
        except ServerLostError as lost:
            self._end()
            said = self._complaint()
            self.close()
            raise ServerLostError(said or str(lost)) from lost

    def _complaint(self) -> str:
        """The last line the tools wrote to standard error."""
        assert self.process.stderr is not None
        lines = self.process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def send(self, program: Program) -> None:
        """Ask for one program. Replies come in the order of requests."""
        request = {
            "source": program.source,
            "tests": program.tests,
            "cpu": self.limits.cpu_limit,
            "wall": self.limits.wall_seconds,
            "memory_mb": self.limits.memory_mb,
            "scratch_mb": self.limits.scratch_mb,
            "processes": self.limits.processes,
            "open_files": self.limits.open_files,
        }
        body = json.dumps(request).encode()
        unsent = memoryview(len(body).to_bytes(4, "big") + body)
        assert self.process.stdin is not None
        try:
            while unsent:
                unsent = unsent[self.process.stdin.write(unsent) :]
        except OSError as error:
            raise ServerLostError(f"the pipe to the sandbox broke ({error})") from error

    def reply(self) -> Any:
        """The next reply, or ServerLostError."""
        return self._receive(self.limits.wall_seconds + GRACE_SECONDS)

    def _receive(self, seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        size = int.from_bytes(self._read(4, deadline), "big")
        return json.loads(self._read(size, deadline))

    def _read(self, count: int, deadline: float) -> bytes:
        assert self.process.stdout is not None
        handle, data = self.process.stdout.fileno(), b""
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        while len(data) < count:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise ServerLostError("the sandbox does not answer")
            part = os.read(handle, count - len(data))
            if not part:
                raise ServerLostError("the sandbox died")
            data += part
        return data

    def _end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()  # the server ends by itself; killing is for when it cannot
        try:
            self.process.wait(2.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """End the isolation and every process in it, and let go of the pipes."""
        self._end()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


class Turnstile:
    """Many pass together, or one passes alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = 0  # who is alone or waits to be

    @contextmanager
    def together(self) -> Iterator[None]:
        """Enter beside others; waits while someone is alone or wants to be."""
        with self._changed:
            self._changed.wait_for(lambda: self._alone == 0)
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
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


class Pool:
    """Servers taken and given back by threads; started when first wanted, started again when lost."""

    def __init__(self, backend: Backend, limits: Limits, workers: int) -> None:
        self.backend, self.limits = backend, limits
        self.turnstile = Turnstile()
        self.idle: queue.SimpleQueue[Server | None] = queue.SimpleQueue()
        self.workers = workers
        for _ in range(workers):
            self.idle.put(None)

    def run_chunk(self, programs: list[Program]) -> list[Verdict]:
        """The verdicts on some programs; those that timed out are tried once more, alone, before that counts."""
        server = self.idle.get()
        try:
            with self.turnstile.together():
                verdicts: list[Verdict] = []
                while len(verdicts) < len(programs):
                    server, more = self._advance(server, programs[len(verdicts) :])
                    verdicts += more
            for i, verdict in enumerate(verdicts):
                if verdict.outcome == "timeout":
                    with self.turnstile.alone():
                        server, more = self._advance(server, [programs[i]])
                    verdicts[i] = more[0]
        finally:
            self.idle.put(server)
        return verdicts

    def _advance(self, server: Server | None, programs: list[Program]) -> tuple[Server | None, list[Verdict]]:
        """Verdicts on at least the first of the programs, and the server to go on with."""
        server, verdicts, lost = self._attempt(server, programs)
        if not verdicts:  # the first program saw the server die: once more, with a fresh server, by itself
            server, verdicts, lost = self._attempt(server, programs[:1])
        if not verdicts:
            verdicts = [Verdict(programs[0].id, "error", f"{lost}, twice", 0.0)]
        return server, verdicts

    def _attempt(self, server: Server | None, programs: list[Program]) -> tuple[Server | None, list[Verdict], str]:
        verdicts: list[Verdict] = []
        server = server or Server(self.backend, self.limits)
        try:
            for program in programs:
                server.send(program)
            for program in programs:
                reply = server.reply()
                detail = _plain(reply["detail"])
                verdicts.append(Verdict(program.id, reply["outcome"], detail, reply["cpu"]))
                if reply["spent"]:  # it could not empty its scratch directory, and has ended
                    server.close()
                    return None, verdicts, ""
        except ServerLostError as lost:
            server.close()
            return None, verdicts, str(lost)
        return server, verdicts, ""

    def close(self) -> None:
        """End all servers. Only once no thread holds one."""
        for _ in range(self.workers):
            server = self.idle.get()
            if server is not None:
                server.close()


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
    chunks = _chunked(programs, CHUNK)
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


def _chunked(programs: Iterable[Program], size: int) -> Iterator[list[Program]]:
    source = iter(programs)
    while chunk := list(islice(source, size)):
        yield chunk
