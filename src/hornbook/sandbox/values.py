"""Which values are plain data, and how each is taken apart and put together again.

Runs inside the sandbox, at both ends of the boundary, and imports nothing of the rest of the project. Everything here
reads a value by the methods of its built-in type, never by its own, so a subclass that lies is read as what it holds.
"""

import builtins
import collections
import contextlib
import operator
import sys
from collections.abc import Callable
from typing import Any

BASES = (int, float, str, list, tuple, dict, set, frozenset, bytes, bytearray)
SCALARS = (type(None), bool, str, float)
SMALL = 1 << 64  # integers beyond it travel in base 16: converting decimals takes quadratic time
NAMED = {cls: cls.__name__ for cls in (*vars(builtins).values(), type(None)) if isinstance(cls, type)}
TYPES = {name: cls for cls, name in NAMED.items()}
KNOWN_MODULES: dict[str, Any] = {}  # whose exception classes an exception may be resolved to; filled by the judge
VIEWS = {type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items"}
# What can change in place, and the mark under which it travels; a list is a list in JSON too.
CONTAINERS: dict[type, str] = {
    list: "l",
    dict: "d",
    set: "s",
    bytearray: "B",
    collections.deque: "q",
    collections.Counter: "C",
    collections.OrderedDict: "O",
    collections.defaultdict: "D",
}
EMPTY: dict[str, Callable[[Any], Any]] = {
    "d": lambda extra: {},
    "s": lambda extra: set(),
    "B": lambda extra: bytearray(),
    "q": lambda extra: collections.deque(maxlen=extra),
    "C": lambda extra: collections.Counter(),
    "O": lambda extra: collections.OrderedDict(),
    "D": collections.defaultdict,
}


class Opaque:
    """A value that did not cross: what is known of it is whether it is true. It equals nothing but itself."""

    def __init__(self, name: str, truth: bool) -> None:
        self.__name, self.__truth = name, truth

    def __bool__(self) -> bool:
        return self.__truth

    def __repr__(self) -> str:
        return f"<{self.__name} of the program's>"


def snapshot(container: Any) -> Any:
    """What a container holds, to tell later whether it changed."""
    if isinstance(container, dict):
        return list(container.items())
    return bytes(container) if isinstance(container, bytearray) else type(container)(container)


def changed(container: Any, before: Any) -> bool:
    """Whether a container holds other things, or in another order, than when the snapshot was taken."""
    if isinstance(container, bytearray | set):
        return bool(container != before)
    if len(container) != len(before):
        return True
    if isinstance(container, dict):
        pairs = zip(container.items(), before, strict=True)
        return not all(
            key is key_before and value is value_before for (key, value), (key_before, value_before) in pairs
        )
    return not all(map(operator.is_, container, before))


def refill(container: Any, content: Any) -> None:
    """Make a container hold `content` and nothing else: pairs for a dict, bytes for a bytearray, items for others."""
    if isinstance(container, dict):
        pairs = [(key, value) for key, value in content]
        container.clear()
        for key, value in pairs:  # not by update: a Counter would add
            container[key] = value
    elif isinstance(container, bytearray | list):
        container[:] = content
    elif isinstance(container, collections.deque):
        container.clear()
        container.extend(content)
    else:
        container.clear()
        container.update(content)


def take_apart(value: Any) -> tuple[str, list[Any]] | None:
    """A value of the standard library as its type's name and the plain arguments that make it again."""
    kind = type(value)
    if kind is range:
        return "range", [value.start, value.stop, value.step]
    if kind is slice:
        return "slice", [value.start, value.stop, value.step]
    if value is ... or value is NotImplemented:
        return str(value), []
    if kind in VIEWS:
        return VIEWS[kind], [list(value)]
    if isinstance(value, tuple) and type(getattr(kind, "_fields", None)) is tuple:
        return "namedtuple", [kind.__name__, list(kind._fields), list(tuple.__iter__(value))]
    name = f"{kind.__module__}.{kind.__name__}"
    if name in ("datetime.date", "datetime.time", "datetime.datetime"):
        return name, [value.isoformat()]
    if name == "datetime.timedelta":
        return name, [value.days, value.seconds, value.microseconds]
    if name in ("decimal.Decimal", "uuid.UUID") or (name.startswith("pathlib.") and name.endswith("Path")):
        return name, [str(value)]
    if name == "fractions.Fraction":
        return name, [int(value.numerator), int(value.denominator)]
    return None


def put_together(name: str, arguments: list[Any], known: Callable[[str], Any]) -> Any:
    """The inverse of `take_apart`. `known` gives the class of a name that both sides may have."""
    if name in ("range", "slice"):
        return (range if name == "range" else slice)(*arguments)
    if name in ("Ellipsis", "NotImplemented"):
        return getattr(builtins, name)
    if name in VIEWS.values():
        (items,) = arguments
        if name == "values":
            return dict(enumerate(items)).values()
        return dict(items).items() if name == "items" else dict.fromkeys(items).keys()
    if name == "namedtuple":
        typename, fields, values = arguments
        if len(fields) != len(values):
            raise ValueError(name)
        like = known(typename)
        if isinstance(like, type) and issubclass(like, tuple) and getattr(like, "_fields", None) == tuple(fields):
            return tuple.__new__(like, values)
        return tuple.__new__(getattr(collections, "namedtuple")(typename, fields), values)  # noqa: B009 (for mypy)
    if name not in STANDARD or not all(type(argument) in (int, str) for argument in arguments):
        raise ValueError(name)
    module, _, kind = name.rpartition(".")
    cls = getattr(__import__(module), kind)
    return cls.fromisoformat(*arguments) if name in STANDARD[:3] else cls(*arguments)


STANDARD = (
    "datetime.date",
    "datetime.time",
    "datetime.datetime",
    "datetime.timedelta",
    "decimal.Decimal",
    "fractions.Fraction",
    "uuid.UUID",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePath",
    "pathlib.PurePosixPath",
)


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


SIGNALS = ("SkipTest",)  # exceptions with which a program could tell a test framework to look away


def describe_exception_class(cls: type[BaseException]) -> list[Any]:
    """Its name and module, the names of it and the classes above it down to a built-in one, and that one's name."""
    own: list[str] = []
    for above in cls.__mro__:
        if above in NAMED:
            return [cls.__name__, cls.__module__, own, NAMED[above]]
        own.append(above.__name__)
    raise TypeError(cls)


def find_exception_class(known: Callable[[str], Any], made: dict[str, Any], description: list[Any]) -> type[Exception]:
    """The class for one of the other side's: a known one of that name, the standard library's, or a class made for it
    and those above it, kept in `made` so that one name is one class. Raises ValueError where it is no Exception."""
    name, module, own, base = description
    found = TYPES.get(name) if module == "builtins" else known(name)
    if found is None and module.partition(".")[0] in sys.stdlib_module_names and name not in SIGNALS:
        found = getattr(KNOWN_MODULES.get(module), name, None)
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    above: Any = TYPES[base]
    if not issubclass(above, Exception):
        raise ValueError(base)
    for each in reversed(own):
        known_above = known(each)
        if isinstance(known_above, type) and issubclass(known_above, Exception):
            above = known_above
            continue
        if each not in made:
            made[each] = type(each, (above,), {"__module__": "candidate", "__str__": lambda self: self._text})
        above = made[each]
    return above  # type: ignore[no-any-return]


def arguments_of(error: BaseException) -> tuple[Any, ...]:
    """What would make an equal exception; an OSError keeps its file's name apart."""
    if isinstance(error, OSError) and len(error.args) == 2 and error.filename is not None:
        return (*error.args, error.filename)
    return error.args


def revive(cls: type[Exception], arguments: list[Any], text: str, state: dict[str, Any]) -> Exception:
    """An exception of a class with the given arguments, whatever its constructor would ask for."""
    error = None
    if cls in NAMED:  # some keep more than their arguments
        with contextlib.suppress(TypeError):
            error = cls(*arguments)
    if error is None:
        error = cls.__new__(cls)
        error.args = tuple(arguments)
    vars(error).update(state, _text=text)
    return error


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
