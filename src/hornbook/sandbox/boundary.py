"""Plain data between two processes that do not trust each other: the candidate's, and that of the tests.

Runs inside the sandbox, at both ends, and imports nothing of the rest of the project. A message is a 4-byte big-endian
length and JSON. Numbers, strings, the built-in containers and a few value types of the standard library cross as they
are, with exact types: what arrives is built anew from the contents, so a subclass of `int` that lies about equality
arrives as the number it holds. Within one call and its answer a container crosses once, however often it is met: what
changes in place changes on the other side, and what is one object here is one object there.

Functions and iterators cross as references: calling one here asks the other side. Other objects cross, as references
too, only where a program declares that its tests need them (`objects`); what they say of themselves, when compared with
each other for example, is then computed on the candidate's side. Elsewhere all that crosses of them is whether they are
true, which a program could say as well by returning True.
"""

import _thread
import json
import os
from typing import Any, Protocol

from hornbook.sandbox.values import (
    BASES,
    CONTAINERS,
    EMPTY,
    NAMED,
    SCALARS,
    SMALL,
    TYPES,
    Opaque,
    arguments_of,
    changed,
    describe_exception_class,
    find_exception_class,
    put_together,
    reduce_to_base,
    refill,
    revive,
    safe_name,
    safe_text,
    snapshot,
    take_apart,
)

MESSAGE_BYTES = 16 << 20  # of one message: more than any test needs, less than the memory limit
READ_BYTES = 4096


class RefusedError(BaseException):
    """A value that may not cross. Not an Exception: no `except` of a test may take it for the candidate's own error."""


class GoneError(BaseException):
    """The other side has ended, closed the boundary, or sent what is no message of its turn."""


class ReferenceTo:
    """Something the other side holds under a number, or by a global name."""

    def __init__(self, peer: "Peer", number: Any, name: str) -> None:
        object.__setattr__(self, "_held", (peer, number, name))

    def __repr__(self) -> str:
        return f"<{held(self)[2]}>"


def held(thing: ReferenceTo) -> tuple["Peer", Any, str]:
    """Where a reference leads: the peer that holds the thing, its number there or global name, what it is called."""
    return object.__getattribute__(thing, "_held")  # type: ignore[no-any-return]


def ask(thing: ReferenceTo, verb: str, *args: Any) -> Any:
    """Have something done to a thing that the other side holds."""
    peer, number, _ = held(thing)
    return peer.ask(verb, number, args)


