"""The server in which candidates run: forks a warm interpreter per program, and says what became of it.

Runs inside the sandbox. A child gets the program's source and one end of the boundary, and does what the tests, in
another sandbox, ask of it. Tests never reach this server. Nothing a child says is believed here: exit status, CPU time
and memory come from the kernel.
"""

import json
import os
import socket
import sys
from typing import Any, NoReturn

from hornbook.sandbox.boundary import Peer, ReferenceTo, ask, held
from hornbook.sandbox.values import BASES, reduce_to_base, safe_text
from hornbook.sandbox.warm import (
    CONTROL,
    GONE,
    WARM_RUNS,
    bury,
    children_cpu,
    fork_program,
    limit,
    prepare,
    read_exactly,
    reap,
    send,
    settle,
    sweep,
    wait_for,
)

DYING_SECONDS = 0.2  # a process closes its descriptors before the kernel says that it is dead
MODULE = "candidate"


def operators() -> dict[str, Any]:
    """What can be done to an object of the candidate's, by name."""
    import operator

    found = {name: function for name, function in vars(operator).items() if not name.startswith("_")}
    found |= {f"reflected_{name}": swapped(function) for name, function in list(found.items())}
    found["reflected_divmod"] = swapped(divmod)
    found["isinstance_of"] = swapped(isinstance)
    found["issubclass_of"] = swapped(issubclass)
    for call in (len, bool, str, repr, hash, iter, int, float, complex, bytes, round, format, reversed, divmod, dir):
        found[call.__name__] = call
    for name in ("__enter__", "__exit__"):
        found[name] = lambda thing, *args, name=name: getattr(type(thing), name)(thing, *args)
    for name in ("send", "throw", "close"):
        found[name] = lambda thing, *args, name=name: getattr(thing, name)(*args)
    found["run"] = run_coroutine
    found["base"] = lambda thing: [reduce_to_base(thing)] if isinstance(thing, BASES) else []
    return found


def run_coroutine(coroutine: Any) -> Any:
    """What a coroutine gives."""
    import asyncio

    return asyncio.run(coroutine)


def swapped(function: Any) -> Any:
    """A function of two arguments with its arguments the other way round."""
    return lambda one, other: function(other, one)


class Candidate:
    """What the tests may ask of a program that has run."""

    def __init__(self, namespace: dict[str, Any], objects: bool) -> None:
        self.namespace, self.objects = namespace, objects
        self.operators: dict[str, Any] = {}  # made when first needed: most programs never do

    def serve(self, verb: str, thing: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Carry out one request; `thing` is an object held, or a global name."""
        if type(thing) is str:
            if thing not in self.namespace:
                raise NameError(f"name '{thing}' is not defined")
            thing = self.namespace[thing]
        if verb == "call":
            return thing(*args, **kwargs)
        if verb == "next":
            return next(thing)
        if verb == "look":
            return thing
        if verb == "get":
            return getattr(thing, *args)
        if verb == "set":
            return setattr(thing, *args)
        if verb == "del":
            return delattr(thing, *args)
        self.operators = self.operators or operators()
        return self.operators[verb](thing, *args)

    def kind_of(self, value: Any) -> str:
        """As what a value crosses that is no plain data."""
        kind = type(value)
        if isinstance(value, type):
            return "object" if self.objects else "function"
        if kind is type(sys):
            return "module"
        if self.objects and kind.__module__ == MODULE:
            return "object"
        if kind.__name__ in ("generator", "coroutine") and kind.__module__ == "builtins":
            return kind.__name__
        if hasattr(kind, "__next__"):
            return "iterator"
        if callable(value):
            return "function"
        return "object" if self.objects and not isinstance(value, BASES) else ""

    def truth_of(self, value: Any) -> bool:
        """All that crosses of any other value."""
        return bool(value)

    def stand_in(self, peer: Peer, number: int, kind: str, name: str) -> Any:
        """A function or an iterator of the tests, as a program sees it."""
        return {"function": VisitingFunction, "iterator": VisitingIterator, "token": ReferenceTo}[kind](
            peer, number, name
        )

    def known_class(self, name: str) -> Any:
        """The program's class of a name."""
        found = self.namespace.get(name)
        return found if isinstance(found, type) else None


class VisitingFunction(ReferenceTo):
    """A function of the tests."""

    def __init__(self, peer: Peer, number: int, name: str) -> None:
        super().__init__(peer, number, name)
        self.__name__ = self.__qualname__ = name

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        peer, number, _ = held(self)
        return peer.ask("call", number, args, kwargs)


class VisitingIterator(ReferenceTo):
    """An iterator of the tests."""

    def __iter__(self) -> "VisitingIterator":
        return self

    def __next__(self) -> Any:
        return ask(self, "next")


def run_program(request: Any, handle: int) -> NoReturn:
    """In the child: run the source, then do what the tests ask, until they hang up."""
    leave = os._exit  # as it is now: the program may replace it
    module = type(sys)(MODULE)
    sys.modules[MODULE] = module
    namespace = module.__dict__
    peer = Peer(handle, Candidate(namespace, request["objects"]))
    run, dispatch = exec, peer.answer
    try:
        limit(request)
        try:
            run(compile(request["source"], "<program>", "exec"), namespace)
            peer.write(["ready"])
        except BaseException as error:
            kind, text = type(error).__name__, safe_text(error)
            peer.write(["broken", f"{kind}: {text[:2000]}" if text else kind])
            leave(0)
        while True:
            _, *asked = peer.read()
            dispatch(*asked)
    finally:
        leave(0)


def serve_one(control: socket.socket) -> bool:
    """Run one program until the judge has done with it; False where the server cannot go on."""
    header, handles, _, _ = socket.recv_fds(control, 4, 1)
    if len(header) < 4:
        return False  # the judge has gone
    request = json.loads(read_exactly(CONTROL, int.from_bytes(header, "big")))
    pid = fork_program()
    if pid == 0:
        os.dup2(handles[0], CONTROL)
        os.close(handles[0])
        run_program(request, CONTROL)
    os.close(handles[0])
    spent_before = children_cpu()
    ended = True
    if read_exactly(CONTROL, 1) == GONE:  # the boundary broke: let the program die of whatever it is dying of
        death = os.pidfd_open(pid)
        ended = wait_for(death, DYING_SECONDS, CONTROL)
        os.close(death)
    bury(pid)
    _, status, usage = os.wait4(pid, 0)
    reap()
    clean = sweep(os.environ["TMPDIR"])
    cpu = children_cpu() - spent_before  # of all processes the program made, for an orphan is reaped here
    memory_mb = usage.ru_maxrss / 1024
    send(CONTROL, {"ended": ended, "status": status, "cpu": cpu, "memory_mb": memory_mb, "spent": not clean})
    return clean


def warm_up() -> None:
    """Answer requests as a program's child will, so that no child is the first to."""
    ours, theirs = socket.socketpair()
    candidate = Candidate({"double": lambda items: [2 * item for item in items]}, objects=False)
    other, peer = Peer(theirs.fileno(), candidate), Peer(ours.fileno(), candidate)
    for turn in range(WARM_RUNS):
        other.write(["ask", turn, "call", "double", [[1, 2]], {}])
        _, *asked = peer.read()
        peer.answer(*asked)
        other.read()


def main(syscall_filter: str) -> None:
    """Serve the judge until it hangs up, or the scratch directory cannot be emptied."""
    prepare(syscall_filter)
    control = socket.socket(fileno=CONTROL)
    warm_up()
    send(CONTROL, {"ready": sys.version.split()[0]})
    settle()
    while serve_one(control):
        pass
