"""What stands in the tests for things that stay on the candidate's side: functions, iterators, objects.

Runs inside the sandbox, where the tests run.
"""

import opcode
import operator
import types
from typing import Any

from hornbook.sandbox.boundary import GoneError, ReferenceTo, RefusedError, ask, held

RAISE = opcode.opmap["RAISE_VARARGS"]
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
ARITHMETIC = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "or", "xor", "divmod")  # fmt: skip # noqa: E501
OTHER_OPERATORS = (
    *("neg", "pos", "abs", "invert", "contains", "getitem", "setitem", "delitem", "len", "bool", "str", "repr", "hash"),
    *("iter", "next", "int", "float", "complex", "bytes", "index", "round", "format", "reversed", "dir"),
)


class RemoteModule(ReferenceTo):
    """A module that the candidate imported: known by the name it was asked for, never by what it holds."""


class RemoteIterator(ReferenceTo):
    """An iterator of the candidate's; its items cross one at a time."""

    def __iter__(self) -> "RemoteIterator":
        return self

    def __next__(self) -> Any:
        return ask(self, "next")


class RemoteGenerator(RemoteIterator):
    """A generator of the candidate's."""

    __class__ = property(lambda self: types.GeneratorType)

    def send(self, value: Any) -> Any:
        """Resume it with a value."""
        return ask(self, "send", value)

    def throw(self, *error: Any) -> Any:
        """Resume it with an exception."""
        return ask(self, "throw", *error)

    def close(self) -> None:
        """End it."""
        ask(self, "close")


class RemoteCoroutine(RemoteGenerator):
    """A coroutine of the candidate's, which runs it to its end when it is awaited."""

    __class__ = property(lambda self: types.CoroutineType)

    def __await__(self) -> Any:
        return ask(self, "run")
        yield  # a generator that never waits

    def __next__(self) -> Any:
        raise StopIteration(ask(self, "run"))  # which is how every coroutine gives its result

    def send(self, value: Any) -> Any:
        """Run it to its end."""
        return next(self)


class RemoteFunction(ReferenceTo):
    """A function of the candidate's that came as a value: it can be called, and it has a name."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        peer, number, _ = held(self)
        return peer.ask("call", number, args, kwargs)

    @property
    def __name__(self) -> str:
        return held(self)[2]

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        return ask(self, "get", "__doc__")

    def __enter__(self) -> Any:  # what contextlib.contextmanager makes is callable too
        return ask(self, "__enter__")

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        return leave(self, kind, error)


class RemoteNamed(RemoteFunction):
    """A function that the tests know by its name, and so may look at its attributes."""

    def __getattr__(self, name: str) -> Any:
        return ask(self, "get", name)

    def __setattr__(self, name: str, value: Any) -> None:
        ask(self, "set", name, value)

    def __delattr__(self, name: str) -> None:
        ask(self, "del", name)


class RemoteObject(RemoteNamed):
    """An object or class of the candidate's. Attributes and operators are computed there, with plain results.

    Equality and order are asked only between two such objects. Beside plain data, an instance of a subclass of a
    built-in type is compared by what it holds; any other equals nothing.
    """

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, RemoteObject) and bool(ask(self, "isinstance_of", value))

    def __subclasscheck__(self, value: Any) -> bool:
        return isinstance(value, RemoteObject) and bool(ask(self, "issubclass_of", value))

    def __mro_entries__(self, bases: Any) -> Any:
        raise RefusedError("the tests derive a class from one of the program's, which cannot cross")


def leave(thing: ReferenceTo, kind: Any, error: Any) -> bool:
    """Leave a context of the candidate's. It may swallow what the tests raised by a `raise` of their own, and no more:
    a failed assert, what the candidate raised, or a failed operation on its results would end there, unseen."""
    try:
        suppressed = bool(ask(thing, "__exit__", kind, error, None))
    except GoneError:
        return False
    return suppressed and isinstance(error, Exception) and raised_on_purpose(error)


def raised_on_purpose(error: Exception) -> bool:
    """Whether a `raise` statement of the tests made an exception, and not in answer to another one."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None or not traceback.tb_frame.f_code.co_filename.startswith("<test "):
        return False
    told = hasattr(error, "_text") or isinstance(error, AssertionError)
    return not told and error.__context__ is None and traceback.tb_frame.f_code.co_code[traceback.tb_lasti] == RAISE


def forward_operators() -> None:
    """Give RemoteObject the special methods of every operator that the candidate's server knows."""

    def forward(verb: str) -> Any:
        return lambda self, *args: ask(self, verb, *args)

    def reflected(verb: str) -> Any:
        return lambda self, other: ask(self, f"reflected_{verb}", other)

    def compared(verb: str) -> Any:
        def compare(self: RemoteObject, other: Any) -> Any:
            if isinstance(other, RemoteObject):
                return ask(self, verb, other)
            base = ask(self, "base")
            return getattr(operator, verb)(base[0], other) if base else NotImplemented

        return compare

    for verb in COMPARISONS:
        setattr(RemoteObject, f"__{verb}__", compared(verb))
    for verb in ARITHMETIC:
        operation = {"and": "and_", "or": "or_"}.get(verb, verb)
        setattr(RemoteObject, f"__{verb}__", forward(operation))
        setattr(RemoteObject, f"__r{verb}__", reflected(operation))
    for verb in (*(f"i{verb}" for verb in ARITHMETIC if verb != "divmod"), *OTHER_OPERATORS):
        setattr(RemoteObject, f"__{verb}__", forward(verb))
