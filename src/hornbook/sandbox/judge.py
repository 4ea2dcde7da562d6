"""The server in which tests run: keeps a tester, a warm interpreter that reaches the candidate over the boundary.

Runs inside a sandbox of its own: tests may have been written by a model too, and what a candidate hands over may be
made to exhaust who looks at it. The verdict is formed here and in the kernel, never by the candidate, whose process
holds no test and sends nothing but values.

The server itself reads neither tests nor values. It forks a tester, hands it the jobs, watches the clock, and replaces
it when it is late, dies, or had tests that are not trusted: those of a frozen test set, or of the built-in teacher,
leave nothing behind, so that one tester does for many of them, which saves a fork each.

Names in the tests are the tests' own, the built-in ones, or those of the trusted context (a problem's prompt: its
imports and helpers); only the entry point, stubs of the context, and what none of these defines, is the candidate's.
"""

import builtins
import decimal
import functools
import importlib
import json
import os
import resource
import socket
import sys
import time
import types
from typing import Any, NoReturn

from hornbook.sandbox.boundary import GoneError, Peer, ReferenceTo, RefusedError, held
from hornbook.sandbox.remote import (
    RemoteCoroutine,
    RemoteFunction,
    RemoteGenerator,
    RemoteIterator,
    RemoteModule,
    RemoteNamed,
    RemoteObject,
    forward_operators,
)
from hornbook.sandbox.values import KNOWN_MODULES, Opaque, safe_text
from hornbook.sandbox.warm import (
    CONTROL,
    DONE,
    GONE,
    bury,
    fork_program,
    killer_of,
    limit,
    prepare,
    read_exactly,
    reap,
    receive,
    send,
    settle,
    sweep,
    wait_for,
)

# Loaded before the first tester, so that which of their exceptions are known does not depend on what ran before.
RAISING_MODULES = ("csv", "decimal", "fractions", "pathlib", "queue", "statistics", "struct", "uuid")
DETAIL_CHARACTERS = 900
VERDICT_BYTES = 8192  # more than a verdict and its detail need, in whatever alphabet
TESTER_MB = 256  # of address space beyond a program's: what it holds already, and room to build what crosses


def _documented() -> None:
    """A function that is yet to be written."""


def _empty() -> None:
    pass


STUBS = (_documented.__code__.co_code, _empty.__code__.co_code)


class Builtins(dict[str, Any]):
    """The built-in names, and behind them the tests' own: a class body asks no `__missing__` of its globals."""

    def __init__(self, names: "Names") -> None:
        super().__init__(vars(builtins))
        self.names = names

    def __missing__(self, name: str) -> Any:
        return self.names[name]


def compile_context(text: str) -> types.CodeType:
    """A trusted context as code: where it ends in the middle of something, as prompts do, as much of it as is whole."""
    lines = text.splitlines()
    whole = (f"{text}{end}" for end in ("", "pass\n", "\n    pass\n", "\n        pass\n"))
    parts = ("\n".join(lines[:count]) for count in range(len(lines) - 1, -1, -1))
    for attempt in (*whole, *parts):
        try:
            return compile(attempt, "<context>", "exec")
        except (SyntaxError, ValueError):
            continue
    raise AssertionError("nothing at all compiles")


