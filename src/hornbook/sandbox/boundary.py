"""Plain data between two processes that do not trust each other: the candidate's, and that of the tests.

Runs inside the sandbox, at both ends, and imports nothing of the rest of the project. A message is a 4-byte big-endian
length and JSON. Numbers, strings, the built-in containers and a few value types of the standard library cross as they
are, with exact types: what arrives is built anew from the contents, so a subclass of `int` that lies about equality
arrives as the number it holds. Functions and iterators cross as references: calling one here asks the other side. Other
objects cross, as references too, only where a program declares that its tests need them (`objects`); what they say of
themselves, when compared with each other for example, is then computed on the candidate's side. Elsewhere all that
crosses of them is whether they are true, which a program could say as well by returning True.
"""

import builtins
import collections
import contextlib
import json
import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any

MESSAGE_BYTES = 16 << 20  # of one message: more than any test needs, less than the memory limit
READ_BYTES = 4096
MUTABLE = (list, dict, set, bytearray, collections.deque)
BASES = (int, float, str, list, tuple, dict, set, frozenset, bytes, bytearray)
SCALARS = (type(None), bool, str, float)
SMALL = 1 << 64  # integers beyond it travel in base 16: converting decimals takes quadratic time
NAMED = {cls: cls.__name__ for cls in (*vars(builtins).values(), type(None)) if isinstance(cls, type)}
TYPES = {name: cls for cls, name in NAMED.items()}
VIEWS = {type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items"}


class RefusedError(BaseException):
    """A value that may not cross. Not an Exception: no `except` of a test may take it for the candidate's own error."""


class GoneError(BaseException):
    """The other side has ended, closed the boundary, or sent what is no message of its turn."""


class ReferenceTo:
    """Something the other side holds under a number."""

    def __init__(self, peer: "Peer", number: Any, name: str) -> None:
        object.__setattr__(self, "_held", (peer, number, name))

    def __repr__(self) -> str:
        return f"<{held(self)[2]}>"


def held(thing: ReferenceTo) -> tuple["Peer", Any, str]:
    """Where a reference leads: the peer that holds the thing, its number there or global name, what it is called."""
    return object.__getattribute__(thing, "_held")  # type: ignore[no-any-return]


class Opaque:
    """A value that did not cross: what is known of it is whether it is true. It equals nothing but itself."""

    def __init__(self, name: str, truth: bool) -> None:
        self.__name, self.__truth = name, truth

    def __bool__(self) -> bool:
        return self.__truth

    def __repr__(self) -> str:
        return f"<{self.__name} of the program's>"


class RemoteFunction(ReferenceTo):
    """A function of the other side."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        peer, number, _ = held(self)
        return peer.ask("call", number, args, kwargs)


class RemoteIterator(ReferenceTo):
    """An iterator of the other side; its items cross one at a time."""

    def __iter__(self) -> "RemoteIterator":
        return self

    def __next__(self) -> Any:
        peer, number, _ = held(self)
        return peer.ask("next", number)


class Peer:
    """One end of the boundary.

    `serve(verb, thing, args, kwargs)` does what the other side asks of something held here; `kind_of(value)` names the
    kind as which a value that is no plain data crosses by reference, or is empty; `truth_of(value)` is what crosses of
    the rest; `stand_in(number, kind, name)` makes what stands here for something held there.
    """

    def __init__(
        self,
        handle: int,
        serve: Callable[[str, Any, list[Any], dict[str, Any]], Any],
        kind_of: Callable[[Any], str],
        truth_of: Callable[[Any], bool],
        stand_in: Callable[["Peer", int, str, str], Any],
        exceptions: Callable[[str, str, str], type[BaseException]],
    ) -> None:
        self.handle, self.serve, self.kind_of, self.truth_of = handle, serve, kind_of, truth_of
        self.stand_in, self.exceptions = stand_in, exceptions
        self.held: list[Any] = []  # what the other side refers to by number
        self.turn = 0
        self.unread = b""
        self.deadline: float | None = None  # of the monotonic clock, after which nothing is waited for
        self.failure = ""  # why nothing can cross any more: kept, whatever a test makes of the exception
        self.verdict = "failed"  # what that failure means: also `gone`, `late`

    # -- messages

    def write(self, message: Any) -> None:
        """Send one message."""
        data = json.dumps(message).encode()
        if len(data) > MESSAGE_BYTES:
            raise RefusedError(f"more than {MESSAGE_BYTES >> 20} MB of data")
        data = len(data).to_bytes(4, "big") + data
        try:
            while data:
                data = data[os.write(self.handle, data) :]
        except OSError:
            raise self.ended() from None

    def read(self) -> Any:
        """The next message."""
        self._fill(4)
        size = int.from_bytes(self.unread[:4], "big")
        if size > MESSAGE_BYTES:
            raise self.broken("the program sent a message that is too large")
        self._fill(4 + size)
        data, self.unread = self.unread[4 : 4 + size], self.unread[4 + size :]
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise self.broken("the program sent what is no message") from None

    def _fill(self, count: int) -> None:
        """Read until at least `count` bytes are there. Mostly one call brings a whole message."""
        if len(self.unread) >= count:
            return
        parts, have = [self.unread], len(self.unread)
        while have < count:
            self._wait()
            try:
                part = os.read(self.handle, max(READ_BYTES, min(count - have, 1 << 20)))
            except OSError:
                part = b""
            if not part:
                raise self.ended()
            parts.append(part)
            have += len(part)
        self.unread = b"".join(parts)

    def _wait(self) -> None:
        """Wait for something to read, no longer than until the deadline."""
        if self.deadline is None:
            return
        poll = select.poll()
        poll.register(self.handle, select.POLLIN)
        if not poll.poll(max(0.0, self.deadline - time.monotonic()) * 1000):
            raise self.broken("the program does not answer", "late")

    def broken(self, what: str, verdict: str = "failed") -> GoneError:
        """The exception for a boundary that is broken for good."""
        if not self.failure:
            self.failure, self.verdict = what, verdict
        return GoneError(self.failure)

    def ended(self) -> GoneError:
        """The exception for a boundary that the other side closed."""
        return self.broken("the program has ended", "gone")

    # -- asking and answering

    def ask(self, verb: str, target: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Have the other side do something, and give what came of it or raise what it raised."""
        if self.failure:
            raise GoneError(self.failure)
        self.turn += 1
        turn = self.turn
        passed: dict[Any, Any] = {**dict(enumerate(args)), **(kwargs or {})}
        self.write(["ask", turn, verb, target, *self._packed_call(args, kwargs or {})])
        while True:
            message = self.read()
            try:
                kind, number, *rest = message
                if kind == "ask":
                    verb, target, args, kwargs = rest
                    self.answer(number, verb, target, args, kwargs)
                    continue
                if number != turn:
                    raise ValueError
                if kind == "done":
                    value, changes = rest
                    for key, now in changes:
                        assign(passed[key], self.unpack(now))
                    return passed[value["a"]] if type(value) is dict and "a" in value else self.unpack(value)
                if kind == "refused":
                    raise RefusedError(str(self.broken(str(rest[0]))))
                if kind != "raised":
                    raise ValueError
                name, module, base, arguments, leaves = rest
                if leaves:
                    raise self.broken(f"{name}: {', '.join(map(str, arguments))}")
                error = self.exceptions(str(name), str(module), str(base))
                arguments = [self.unpack(argument) for argument in arguments]
            except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
                raise self.broken("the program spoke out of turn") from None
            raise revive(error, arguments)

    def _packed_call(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return [self.pack(value) for value in args], {name: self.pack(value) for name, value in kwargs.items()}

    def answer(self, turn: int, verb: str, target: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Do what the other side asks, and say what came of it."""
        try:
            values = [self.unpack(value) for value in args]
            keyed = {name: self.unpack(value) for name, value in kwargs.items()}
            thing = self.held[target] if type(target) is int else target
            value = self.serve(verb, thing, values, keyed)
            before: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
            after: dict[Any, Any] = {**dict(enumerate(values)), **keyed}
            mutable = {key: value for key, value in after.items() if type(value) in MUTABLE}
            changes = [
                [key, now] for key, now_held in mutable.items() if differs(now := self.pack(now_held), before[key])
            ]
            alias = next((key for key, now_held in mutable.items() if now_held is value), None)
            reply = ["done", turn, self.pack(value) if alias is None else {"a": alias}, changes]
        except GoneError:
            raise
        except RefusedError as refused:
            reply = ["refused", turn, str(refused)]
        except BaseException as error:
            reply = self._raised(turn, error)
        try:
            self.write(reply)
        except RefusedError as refused:
            self.write(["refused", turn, str(refused)])

    def _raised(self, turn: int, error: BaseException) -> list[Any]:
        kind = type(error)
        base = next(cls.__name__ for cls in kind.__mro__ if cls in NAMED)
        try:
            arguments = [self.pack(argument) for argument in error.args]
        except BaseException:  # an argument that may not cross
            arguments = [safe_text(error)]
        leaves = not isinstance(error, Exception)
        return ["raised", turn, kind.__name__, kind.__module__, base, arguments, leaves]

    # -- values

    def pack(self, value: Any) -> Any:
        """A value as JSON can hold it. Raises RefusedError for what may not cross."""
        try:
            return self._pack(value)
        except RecursionError:
            raise RefusedError("data that is nested too deeply") from None

    def _pack(self, value: Any) -> Any:
        kind = type(value)
        if kind in SCALARS:
            return value
        if kind is int:
            return value if -SMALL < value < SMALL else {"i": hex(value)}
        if kind is list:
            return [self._pack(item) for item in value]
        if kind is tuple:
            return {"t": [self._pack(item) for item in value]}
        if kind is dict:
            return {"d": [[self._pack(key), self._pack(item)] for key, item in value.items()]}
        if kind is set or kind is frozenset:
            return {"s" if kind is set else "f": [self._pack(item) for item in value]}
        if kind is bytes or kind is bytearray:
            return {"b" if kind is bytes else "B": value.hex()}
        if kind is complex:
            return {"c": [value.real, value.imag]}
        if isinstance(value, ReferenceTo):
            return {"o": held(value)[1]}
        if kind is type and value in NAMED:
            return {"y": NAMED[value]}
        taken = take_apart(value)
        if taken is not None:
            name, arguments = taken
            return {"x": [name, [self._pack(argument) for argument in arguments]]}
        as_kind = self.kind_of(value)
        if as_kind:
            self.held.append(value)
            return {"r": [len(self.held) - 1, as_kind, safe_name(value)]}
        if not isinstance(value, BASES):
            return {"v": [kind.__name__, self.truth_of(value)]}
        return self._pack(reduce_to_base(value))

    def unpack(self, packed: Any) -> Any:
        """The value that was packed. Raises ValueError, TypeError or KeyError for what is no such thing."""
        kind = type(packed)
        if kind is list:
            return [self.unpack(item) for item in packed]
        if kind is not dict:
            return packed
        ((tag, content),) = packed.items()
        if tag in "tsf":
            return {"t": tuple, "s": set, "f": frozenset}[tag]([self.unpack(item) for item in content])
        if tag == "d":
            return {self.unpack(key): self.unpack(item) for key, item in content}
        if tag == "i":
            return int(content, 16)
        if tag in "bB":
            return (bytes if tag == "b" else bytearray).fromhex(content)
        if tag == "c":
            return complex(*content)
        if tag == "y":
            return TYPES[content]
        if tag == "o":
            return self.held[content] if type(content) is int else self.serve("look", content, [], {})
        if tag == "x":
            name, arguments = content
            return put_together(name, [self.unpack(argument) for argument in arguments])
        if tag == "v":
            name, truth = content
            return Opaque(str(name), bool(truth))
        if tag == "r":
            number, as_kind, name = content
            return self.stand_in(self, int(number), str(as_kind), str(name))
        raise ValueError(tag)


def differs(now: Any, before: Any) -> bool:
    """Whether a packed argument differs from what it was. Text, because True and 1 are equal and not the same."""
    return json.dumps(now) != json.dumps(before)


def take_apart(value: Any) -> tuple[str, list[Any]] | None:
    """A value of the standard library as its type's name and the plain arguments that make it again."""
    kind = type(value)
    if kind is range:
        return "range", [value.start, value.stop, value.step]
    if kind is slice:
        return "slice", [value.start, value.stop, value.step]
    if kind is collections.Counter:
        return "Counter", [dict(value)]
    if kind is collections.OrderedDict:
        return "OrderedDict", [dict(value)]
    if kind is collections.deque:
        return "deque", [list(value), value.maxlen]
    if kind is type(...):
        return "Ellipsis", []
    if kind in VIEWS:
        return VIEWS[kind], [list(value)]
    if isinstance(value, tuple) and tuple in kind.__bases__ and type(getattr(kind, "_fields", None)) is tuple:
        return "namedtuple", [kind.__name__, list(kind._fields), list(tuple.__iter__(value))]
    name = f"{kind.__module__}.{kind.__name__}"
    if name in ("datetime.date", "datetime.time", "datetime.datetime"):
        return name, [value.isoformat()]
    if name == "datetime.timedelta":
        return name, [value.days, value.seconds, value.microseconds]
    if name == "decimal.Decimal":
        return name, [str(value)]
    if name == "fractions.Fraction":
        return name, [value.numerator, value.denominator]
    return None


def put_together(name: str, arguments: list[Any]) -> Any:
    """The inverse of `take_apart`."""
    if name in ("range", "slice"):
        return (range if name == "range" else slice)(*arguments)
    if name in ("Counter", "OrderedDict"):
        (content,) = arguments
        if type(content) is not dict:
            raise TypeError(name)
        return getattr(collections, name)(content)
    if name == "deque":
        items, longest = arguments
        return collections.deque(items, longest)
    if name == "Ellipsis":
        return ...
    if name in VIEWS.values():
        (items,) = arguments
        if name == "values":
            return dict(enumerate(items)).values()
        return dict(items).items() if name == "items" else dict.fromkeys(items).keys()
    if name == "namedtuple":
        typename, fields, values = arguments
        return collections.namedtuple(typename, fields)(*values)
    module, _, kind = name.rpartition(".")
    if module == "datetime" and kind in ("date", "time", "datetime", "timedelta"):
        import datetime

        cls = getattr(datetime, kind)
        return cls(*arguments) if kind == "timedelta" else cls.fromisoformat(*arguments)
    if name == "decimal.Decimal":
        import decimal

        return decimal.Decimal(*arguments)
    if name == "fractions.Fraction":
        import fractions

        return fractions.Fraction(*arguments)
    raise ValueError(name)


def reduce_to_base(value: Any) -> Any:
    """The contents of an instance of a subclass of a built-in type, by that type's own methods."""
    if isinstance(value, int):
        return int.__pos__(value)
    if isinstance(value, float):
        return float.__pos__(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return list(list.__iter__(value))
    if isinstance(value, tuple):
        return tuple(tuple.__iter__(value))
    if isinstance(value, dict):
        return dict(dict.items(value))
    if isinstance(value, set):
        return set(set.__iter__(value))
    if isinstance(value, frozenset):
        return frozenset(frozenset.__iter__(value))
    if isinstance(value, bytes | bytearray):
        return (bytes if isinstance(value, bytes) else bytearray)(memoryview(value))
    raise TypeError(value)


def assign(target: Any, now: Any) -> None:
    """Make a container equal to `now` in place, keeping the containers inside that stay of their type."""
    if type(target) is not type(now):
        raise TypeError
    if isinstance(target, list):
        kept = [_merged(old, new) for old, new in zip(target, now, strict=False)]
        target[:] = kept + now[len(kept) :]
    elif isinstance(target, dict):
        merged = {key: _merged(target.get(key), value) for key, value in now.items()}
        target.clear()
        target.update(merged)
    elif isinstance(target, set):
        target.clear()
        target.update(now)
    elif isinstance(target, bytearray):
        target[:] = now
    elif isinstance(target, collections.deque):
        target.clear()
        target.extend(now)
    else:
        raise TypeError


def _merged(old: Any, new: Any) -> Any:
    if type(old) is type(new) and type(old) in MUTABLE:
        assign(old, new)
        return old
    return new


def revive(kind: type[BaseException], arguments: list[Any]) -> BaseException:
    """An exception of a kind with the given arguments, whatever its constructor would ask for."""
    if kind in NAMED:  # some keep more than their arguments
        with contextlib.suppress(TypeError):
            return kind(*arguments)
    error = kind.__new__(kind)
    error.args = tuple(arguments)
    return error


def find_exception(
    known: dict[str, Any], made: dict[str, Any], name: str, module: str, base: str
) -> type[BaseException]:
    """The exception class to raise for one of the other side's: a known one of that name, the standard library's, or a
    class of that name below its nearest built-in base, kept in `made` so that one name is one class."""
    found = known.get(name)
    if module == "builtins":
        found = TYPES.get(name)
    elif found is None and module in sys.stdlib_module_names and module in sys.modules:
        found = getattr(sys.modules[module], name, None)
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    if name not in made:
        above = TYPES[base]
        if not issubclass(above, Exception):
            raise ValueError(base)
        made[name] = type(name, (above,), {"__module__": "candidate"})
    return made[name]  # type: ignore[no-any-return]


def safe_text(value: Any) -> str:
    """Its text, even where its own `__str__` fails."""
    try:
        return str.__str__(str(value))
    except BaseException:
        return "(no message)"


def safe_name(value: Any) -> str:
    """The name of a function or class, or of a value's class."""
    try:
        name = value.__name__
    except BaseException:
        name = None
    return name if type(name) is str else type(value).__name__
