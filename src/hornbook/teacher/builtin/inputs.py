"""Test inputs: values of each type that make conditions true and false."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random

VOCABULARY = [
    "apple",
    "banana",
    "cherry",
    "date",
    "elder",
    "fig",
    "grape",
    "lemon",
    "melon",
    "olive",
    "pear",
    "plum",
    "bread",
    "salt",
    "soup",
    "tea",
    "milk",
    "rice",
    "ant",
    "bear",
    "cat",
    "dog",
    "eel",
    "fox",
    "goat",
    "hen",
    "owl",
    "pig",
    "rat",
    "seal",
    "tiger",
    "wolf",
    "zebra",
    "red",
    "blue",
    "green",
    "pink",
    "gold",
    "rose",
    "run",
    "jump",
    "sit",
    "stand",
    "read",
    "write",
    "sing",
    "open",
    "close",
    "start",
    "stop",
    "rain",
    "snow",
    "wind",
    "storm",
    "cloud",
    "river",
    "lake",
    "hill",
    "map",
    "box",
    "pen",
    "desk",
    "lamp",
    "door",
    "nest",
    "tent",
    "boat",
    "train",
    "road",
    "pilot",
    "baker",
    "nurse",
    "actor",
    "queen",
    "sailor",
    "monitor",
]
PALINDROMES = ("level", "noon", "radar", "civic", "kayak", "pop", "eve", "refer", "mom")
CASED = ("Tom", "Lily", "Berlin", "HTML", "SQL", "Paris", "TV", "Bob", "CSS", "Rome")  # no uppercase vowels
NUMERIC = ("42", "7", "2024", "r2", "b12", "room5", "100", "x1")
VOWEL_STARTS = ("apple", "ink", "olive", "unit", "eagle", "area", "oat")
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23)
LARGE = (14, 25, 37, 58, 99, 100, 123, 250, 408, 731)
MARKS = (",", ".", "!", "?")


@dataclass(frozen=True, slots=True)
class Hints:
    """What the parts of an exercise need in order to show: their constants, and words such as `case`."""

    numbers: tuple[int, ...] = ()
    decimals: tuple[float, ...] = ()
    strings: tuple[str, ...] = ()
    words: frozenset[str] = field(default=frozenset())


def _int(rng: Random, hints: Hints, low: int = -9, high: int = 20) -> int:
    draw = rng.random()
    if hints.numbers and draw < 0.4:
        k = rng.choice(hints.numbers)
        options = (k, k + 1, k - 1, 2 * k, 3 * k, 10 + k)
        value = rng.choice(options)
        return value if value >= low else k
    if "primes" in hints.words and draw < 0.6:
        return rng.choice(PRIMES)
    if "large" in hints.words and draw < 0.75:
        return rng.choice(LARGE)
    return rng.randint(low, high)


def _word(rng: Random, hints: Hints) -> str:
    draw = rng.random()
    if hints.strings and draw < 0.45:
        k, base = rng.choice(hints.strings), rng.choice(VOCABULARY)
        if not k.isalpha():
            return base
        return rng.choice((k + base, base + k, base[:2] + k + base[2:], k + base + k))
    for word, pool in (("case", CASED), ("digits", NUMERIC), ("palindromes", PALINDROMES), ("vowels", VOWEL_STARTS)):
        if word in hints.words and draw < 0.7:
            return rng.choice(pool)
    return rng.choice(VOCABULARY)


def _length(rng: Random) -> int:
    return rng.choice((3, 4, 4, 5, 5, 6, 7))


def _ints(rng: Random, hints: Hints) -> list[int]:
    items = [_int(rng, hints) for _ in range(_length(rng))]
    if rng.random() < 0.3:
        items.append(rng.choice(items))
    return items


def _words(rng: Random, hints: Hints) -> list[str]:
    items = [_word(rng, hints) for _ in range(_length(rng))]
    if rng.random() < 0.3:
        items.append(rng.choice(items))
    return items


def _floats(rng: Random, hints: Hints) -> list[float]:
    # Multiples of one quarter are exact in binary, so every order of summation gives the same total.
    return [_float(rng, hints) for _ in range(_length(rng))]


def _float(rng: Random, hints: Hints) -> float:
    if hints.decimals and rng.random() < 0.4:
        return rng.choice(hints.decimals) + rng.choice((-0.5, 0.0, 0.5, 1.0))
    if "decimals" in hints.words:
        return rng.randint(-800, 1200) / 128
    return rng.randint(-16, 30) / 4


def _text(rng: Random, hints: Hints) -> str:
    if "fields" in hints.words:
        return hints.strings[0].join(_word(rng, Hints(words=hints.words)) for _ in range(_length(rng)))
    if "lines" in hints.words:
        return "\n".join(" ".join(_words(rng, hints)[: rng.choice((1, 2, 3))]) for _ in range(_length(rng) - 1))
    if "separated" in hints.words:
        return hints.strings[0].join(str(_int(rng, hints)) for _ in range(_length(rng)))
    words = [_word(rng, hints) for _ in range(rng.choice((2, 3, 4, 5)))]
    if "plain" in hints.words:
        return " ".join(words)
    if rng.random() < 0.5:
        place = rng.randrange(len(words))
        words[place] = words[place].capitalize() if words[place][0] not in "aeiou" else words[place] + rng.choice(MARKS)
    if rng.random() < 0.5:
        words.insert(rng.randrange(len(words) + 1), str(rng.randint(1, 99)))
    return " ".join(words) + (rng.choice(MARKS) if rng.random() < 0.3 else "")


def _key_values(rng: Random, hints: Hints) -> str:
    keys = rng.sample(VOCABULARY, rng.choice((2, 3, 4)))
    return hints.strings[0].join(f"{key}={_int(rng, hints)}" for key in keys)


def _string(rng: Random, hints: Hints) -> str:
    return _word(rng, hints)


def _matrix(rng: Random, hints: Hints) -> list[list[int]]:
    width = rng.choice((2, 3))
    return [[_int(rng, hints) for _ in range(width)] for _ in range(rng.choice((2, 3, 3)))]


def _square_matrix(rng: Random, hints: Hints) -> list[list[int]]:
    size = rng.choice((2, 3, 4))
    return [[_int(rng, hints) for _ in range(size)] for _ in range(size)]


def _ragged(rng: Random, hints: Hints) -> list[list[int]]:
    return [[_int(rng, hints) for _ in range(rng.choice((0, 1, 2, 3, 4, 5)))] for _ in range(rng.choice((2, 3, 4, 5)))]


def _stock(rng: Random, hints: Hints) -> dict[str, int]:
    return {_word(rng, hints): _int(rng, hints) for _ in range(rng.choice((3, 4, 5)))}


def _pairs(rng: Random, hints: Hints) -> list[tuple[str, int]]:
    return [(_word(rng, hints), _int(rng, hints)) for _ in range(rng.choice((3, 4, 5)))]


def _intervals(rng: Random, hints: Hints) -> list[tuple[int, int]]:
    starts = [_int(rng, hints, 0, 12) for _ in range(rng.choice((3, 4, 5)))]
    return [(start, start + max(0, _int(rng, hints, 0, 12))) for start in starts]


def _points(rng: Random, hints: Hints) -> list[tuple[int, int]]:
    return [(_int(rng, hints), _int(rng, hints)) for _ in range(rng.choice((3, 4, 5)))]


def _dates(rng: Random, hints: Hints) -> list[date]:
    return [_date(rng, hints) for _ in range(rng.choice((3, 4, 5)))]


def _date(rng: Random, hints: Hints) -> date:
    return date(2019, 1, 1) + timedelta(days=rng.randrange(2600))


def _times(rng: Random, hints: Hints) -> list[str]:
    minutes = (0, 5, 12, 15, 30, 40, 45, 59)
    return [f"{rng.randrange(24):02d}:{rng.choice(minutes):02d}" for _ in range(_length(rng) - 1)]


def _records(rng: Random, hints: Hints) -> list[dict[str, int]]:
    return [{key: _int(rng, hints) for key in ("age", "size", "price")} for _ in range(rng.choice((3, 4)))]


MAKERS: dict[str, Callable[[Random, Hints], object]] = {
    "int": _int,
    "count": lambda rng, hints: rng.choice((*range(2, 31), 36, 48, 105, 230, 604, 1234)),
    "small_count": lambda rng, hints: rng.randint(2, 30),
    "small": lambda rng, hints: rng.randint(1, 6),
    "larger": lambda rng, hints: rng.randint(7, 24),
    "times": _times,
    "ints": _ints,
    "int_tuple": lambda rng, hints: tuple(_ints(rng, hints)),
    "int_set": lambda rng, hints: set(_ints(rng, hints)),
    "float": _float,
    "floats": _floats,
    "word": _string,
    "words": _words,
    "text": _text,
    "sentence": lambda rng, hints: " ".join(_words(rng, hints)),
    "key_values": _key_values,
    "matrix": _matrix,
    "square_matrix": _square_matrix,
    "ragged": _ragged,
    "stock": _stock,
    "pairs": _pairs,
    "intervals": _intervals,
    "points": _points,
    "date": _date,
    "dates": _dates,
    "records": _records,
    "binaries": lambda rng, hints: [format(abs(_int(rng, hints)), "b") for _ in range(_length(rng))],
    "hexes": lambda rng, hints: [format(rng.choice((rng.randint(0, 20), rng.randint(0, 255))), "x") for _ in range(4)],
}
# The empty input of each type, where there is one that every exercise on it can take.
EMPTY: dict[str, Callable[[], object]] = {
    "ints": list,
    "words": list,
    "floats": list,
    "int_tuple": tuple,
    "int_set": set,
    "stock": dict,
    "pairs": list,
    "intervals": list,
    "dates": list,
    "times": list,
    "points": list,
    "records": list,
    "binaries": list,
    "ragged": list,
}


def make_arguments(makers: Sequence[str], rng: Random, hints: Hints) -> tuple[object, ...]:
    """One value for each maker."""
    return tuple(MAKERS[maker](rng, hints) for maker in makers)
