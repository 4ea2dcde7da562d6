"""The server in which tests run: a warm interpreter that reaches the candidate over the boundary.

Runs inside a sandbox of its own: tests may have been written by a model too. The verdict is formed here and in the
kernel, never by the candidate, whose process holds no test and sends nothing but values. Tests that are not trusted run
in a child each; those of a frozen test set, or of the built-in teacher, run in the server itself, which saves a fork.

Names in the tests are the tests' own, the built-in ones, or those of the trusted context (a problem's prompt: its
imports and helpers); only the entry point, stubs of the context, and what none of these defines, is the candidate's.
"""

import builtins
import gc
import importlib
import json
import os
import socket
import sys
import time
import types
from typing import Any

from hornbook.sandbox.boundary import (
    GoneError,
    Opaque,
    Peer,
    ReferenceTo,
    RefusedError,
    RemoteFunction,
    RemoteIterator,
    find_exception,
    held,
    safe_text,
)
from hornbook.sandbox.warm import (
    CONTROL,
    DONE,
    GONE,
    bury,
    fork_program,
    killer_of,
    limit,
    prepare,
    reap,
    receive,
    send,
    settle,
    sweep,
    wait,
)

HOST_IN, HOST_OUT = 0, 1
REPORT_BYTES = 4096  # below the capacity of a pipe, so the child never waits for a reader
DETAIL_CHARACTERS = 900
OURS = ("tests", "context", "entry_point", "trusted")  # fields of a request that the candidate's side never sees


def _documented() -> None:
    """A function that is yet to be written."""


def _empty() -> None:
    pass


STUBS = (_documented.__code__.co_code, _empty.__code__.co_code)


class RemoteModule(ReferenceTo):
    """A module that the candidate imported: known by the name it was asked for, never by what it holds."""


class RemoteObject(ReferenceTo):
    """An object or class of the candidate's. Attributes and operators are computed there, with plain results.

    Equality and order are asked only between two such objects: beside plain data, what compares as equal to everything
    is equal to nothing.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return ask(self, "get", name)

    def __setattr__(self, name: str, value: Any) -> None:
        ask(self, "set", name, value)

    def __delattr__(self, name: str) -> None:
        ask(self, "del", name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        peer, number, _ = held(self)
        return peer.ask("call", number, args, kwargs)

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, RemoteObject) and bool(held(self)[0].ask("isinstance_of", held(self)[1], (value,)))


def ask(thing: ReferenceTo, verb: str, *args: Any) -> Any:
    """Have something done to an object of the candidate's."""
    peer, number, _ = held(thing)
    return peer.ask(verb, number, args)


def forward_operators() -> None:
    """Give RemoteObject the special methods of every operator that the candidate's server knows."""

    def forward(verb: str) -> Any:
        return lambda self, *args: ask(self, verb, *args)

    def reflected(verb: str) -> Any:
        return lambda self, other: held(self)[0].ask(f"reflected_{verb}", held(self)[1], (other,))

    def compared(verb: str) -> Any:
        return lambda self, other: ask(self, verb, other) if isinstance(other, RemoteObject) else NotImplemented

    for verb in ("eq", "ne", "lt", "le", "gt", "ge"):
        setattr(RemoteObject, f"__{verb}__", compared(verb))
    for verb in (
        "add",
        "sub",
        "mul",
        "matmul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "lshift",
        "rshift",
        "xor",
        "divmod",
    ):
        setattr(RemoteObject, f"__{verb}__", forward(verb))
        setattr(RemoteObject, f"__r{verb}__", reflected(verb))
    for verb in ("and", "or"):
        setattr(RemoteObject, f"__{verb}__", forward(f"{verb}_"))
        setattr(RemoteObject, f"__r{verb}__", reflected(f"{verb}_"))
    for verb in ("iadd", "isub", "imul", "neg", "pos", "abs", "invert", "contains", "getitem", "setitem", "delitem"):
        setattr(RemoteObject, f"__{verb}__", forward(verb))
    for verb in ("len", "bool", "str", "repr", "hash", "iter", "next", "int", "float", "complex", "bytes", "index"):
        setattr(RemoteObject, f"__{verb}__", forward(verb))
    for verb in ("round", "format", "reversed", "dir"):
        setattr(RemoteObject, f"__{verb}__", forward(verb))
    for verb in ("__enter__", "__exit__"):
        setattr(RemoteObject, verb, forward(verb))


