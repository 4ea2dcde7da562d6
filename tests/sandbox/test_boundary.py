"""What crosses arrives equal and of the same type; what does not is no plain data; nothing hostile gets further."""

import collections
import datetime
import decimal
import fractions
import json
import math
import socket
import threading
from collections import Counter, OrderedDict, deque, namedtuple
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornbook.sandbox.boundary import MESSAGE_BYTES, Crossing, GoneError, Peer, RefusedError
from hornbook.sandbox.values import KNOWN_MODULES, Opaque

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


class Plain:
    """A host that holds functions and nothing else."""

    def __init__(self, serve: Any = None) -> None:
        self.answers = serve

    def serve(self, verb: str, thing: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return self.answers(thing, *args)

    def kind_of(self, value: Any) -> str:
        return "function" if callable(value) else ""

    def truth_of(self, value: Any) -> bool:
        return bool(value)

    def stand_in(self, peer: Peer, number: int, kind: str, name: str) -> Any:
        return lambda *args: peer.ask("call", number, args)

    def known_class(self, name: str) -> Any:
        return None


def peer(handle: int = -1, serve: Any = None) -> Peer:
    return Peer(handle, Plain(serve))


def across(value: Any) -> Any:
    packed = json.loads(json.dumps(peer().pack(value, Crossing())))
    return peer().unpack(packed, Crossing())


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


def test_data_nested_too_deeply_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RefusedError, match="nested too deeply"):
        peer().pack(deep, Crossing())


def test_one_object_met_twice_stays_one() -> None:
    row = [0]
    grid, table = across([[row, row], {"row": row}])
    assert grid[0] is grid[1] is table["row"]
    endless: list[Any] = [1]
    endless.append(endless)
    arrived = across(endless)
    assert arrived[1] is arrived
    default = collections.defaultdict(list, {"a": [1]})
    arrived = across((default, default["a"]))
    assert arrived[0]["a"] is arrived[1]
    assert arrived[0]["new"] == []


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_any_graph_of_lists_keeps_its_shape(edges: list[int]) -> None:
    nodes: list[list[Any]] = [[i] for i in range(len(edges))]
    for node, edge in zip(nodes, edges, strict=True):
        node.append(nodes[edge % len(nodes)])
    arrived = across(nodes)
    for node, edge in zip(arrived, edges, strict=True):
        assert node[1] is arrived[edge % len(nodes)]
        assert node[0] == arrived.index(node)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(list("tdifsbBcnxyrovaqmeECOD")) | st.text(max_size=2), inner, max_size=2)
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


def call(function: Any, *args: Any) -> Any:
    """`function(*args)` with the boundary between."""
    ours, theirs = socket.socketpair()
    near, far = (
        peer(ours.fileno(), lambda thing, *args: thing(*args)),
        peer(theirs.fileno(), lambda _, *a: function(*a)),
    )

    def answer() -> None:
        _, *asked = far.read()
        far.answer(*asked)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        return near.ask("call", "function", args)
    finally:
        thread.join()
        ours.close()
        theirs.close()


def test_what_changes_in_place_changes_here() -> None:
    def change(items: list[Any], table: dict[str, Any], seen: set[int], queue: deque[int], count: Counter[str]) -> Any:
        items[0].append(3)
        items.append(items)
        table.pop("old")
        table["new"] = items[0]
        seen.discard(1)
        queue.rotate(1)
        count.update("ab")
        return items[0]

    items, inner = [[1, 2]], None
    inner = items[0]
    table, seen, queue, count = {"old": 1}, {1, 2}, deque([1, 2, 3]), Counter("a")
    result = call(change, items, table, seen, queue, count)
    assert result is inner is items[0] is table["new"]
    assert inner == [1, 2, 3]
    assert items[1] is items
    assert list(table) == ["new"]
    assert (seen, queue, count) == ({2}, deque([3, 1, 2]), Counter("aab"))


def test_both_ends_call_each_other() -> None:
    def apply(items: list[Any], function: Any) -> list[Any]:
        items[:] = [function(item) for item in items]
        return items

    items = [[1], [2, 3]]
    assert call(apply, items, lambda item: [2 * x for x in item]) is items
    assert items == [[2], [4, 6]]


class TooLowError(ValueError):
    def __init__(self, least: int, found: int) -> None:
        super().__init__(found)
        self.least = least

    def __str__(self) -> str:
        return f"{self.args[0]} is below {self.least}"


def test_exceptions_keep_what_they_say_and_what_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN_MODULES, "json.decoder", json.decoder)

    def fail(items: list[int]) -> None:
        items.clear()
        try:
            {}["key"]
        except KeyError as error:
            raise TooLowError(3, 1) from error

    items = [1]
    with pytest.raises(ValueError, match="1 is below 3") as caught:
        call(fail, items)
    assert type(caught.value).__name__ == "TooLowError"
    assert caught.value.args == (1,)
    assert vars(caught.value)["least"] == 3
    assert isinstance(caught.value.__cause__, KeyError)
    assert items == []
    with pytest.raises(FileNotFoundError, match="No such file"):
        call(lambda: open("/nowhere/at/all"))  # noqa: SIM115
    with pytest.raises(json.JSONDecodeError):
        call(lambda: json.loads("{"))


def test_a_stop_iteration_does_not_end_a_loop_of_the_tests() -> None:
    def stop() -> None:
        raise StopIteration

    with pytest.raises(RuntimeError, match="raised StopIteration"):
        call(stop)
