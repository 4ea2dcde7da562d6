"""What crosses arrives equal and of the same type; what does not is no plain data; nothing hostile gets further."""

import datetime
import decimal
import fractions
import json
import math
import os
import socket
import threading
from collections import Counter, OrderedDict, deque, namedtuple
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornbook.sandbox.boundary import MESSAGE_BYTES, GoneError, Opaque, Peer, RefusedError, find_exception

Point = namedtuple("Point", ["x", "y"])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.integers(-(2**400), 2**400) | st.floats() | st.complex_numbers()
    | st.text() | st.binary() | st.binary().map(bytearray) | st.dates() | st.datetimes() | st.timedeltas() | st.times()
    | st.decimals(allow_nan=False) | st.fractions() | st.just(...)
)  # fmt: skip
KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.sets(KEYS)
        | st.frozensets(KEYS)
        | st.lists(inner).map(deque)
        | st.tuples(inner, inner).map(lambda pair: Point(*pair))
    ),
    max_leaves=20,
)


def peer(handle: int = -1, serve: Any = None) -> Peer:
    made: dict[str, Any] = {}
    return Peer(
        handle,
        serve or (lambda verb, thing, args, kwargs: None),
        lambda value: "function" if callable(value) else "",
        bool,
        lambda peer, number, kind, name: (kind, number, name),
        lambda *what: find_exception({}, made, *what),
    )


def across(value: Any) -> Any:
    return peer().unpack(json.loads(json.dumps(peer().pack(value))))


def same(one: Any, other: Any) -> bool:
    """Equal, with the same types all the way down, and NaN equal to itself."""
    fields = getattr(one, "_fields", None)
    if type(one) is not type(other) and (fields is None or fields != getattr(other, "_fields", None)):
        return False
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, list | tuple | deque):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, set | frozenset):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    return bool(one == other)


@given(VALUES)
def test_plain_data_arrives_as_it_was(value: Any) -> None:
    assert same(across(value), value)


@pytest.mark.parametrize(
    "value",
    [
        Counter("abca"), OrderedDict([("b", 1), ("a", 2)]), deque([1], 3), range(2, 9, 3), slice(1, None, 2),
        True, 10**5000, -(2**64), 0.1 + 0.2, "\ud800", "\0", int, list, type(None), ValueError, NotImplementedError,
        [1, True, 1.0], {1: "a", "1": "b", None: "c", (1, 2): "d"}, decimal.Decimal("1.10"), fractions.Fraction(1, 3),
        datetime.datetime(2024, 2, 29, 12, 0, tzinfo=datetime.UTC), Point(1, [2]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_each_kind_of_value_keeps_its_type(value: Any) -> None:
    assert same(across(value), value)


def test_views_of_dicts_arrive_as_views() -> None:
    table = {"a": 1, "b": 2}
    assert across(table.keys()) == {"a", "b"}
    assert across(table.items()) == table.items()
    assert list(across(table.values())) == [1, 2]


def test_a_subclass_arrives_as_its_contents() -> None:
    class Liar(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    class Shifty(list):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[int]:
            return iter([1, 2, 3])

    class Named(str):
        def __str__(self) -> str:
            return "another"

    class Default(dict):  # type: ignore[type-arg]
        def items(self) -> Any:
            return [("forged", 1)]

    for value, contents in ((Liar(3), 3), (Shifty([9]), [9]), (Named("own"), "own"), (Default(a=1), {"a": 1})):
        arrived = across(value)
        assert type(arrived) is type(contents)
        assert arrived == contents


def test_of_other_objects_only_their_truth_arrives() -> None:
    class Equal:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    arrived = across([Equal(), object()])
    assert all(type(value) is Opaque and value for value in arrived)
    assert arrived[0] != 1
    assert arrived[0] != arrived[1]
    assert repr(arrived[0]) == "<Equal of the program's>"


def test_data_nested_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RefusedError, match="nested too deeply"):
        peer().pack(endless)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(list("tdifsbBcnxyrovaq")) | st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=12,
)
REPLIES = st.tuples(st.sampled_from(["done", "raised", "refused", "ask", "x"]), st.integers(0, 2), JSON, JSON) | JSON


@given(st.lists(REPLIES, max_size=4))
def test_whatever_the_other_side_says_is_a_value_an_exception_or_the_end(replies: list[Any]) -> None:
    """No reply gets further than `ask`: a fuzz of shapes near the true ones."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for reply in replies:
            data = json.dumps(reply).encode()
            theirs.sendall(len(data).to_bytes(4, "big") + data)
        theirs.shutdown(socket.SHUT_WR)
        end = peer(ours.fileno())
        try:
            end.ask("call", "f", ([1],))
        except (GoneError, RefusedError):
            what = "candidate"
            assert end.failure
            with pytest.raises(GoneError):
                end.ask("call", "f")
        except Exception as error:
            what = type(error).__module__
        else:
            what = "candidate"
        assert what in ("builtins", "candidate")


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"\xff\xff\xff\xff", "too large"),
        ((MESSAGE_BYTES + 1).to_bytes(4, "big"), "too large"),
        (b"\0\0\0\2{]", "no message"),
        (b"\0\0\0\1\xff", "no message"),
        (b"\0\1\x86\xa0" + b"[" * 100_000, "no message"),
        (b"\0\0\0\5[1,2", "has ended"),
        (b"", "has ended"),
    ],
    ids=range(7),
)
def test_a_broken_frame_is_the_end(frame: bytes, why: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(frame)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(GoneError, match=why):
            peer(ours.fileno()).read()


def test_both_ends_call_each_other_and_mutations_come_back() -> None:
    """One end asks the other to apply a function of its own to a list in place."""
    ours, theirs = socket.socketpair()

    def serve(verb: str, thing: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        items, (_, number, _) = args
        for i, item in enumerate(items):
            items[i] = far.ask("call", number, (item,))
        return items

    near = peer(ours.fileno(), lambda verb, thing, args, kwargs: thing(*args))
    far = peer(theirs.fileno(), serve)

    def answer() -> None:
        _, turn, verb, target, args, kwargs = far.read()
        far.answer(turn, verb, target, args, kwargs)

    thread = threading.Thread(target=answer)
    thread.start()
    items = [[1], [2, 3]]
    inner = items[0]
    result = near.ask("call", "apply", (items, lambda item: [2 * x for x in item]))
    thread.join()
    assert result is items
    assert items == [[2], [4, 6]]
    assert items[0] is inner
    os.close(ours.detach())
    os.close(theirs.detach())