class Names(dict[str, Any]):
    """The global names of the tests; what they do not define is looked for where it may be taken from."""

    def __init__(self, context: str, entry_point: str) -> None:
        super().__init__(__name__="tests")
        self.context, self.entry_point = context, entry_point
        self.peer: Peer | None = None  # of the candidate
        self.raised: dict[str, Any] = {}  # exception classes made for those that only the candidate knows

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
        value = self.peer.ask("look", name)
        if not isinstance(value, RemoteModule):
            return value
        if name not in sys.stdlib_module_names:
            raise NameError(f"name '{name}' is not defined")
        return importlib.import_module(name)

    def run_context(self) -> None:
        """Add what the trusted context defines and the tests do not; once."""
        text, self.context = self.context, ""
        namespace: dict[str, Any] = {"__name__": "context"}
        try:
            code = compile(text, "<context>", "exec")
        except (SyntaxError, ValueError):  # a prompt that ends in the middle of something: its imports are whole
            lines = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
            code = compile("\n".join(lines), "<context>", "exec")
        exec(code, namespace)  # noqa: S102 (what the whole server is for)
        for name, value in namespace.items():
            own = isinstance(value, types.FunctionType) and value.__globals__ is namespace
            if name not in self and name != self.entry_point and not (own and value.__code__.co_code in STUBS):
                self[name] = value

    def exception(self, name: str, module: str, base: str) -> type[BaseException]:
        """The class to raise for an exception of the candidate's."""
        if name in self.context:
            self.run_context()
        return find_exception(self, self.raised, name, module, base)


def stand_in(peer: Peer, number: int, kind: str, name: str) -> Any:
    """What stands in the tests for something of the candidate's."""
    word, _, rest = kind.partition(" ")
    if word == "exception":
        module, base = rest.rsplit(" ", 1)
        return peer.exceptions(name, module, base)
    return {"function": RemoteFunction, "iterator": RemoteIterator, "object": RemoteObject, "module": RemoteModule}[
        word
    ](peer, number, name)