class Host(Protocol):
    """What one end does for the other."""

    def serve(self, verb: str, thing: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Do what the other side asks of something held here, or of a global name."""

    def kind_of(self, value: Any) -> str:
        """As what a value crosses by reference that is no plain data; empty where it does not."""

    def truth_of(self, value: Any) -> bool:
        """What crosses of any other value."""

    def stand_in(self, peer: "Peer", number: int, kind: str, name: str) -> Any:
        """What stands here for something held there."""

    def known_class(self, name: str) -> Any:
        """The class this side knows by a name, if it knows one; both sides may know the prompt's."""


class Crossing:
    """The containers of one call and its answer, numbered in the order in which they crossed."""

    def __init__(self) -> None:
        self.containers: list[Any] = []
        self.numbers: dict[int, int] = {}

    def add(self, container: Any) -> Any:
        """Number a container, which this keeps alive so that its id stays its own."""
        self.numbers[id(container)] = len(self.containers)
        self.containers.append(container)
        return container

    def forget(self, count: int) -> None:
        """Unnumber all but the first `count`: what they were part of does not cross."""
        for container in self.containers[count:]:
            del self.numbers[id(container)]
        del self.containers[count:]


class Peer:
    """One end of the boundary."""

    def __init__(self, handle: int, host: Host) -> None:
        self.handle, self.host = handle, host
        self.things: list[Any] = []  # what the other side refers to by number
        self.thing_numbers: dict[int, int] = {}  # id → number
        self.stand_ins: dict[Any, Any] = {}  # one for each of the other side's things
        self.made: dict[str, Any] = {}  # exception classes that only the other side knows
        self.unread = b""
        self.lock = _thread.RLock()  # threads take turns: a call and all it leads to, then the next
        self.failure = ""  # why nothing can cross any more: kept, whatever a test makes of the exception
        self.gone = False  # the other side has ended or closed the boundary

    # -- messages

    def write(self, message: Any) -> None:
        """Send one message. Raises RefusedError, with nothing sent, where it is too large."""
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
            try:
                part = os.read(self.handle, max(READ_BYTES, min(count - have, 1 << 20)))
            except OSError:
                part = b""
            if not part:
                raise self.ended()
            parts.append(part)
            have += len(part)
        self.unread = b"".join(parts)

    def broken(self, what: str) -> GoneError:
        """The exception for a boundary that is broken for good."""
        self.failure = self.failure or what
        return GoneError(self.failure)

    def ended(self) -> GoneError:
        """The exception for a boundary that the other side closed."""
        self.gone = not self.failure
        return self.broken("the program has ended")

    # -- asking and answering

    def ask(self, verb: str, target: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Have the other side do something, and give what came of it or raise what it raised."""
        with self.lock:
            if self.failure:
                raise GoneError(self.failure)
            crossing = Crossing()
            packed = [self.pack(value, crossing) for value in args]
            keyed = {name: self.pack(value, crossing) for name, value in (kwargs or {}).items()}
            turn = int.from_bytes(os.urandom(4), "big")  # no answer can be sent before it is asked for
            self.write(["ask", turn, verb, target, packed, keyed])
            while True:
                message = self.read()
                try:
                    if message[0] == "ask":
                        _, *request = message
                    else:
                        return self._take_reply(message, turn, crossing)
                except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError):
                    raise self.broken("the program spoke out of turn") from None
                except Raised as raised:
                    error = raised.error
                    break
                self.answer(*request)
        if isinstance(error, StopIteration | StopAsyncIteration) and verb not in ("next", "send", "throw"):
            # It would end a loop of the tests', and nobody would see that they ended early.
            told = RuntimeError(f"the program raised {type(error).__name__}")
            told._text = str(told)  # type: ignore[attr-defined]  # the mark of what the other side raised
            raise told from error
        raise error

    def _take_reply(self, message: Any, turn: int, crossing: Crossing) -> Any:
        kind, number, *rest = message
        if number != turn:
            raise ValueError(number)
        if kind == "refused":
            raise RefusedError(str(self.broken(str(rest[0]))))
        content, changes = rest
        for index, now in changes:
            container = crossing.containers[index]
            refill(container, self._content(container, now, crossing))
        if kind == "done":
            return self.unpack(content, crossing)
        if kind != "raised":
            raise ValueError(kind)
        if content["leaves"]:
            raise self.broken(f"{content['class'][0]}: {content['text']}")
        raise Raised(self._unpack_exception(content, crossing))

    def answer(self, turn: int, verb: str, target: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Do what the other side asks, and say what came of it and what it changed."""
        crossing = Crossing()
        before: list[Any] = []
        try:
            try:
                values = [self.unpack(value, crossing) for value in args]
                keyed = {name: self.unpack(value, crossing) for name, value in kwargs.items()}
                before = list(map(snapshot, crossing.containers))
                thing = self.things[target] if type(target) is int else target
                value = self.host.serve(verb, thing, values, keyed)
                changes = self._changes(before, crossing)
                reply = ["done", turn, self.pack(value, crossing), changes]
            except Exception as error:
                changes = self._changes(before, crossing)
                reply = ["raised", turn, self._pack_exception(error, crossing), changes]
        except GoneError:
            raise
        except RefusedError as refused:
            reply = ["refused", turn, str(refused)]
        except BaseException as error:
            reply = ["raised", turn, self._pack_exception(error, crossing), []]
        with self.lock:
            try:
                self.write(reply)
            except RefusedError as refused:
                self.write(["refused", turn, str(refused)])

    def _changes(self, before: list[Any], crossing: Crossing) -> list[Any]:
        """The contents of every container that is no longer as it came."""
        found = [(i, crossing.containers[i]) for i, held_before in enumerate(before)
                 if changed(crossing.containers[i], held_before)]  # fmt: skip
        return [[i, self._contents(container, crossing)] for i, container in found]

    # -- values

    def pack(self, value: Any, crossing: Crossing) -> Any:
        """A value as JSON can hold it. Raises RefusedError for what may not cross."""
        count = len(crossing.containers)
        try:
            return self._pack(value, crossing)
        except RecursionError:
            crossing.forget(count)
            raise RefusedError("data that is nested too deeply") from None
        except RefusedError:
            crossing.forget(count)
            raise

    def _pack(self, value: Any, crossing: Crossing) -> Any:
        kind = type(value)
        if kind in SCALARS:
            return value
        if kind is int:
            return value if -SMALL < value < SMALL else {"i": hex(value)}
        mark = CONTAINERS.get(kind)
        if mark:
            number = crossing.numbers.get(id(value))
            if number is not None:
                return {"m": number}
            crossing.add(value)
            if mark == "l":
                return [self._pack(item, crossing) for item in value]
            extra = value.maxlen if mark == "q" else None
            if mark == "D":
                extra = self._pack(value.default_factory, crossing)
            return {mark: [extra, self._contents(value, crossing)]}
        if kind is tuple or kind is frozenset:
            return {"t" if kind is tuple else "f": [self._pack(item, crossing) for item in value]}
        if kind is bytes:
            return {"b": value.hex()}
        if kind is complex:
            return {"c": [value.real, value.imag]}
        if isinstance(value, ReferenceTo):
            return {"o": held(value)[1]}
        return self._pack_other(value, kind, crossing)

    def _contents(self, container: Any, crossing: Crossing) -> Any:
        if isinstance(container, bytearray):
            return container.hex()
        if isinstance(container, dict):
            return [[self._pack(key, crossing), self._pack(item, crossing)] for key, item in container.items()]
        return [self._pack(item, crossing) for item in container]

    def _pack_other(self, value: Any, kind: type, crossing: Crossing) -> Any:
        if isinstance(value, type) and value in NAMED:
            return {"y": NAMED[value]}
        if isinstance(value, type) and issubclass(value, BaseException):
            return {"E": describe_exception_class(value)}
        if isinstance(value, BaseException):
            return {"e": self._pack_exception(value, crossing)}
        if "_member_map_" in vars(kind) and isinstance(value.name, str):
            return {"n": [kind.__name__, value.name, self._pack_member(value, crossing)]}
        taken = take_apart(value)
        if taken is not None:
            name, arguments = taken
            return {"x": [name, [self._pack(argument, crossing) for argument in arguments]]}
        reference = self._by_reference(value, crossing)
        if reference:
            return reference
        if not isinstance(value, BASES):
            return {"v": [kind.__name__, self.host.truth_of(value)]}
        return self._pack(reduce_to_base(value), crossing)

    def _by_reference(self, value: Any, crossing: Crossing) -> Any:
        """A value as a number under which the other side may speak of it; None where the host does not want that."""
        as_kind = self.host.kind_of(value)
        if not as_kind:
            return None
        number = self.thing_numbers.setdefault(id(value), len(self.things))
        if number == len(self.things):
            self.things.append(value)
        return {"r": [number, as_kind, safe_name(value)]}

    def _pack_member(self, value: Any, crossing: Crossing) -> Any:
        """A member of an enumeration, for where the enumeration is not known."""
        if isinstance(value, BASES):
            return self._pack(reduce_to_base(value), crossing)
        return self._by_reference(value, crossing) or {"v": [type(value).__name__, bool(value)]}

    def _pack_exception(self, error: BaseException, crossing: Crossing) -> dict[str, Any]:
        def if_it_crosses(value: Any) -> Any:
            try:
                return self.pack(value, crossing)
            except RefusedError:
                return safe_text(value)

        cause = error.__cause__
        return {
            "class": describe_exception_class(type(error)),
            "args": [if_it_crosses(argument) for argument in arguments_of(error)],
            "text": safe_text(error),
            "state": {name: if_it_crosses(value) for name, value in vars(error).items()},
            "cause": None if cause is None or cause is error else self._pack_exception(cause, crossing),
            "leaves": not isinstance(error, Exception),
        }

    def unpack(self, packed: Any, crossing: Crossing) -> Any:
        """The value that was packed. Raises ValueError, TypeError or KeyError for what is no such thing."""
        kind = type(packed)
        if kind is list:
            items = crossing.add([])
            items.extend([self.unpack(item, crossing) for item in packed])
            return items
        if kind is not dict:
            return packed
        ((mark, content),) = packed.items()
        if mark in EMPTY:
            extra, contents = content
            number = len(crossing.containers)
            crossing.containers.append(None)  # its number, before those of what it holds
            container = EMPTY[mark](self.unpack(extra, crossing))
            crossing.containers[number] = container
            crossing.numbers[id(container)] = number
            refill(container, self._content(container, contents, crossing))
            return container
        if mark in ("t", "f"):
            return (tuple if mark == "t" else frozenset)([self.unpack(item, crossing) for item in content])
        if mark == "m":
            return crossing.containers[content]
        if mark == "i":
            return int(content, 16)
        if mark == "b":
            return bytes.fromhex(content)
        if mark == "c":
            return complex(*content)
        if mark == "y":
            return TYPES[content]
        return self._unpack_other(mark, content, crossing)

    def _content(self, container: Any, packed: Any, crossing: Crossing) -> Any:
        """What a container is to be filled with."""
        if isinstance(container, bytearray):
            return bytes.fromhex(packed)
        if isinstance(container, dict):
            return [(self.unpack(key, crossing), self.unpack(item, crossing)) for key, item in packed]
        return [self.unpack(item, crossing) for item in packed]

    def _unpack_other(self, mark: str, content: Any, crossing: Crossing) -> Any:
        if mark == "o":
            return self.things[content] if type(content) is int else self.host.serve("look", content, [], {})
        if mark == "x":
            name, arguments = content
            return put_together(
                name, [self.unpack(argument, crossing) for argument in arguments], self.host.known_class
            )
        if mark == "v":
            name, truth = content
            return Opaque(str(name), bool(truth))
        if mark == "n":
            name, member, otherwise = content
            members = getattr(self.host.known_class(name), "_member_map_", {})
            instead = self.unpack(otherwise, crossing)
            return members.get(member, instead)
        if mark == "E":
            return find_exception_class(self.host.known_class, self.made, content)
        if mark == "e":
            return self._unpack_exception(content, crossing)
        if mark == "r":
            number, kind, name = content
            key = (int(number), str(kind))
            if key not in self.stand_ins:
                self.stand_ins[key] = self.host.stand_in(self, *key, str(name))
            return self.stand_ins[key]
        raise ValueError(mark)

    def _unpack_exception(self, packed: Any, crossing: Crossing) -> Exception:
        cls = find_exception_class(self.host.known_class, self.made, packed["class"])
        arguments = [self.unpack(argument, crossing) for argument in packed["args"]]
        state = {name: self.unpack(value, crossing) for name, value in packed["state"].items()}
        error = revive(cls, arguments, str(packed["text"]), state)
        if packed["cause"] is not None:
            error.__cause__ = self._unpack_exception(packed["cause"], crossing)
        return error


class Raised(Exception):  # noqa: N818 (it carries an error and is none)
    """What the other side raised, on its way out of the code that reads replies."""

    def __init__(self, error: Exception) -> None:
        self.error = error