class Names(dict[str, Any]):
    """The global names of the tests; what they do not define is looked for where it may be taken from."""

    def __init__(self, context: str, entry_point: str, objects: bool) -> None:
        super().__init__(__name__="tests")
        self["__builtins__"] = Builtins(self)
        self.context, self.entry_point, self.objects = context, entry_point, objects
        self.peer: Peer | None = None  # of the candidate

    def __missing__(self, name: str) -> Any:
        if name != self.entry_point:
            if name in self.context:
                self.run_context()
                if name in self:
                    return self[name]
            if hasattr(builtins, name):
                raise KeyError(name)
        self[name] = self.of_candidate(name)
        return self[name]

    def of_candidate(self, name: str) -> Any:
        """What the candidate calls by a name; a module only as the standard library's of that name."""
        assert self.peer is not None
        if name == self.entry_point and not self.objects:
            return RemoteNamed(self.peer, name, name)  # a function, or the first call says what it is
        value = self.peer.ask("look", name)
        if type(value) is RemoteFunction and name not in sys.stdlib_module_names:
            return RemoteNamed(*held(value))
        standard, module = name in sys.stdlib_module_names, isinstance(value, RemoteModule)
        if standard != module:  # a module is the standard library's own, and its name is nobody else's
            raise NameError(f"name '{name}' is not defined")
        return importlib.import_module(name) if module else value

    def run_context(self) -> None:
        """Add what the trusted context defines and the tests do not; once."""
        text, self.context = self.context, ""
        namespace: dict[str, Any] = {"__name__": "context"}
        exec(compile_context(text), namespace)  # noqa: S102 (what the whole server is for)
        for name, value in list(namespace.items()):
            if name in self or name == self.entry_point:
                continue
            if not self.is_candidates(value, namespace):
                self[name] = value
            elif isinstance(value, type):  # and the helpers of the context make the program's objects too
                self[name] = namespace[name] = self.of_candidate(name)

    def is_candidates(self, value: Any, namespace: dict[str, Any]) -> bool:
        """Whether a thing of the context is only announced there: a stub, or the class of the program's objects."""
        if isinstance(value, types.FunctionType) and value.__globals__ is namespace:
            return value.__code__.co_code in STUBS and value.__code__.co_consts[-1] is None
        if not self.objects or not isinstance(value, type) or value.__module__ != "context":
            return False
        return not issubclass(value, BaseException | tuple) and "_member_map_" not in vars(value)

    # -- as the host of the candidate's other end

    def serve(self, verb: str, thing: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """What a candidate may do with what a test handed it: call a function, advance an iterator."""
        if verb == "call" and not isinstance(thing, str):
            return thing(*args, **kwargs)
        if verb == "next" and hasattr(type(thing), "__next__"):
            return next(thing)
        if verb == "look" and thing == self.entry_point:
            return self[thing]
        raise TypeError(f"the tests' objects cannot be asked to {verb}")

    def kind_of(self, value: Any) -> str:
        """As what a test's argument crosses that is no plain data."""
        if hasattr(type(value), "__next__"):
            return "iterator"
        if type(value) is object:  # a sentinel, which has nothing but its identity
            return "token"
        return "function" if callable(value) else ""

    def truth_of(self, value: Any) -> bool:
        """A test's own object does not cross to the candidate: of its truth alone no program could make anything."""
        if isinstance(value, Opaque):
            return bool(value)
        raise RefusedError(f"the test passes a value of type {type(value).__name__}, which is no plain data")

    def stand_in(self, peer: Peer, number: int, kind: str, name: str) -> Any:
        """What stands in the tests for something of the candidate's."""
        if kind == "object" and not self.objects:
            raise ValueError(kind)
        if kind == "function" and self.objects:
            return RemoteNamed(peer, number, name)
        return STAND_INS[kind](peer, number, name)

    def known_class(self, name: str) -> Any:
        """A class of the tests or of the trusted context."""
        if name in self.context:
            self.run_context()
        found = self.get(name)
        return found if isinstance(found, type) else None


STAND_INS: dict[str, type[ReferenceTo]] = {
    "coroutine": RemoteCoroutine,
    "function": RemoteFunction,
    "generator": RemoteGenerator,
    "iterator": RemoteIterator,
    "module": RemoteModule,
    "object": RemoteObject,
}


@functools.lru_cache(512)
def compiled(test: str, name: str) -> types.CodeType:
    """A test as code. Kept, because samples come problem by problem."""
    return compile(test, name, "exec")


def run_tests(job: dict[str, Any], handle: int) -> tuple[str, str]:
    """Wait until the candidate has run its program, run the tests, and give a verdict with its detail.

    The verdict is `passed`, `failed`, or `gone` where the candidate's process went away: how it ended tells the rest.
    """
    decimal.setcontext(decimal.DefaultContext.copy())  # its flags and precision would be seen by the next
    where = "tests"
    names = Names(job["context"], job["entry_point"], job["objects"])
    names.peer = peer = Peer(handle, names)
    verdict, detail = "failed", ""
    try:
        tests = [(f"test {i}", compiled(test, f"<test {i}>")) for i, test in enumerate(job["tests"], 1)]
        where = "program"
        said = peer.read()
        if said == ["ready"]:
            for where, code in tests:  # noqa: B007 (`where` is for the detail)
                exec(code, names)  # noqa: S102
            verdict = "passed"
        else:
            detail = str(said[1]) if type(said) is list and len(said) == 2 and said[0] == "broken" else "no answer"
    except (RefusedError, GoneError) as broken:
        detail = str(broken)
    except BaseException as error:
        text = safe_text(error)
        detail = type(error).__name__ + (f": {text}" if text else "")
    if peer.failure:  # whatever a test made of it
        verdict, detail = "gone" if peer.gone else "failed", peer.failure
    peer.broken("the tests have ended")  # for what a test left behind: the descriptor will soon be another program's
    return verdict, "" if verdict == "passed" else f"{where}: {detail}"[:DETAIL_CHARACTERS]


def run_tester(jobs: socket.socket, memory_mb: int) -> NoReturn:
    """In the child: run the tests of one job after the other."""
    size = (memory_mb + TESTER_MB) << 20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    while True:
        header, handles, _, _ = socket.recv_fds(jobs, 4, 1)
        if len(header) < 4:
            os._exit(0)
        job = json.loads(read_exactly(jobs.fileno(), int.from_bytes(header, "big")))
        if not job["trusted"]:
            limit(job)
        verdict = run_tests(job, handles[0])
        os.close(handles[0])
        send(jobs.fileno(), verdict)


class Judge:
    """The tester, replaced when it must be, and the way to the candidates' server."""

    def __init__(self, host_in: int, host_out: int) -> None:
        self.host_in, self.host_out = host_in, host_out
        self.control = socket.socket(fileno=CONTROL)
        self.tester = 0
        self.jobs = self.control  # to the tester; another socket as soon as there is one

    def start_tester(self, memory_mb: int) -> None:
        """Fork a tester, which holds nothing of this server's but its end of a socket."""
        self.jobs, theirs = socket.socketpair()
        self.tester = fork_program()
        if self.tester == 0:
            for handle in (self.host_in, self.host_out, CONTROL, self.jobs.detach()):
                os.close(handle)
            run_tester(theirs, memory_mb)
        theirs.close()

    def end_tester(self) -> tuple[int, float]:
        """Kill the tester and all it left running; gives its exit status and CPU seconds."""
        bury(self.tester)
        _, status, usage = os.wait4(self.tester, 0)
        reap()
        self.jobs.close()
        self.tester = 0
        return status, usage.ru_utime + usage.ru_stime

    def serve_one(self, request: dict[str, Any], program: bytes, job: bytes) -> dict[str, Any]:
        """Have one program run and tested, and give the reply."""
        if not self.tester:
            self.start_tester(request["memory_mb"])
        ours, theirs = socket.socketpair()
        hand_over(self.control, program, theirs)
        hand_over(self.jobs, job, ours)
        verdict, detail = self.hear_tester(request["wall"])
        keeps = request["trusted"] and verdict not in ("late", "dead")
        status, cpu = (0, 0.0) if keeps else self.end_tester()
        os.write(CONTROL, GONE if verdict == "gone" else DONE)
        candidate = receive(CONTROL)
        if candidate is None:
            sys.exit("the candidates' sandbox died")
        if verdict == "late":
            outcome, detail = "timeout", f"wall clock over {request['wall']:g} s"
        elif verdict == "dead":
            killed, how = killer_of(status, cpu, request)
            outcome, detail = killed or "failed", f"the tests: {how or 'ended early'}"
        else:
            outcome, detail = judged(request, verdict, detail, candidate)
        return {
            "outcome": outcome,
            "detail": detail,
            "cpu": round(candidate["cpu"], 4),
            "memory_mb": round(candidate["memory_mb"], 1),
            "spent": candidate["spent"] or not (keeps or sweep(os.environ["TMPDIR"])),
        }

    def hear_tester(self, seconds: float) -> tuple[str, str]:
        """What the tester says of the job, within the wall clock and in few bytes: a model's tests can speak for it."""
        deadline, data = time.monotonic() + seconds, b""
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            if not wait_for(self.jobs.fileno(), max(0.0, deadline - time.monotonic()), self.host_in):
                return "late", ""
            part = self.jobs.recv(VERDICT_BYTES)
            if not part or len(data) + len(part) > VERDICT_BYTES:
                return "dead", ""
            data += part
        try:
            verdict, detail = json.loads(data[4:])
        except (ValueError, TypeError, RecursionError):
            return "dead", ""
        known = verdict in ("passed", "failed", "gone") and type(detail) is str
        return (verdict, detail) if known else ("dead", "")


def hand_over(channel: socket.socket, data: bytes, end: socket.socket) -> None:
    """Send a message and, with it, one end of the boundary."""
    socket.send_fds(channel, [len(data).to_bytes(4, "big")], [end.fileno()])
    end.close()
    channel.sendall(data)


def judged(request: dict[str, Any], verdict: str, detail: str, candidate: dict[str, Any]) -> tuple[str, str]:
    """Outcome and detail from what the tests found and what became of the candidate."""
    over = f"CPU time over {request['cpu']} s"
    if verdict == "passed" and candidate["cpu"] > request["cpu"] + 1:  # a process may go a second beyond its own limit
        return "timeout", f"{over}, by all processes"
    if verdict != "gone":
        return verdict, detail
    if not candidate["ended"]:
        return "failed", f"{detail.partition(':')[0]}: the program closed its connection to the tests"
    outcome, how = killer_of(candidate["status"], candidate["cpu"], request)
    left = f"exit status {os.WEXITSTATUS(candidate['status'])} before the tests had ended"
    return (outcome, how) if outcome else ("failed", left)


def main(syscall_filter: str) -> None:
    """Serve the host until it closes the pipe, or a scratch directory cannot be emptied."""
    prepare(syscall_filter)
    forward_operators()
    for name in RAISING_MODULES:
        KNOWN_MODULES[name] = importlib.import_module(name)
    KNOWN_MODULES.update(sys.modules)
    judge = Judge(os.dup(0), os.dup(1))  # standard input and output are soon nobody's: tests may print
    ready = receive(CONTROL)
    if ready is None:
        sys.exit("the candidates' sandbox did not start")
    send(judge.host_out, ready)
    settle()
    while (request := receive(judge.host_in)) is not None:
        program = read_exactly(judge.host_in, request["program_bytes"])
        job = read_exactly(judge.host_in, request["job_bytes"])
        reply = judge.serve_one(request, program, job)
        send(judge.host_out, reply)
        if reply["spent"]:
            return