def serve_candidate(verb: str, thing: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """What a candidate may do with what a test handed it: call a function, advance an iterator."""
    if verb == "call" and not isinstance(thing, str):
        return thing(*args, **kwargs)
    if verb == "next" and hasattr(type(thing), "__next__"):
        return next(thing)
    raise TypeError(f"the tests' objects cannot be asked to {verb}")


def kind_of_argument(value: Any) -> str:
    """As what a test's argument crosses that is no plain data."""
    if hasattr(type(value), "__next__"):
        return "iterator"
    return "function" if callable(value) else ""


def refuse(value: Any) -> bool:
    """A test's own object does not cross to the candidate: of its truth alone no program could make anything."""
    if isinstance(value, Opaque):
        return bool(value)
    raise RefusedError(f"the test passes a value of type {type(value).__name__}, which is no plain data")


def run_tests(request: dict[str, Any], handle: int, deadline: float | None) -> tuple[str, str]:
    """Wait until the candidate has run its program, run the tests, and give a verdict with its detail.

    The verdict is `passed`, `failed`, `late` where the deadline passed first, or `gone` where the candidate's process
    went away: how it ended tells the rest.
    """
    where = "tests"
    names = Names(request["context"], request["entry_point"])
    peer = Peer(handle, serve_candidate, kind_of_argument, refuse, stand_in, names.exception)
    names.peer, peer.deadline = peer, deadline
    verdict, detail = "failed", ""
    try:
        tests = [(f"test {i}", compile(test, f"<test {i}>", "exec")) for i, test in enumerate(request["tests"], 1)]
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
        verdict, detail = peer.verdict, peer.failure
    return verdict, "" if verdict == "passed" else f"{where}: {detail}"[:DETAIL_CHARACTERS]


def run_tests_apart(request: dict[str, Any], handle: int, control: socket.socket) -> dict[str, Any]:
    """`run_tests` in a child of its own: what these tests do to the interpreter, or never cease to do, ends with it."""
    reader, writer = os.pipe()
    pid = fork_program()
    if pid == 0:
        control.close()
        os.close(reader)
        limit(request)
        text = json.dumps(run_tests(request, handle, None))
        if len(text) > REPORT_BYTES:
            text = json.dumps(["failed", "a detail that is too long"])
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    in_time = wait(pid, request["wall"], HOST_IN)
    bury(pid)
    _, status, usage = os.wait4(pid, 0)
    reap()
    data = os.read(reader, REPORT_BYTES)  # all writers are dead: never blocks
    os.close(reader)
    if not in_time:
        return {"verdict": "late", "detail": ""}
    if data:
        verdict, detail = json.loads(data)
        return {"verdict": verdict, "detail": detail}
    ended_by, how = killer_of(status, usage.ru_utime + usage.ru_stime, request)
    return {"verdict": ended_by or "failed", "detail": f"the tests: {how}" if ended_by else "the tests left early"}


def judged(request: dict[str, Any], tests: dict[str, Any], candidate: dict[str, Any]) -> tuple[str, str]:
    """Outcome and detail from what the tests found and what became of the candidate."""
    verdict, detail = tests["verdict"], tests["detail"]
    if verdict == "late":
        return "timeout", f"wall clock over {request['wall']:g} s"
    if verdict != "gone":
        return verdict, detail
    if not candidate["ended"]:
        return "failed", f"{detail.partition(':')[0]}: the program closed its connection to the tests"
    outcome, how = killer_of(candidate["status"], candidate["cpu"], request)
    left = f"exit status {os.WEXITSTATUS(candidate['status'])} before the tests had ended"
    return (outcome, how) if outcome else ("failed", left)


def serve_one(request: dict[str, Any], control: socket.socket) -> dict[str, Any]:
    """Have one program run and tested, and give the reply."""
    ours, theirs = socket.socketpair()
    data = json.dumps({name: request[name] for name in request if name not in OURS}).encode()
    socket.send_fds(control, [len(data).to_bytes(4, "big")], [theirs.fileno()])
    theirs.close()
    control.sendall(data)
    if request["trusted"]:
        verdict, detail = run_tests(request, ours.fileno(), time.monotonic() + request["wall"])
        tests = {"verdict": verdict, "detail": detail}
    else:
        tests = run_tests_apart(request, ours.fileno(), control)
    os.write(CONTROL, GONE if tests["verdict"] == "gone" else DONE)
    ours.close()
    candidate = receive(CONTROL)
    if candidate is None:
        sys.exit("the candidates' sandbox died")
    outcome, detail = judged(request, tests, candidate)
    return {
        "outcome": outcome,
        "detail": detail,
        "cpu": round(candidate["cpu"], 4),
        "memory_mb": round(candidate["memory_mb"], 1),
        "spent": candidate["spent"] or not sweep(os.environ["TMPDIR"]),
    }


def main(syscall_filter: str) -> None:
    """Serve the host until it closes the pipe, or a scratch directory cannot be emptied."""
    prepare(syscall_filter)
    forward_operators()
    control = socket.socket(fileno=CONTROL)
    ready = receive(CONTROL)
    if ready is None:
        sys.exit("the candidates' sandbox did not start")
    send(HOST_OUT, ready)
    settle()
    gc.enable()  # trusted tests leave their garbage here
    while (request := receive(HOST_IN)) is not None:
        reply = serve_one(request, control)
        send(HOST_OUT, reply)
        if reply["spent"]:
            return
