"""Whose words a text has, and the names of parameters.

The frozen drill has its own few words. Exercises choose among more, or too many of them would be twins: of 30,000 in
the drill's words 3.6% are near-duplicates of an earlier one, most with the same composition, parameters and docstring.

A name must be a noun that reads well in every docstring of its family, and none of the names that solutions give to
their own variables (`total`, `items`, `row`, ...) or to constants that are parameters (`limit`, `step`, ...). Plurals
that stand for single items in a docstring need a singular: regular ones end in a plain `s`.
"""

from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Wording(Generic[W]):
    """What may stand in one place: a sentence, the name of a parameter, or a pair of names."""

    drill: tuple[W, ...]
    more: tuple[W, ...]  # besides, in exercises


class Pen(Random):
    """The random draws of one text. It has the drill's words only, or, for an exercise, more."""

    def __init__(self, seed: str | int, *, exercise: bool = False) -> None:
        super().__init__(seed)
        self.exercise = exercise

    def known(self, wording: Wording[W]) -> tuple[W, ...]:
        """All it may choose among."""
        return (*wording.drill, *wording.more) if self.exercise else wording.drill

    def pick(self, wording: Wording[W]) -> W:
        """One of them."""
        return self.choice(self.known(wording))

    def vary(self, said: str, *otherwise: str) -> str:
        """What the drill says, with no draw; in exercises, that or one of the others."""
        return self.choice((said, *otherwise)) if self.exercise else said


# Rows of items.
INTS = Wording(
    ("numbers", "values", "scores", "ages", "sizes", "points", "heights", "levels", "marks", "amounts", "weights",
     "integers", "readings", "steps"),
    ("grades", "costs", "ranks", "speeds", "depths", "votes", "goals", "coins", "cards", "rolls", "bids", "fees",
     "wages", "bills", "gains", "laps", "ratings", "visits", "clicks", "pages", "seats", "tickets", "samples", "floors",
     "doses", "loads", "widths", "angles"),
)  # fmt: skip
WORDS = Wording(
    ("words", "names", "tags", "labels", "cities", "colors", "fruits", "titles", "animals", "tools", "plants"),
    ("towns", "birds", "cars", "games", "books", "songs", "teams", "drinks", "flowers", "trees", "rivers", "streets",
     "users", "guests", "players", "pets", "foods", "terms", "brands", "nouns", "verbs", "planets", "islands", "boats",
     "shops"),
)  # fmt: skip
FLOATS = Wording(
    ("prices", "temperatures", "rates", "distances", "amounts", "values"),
    ("weights", "heights", "speeds", "costs", "depths", "widths", "grades", "wages", "fees", "tips", "angles", "scores",
     "volumes", "gains", "bills", "doses", "loads", "areas"),
)  # fmt: skip
LEFT_INTS = Wording(("left", "first", "xs"), ("old", "mine", "home", "main", "upper", "north"))
RIGHT_INTS = Wording(("right", "second", "ys"), ("new", "yours", "away", "spare", "lower", "south"))
LEFT_SET = Wording(("left", "first", "seen"), ("old", "mine", "home", "main", "upper", "north"))
RIGHT_SET = Wording(("right", "second", "known"), ("new", "yours", "away", "spare", "lower", "south"))
DATES = Wording(
    ("dates", "birthdays", "deadlines"),
    ("holidays", "meetings", "visits", "trips", "exams", "events", "launches", "paydays", "games", "concerts"),
)
TIMES = Wording(
    ("times", "alarms", "calls"),
    ("trains", "buses", "meetings", "flights", "breaks", "meals", "ferries", "lessons", "bells", "shows"),
)
CODES = Wording(
    ("codes", "bits", "patterns"),
    ("masks", "flags", "signals", "strings", "keys", "inputs", "packets", "frames", "switches", "lamps"),
)
HEX_CODES = Wording(
    ("codes", "addresses"), ("colors", "tokens", "serials", "tags", "keys", "strings", "hashes", "inputs", "labels")
)

# Tables.
DICTS = Wording(
    ("stock", "table", "data", "counts", "prices", "inventory", "ledger"),
    ("sales", "votes", "ages", "scores", "grades", "goals", "budget", "menu", "catalog", "basket", "roster", "census",
     "bank", "shelf", "visits"),
)  # fmt: skip
MATRICES = Wording(
    ("matrix", "grid", "table", "board", "sheet", "rows"),
    ("field", "layout", "chart", "image", "screen", "plan", "tiles", "maze", "garden", "block", "mosaic", "lawn"),
)
GRIDS = Wording(MATRICES.drill[:5], MATRICES.more)  # not `rows`: these docstrings speak of rows
RAGGED = Wording(
    ("lists", "groups", "teams", "batches"),
    ("boxes", "bags", "classes", "shelves", "weeks", "rounds", "levels", "parts", "bundles", "trays"),
)
PAIRS = Wording(
    ("pairs", "records", "entries", "results"),
    ("scores", "sales", "votes", "orders", "grades", "bids", "visits", "goals", "prices", "ratings", "ages", "bills"),
)
INTERVALS = Wording(
    ("intervals", "spans", "periods"),
    ("shifts", "slots", "segments", "bookings", "visits", "breaks", "rentals", "windows", "meetings", "stays"),
)
RECORDS = Wording(
    ("rows", "people", "records"),
    ("users", "guests", "goods", "boxes", "plants", "trees", "houses", "rooms", "cars", "toys"),
)
POINTS = Wording(
    ("points", "positions", "cells"),
    ("spots", "corners", "stars", "ships", "pixels", "dots", "marks", "tiles", "pins", "trees", "towns"),
)

# Texts.
TEXTS = Wording(
    ("text", "sentence", "line", "message", "phrase", "note", "poem", "quote", "entry", "caption"),
    ("story", "report", "memo", "email", "post", "verse", "header", "reply", "speech", "slogan", "motto", "script",
     "notice", "query", "draft", "diary", "review", "remark", "rhyme", "joke", "answer", "passage"),
)  # fmt: skip
WORD = Wording(
    ("word", "name", "tag", "label", "title", "key"),
    ("city", "color", "animal", "fruit", "user", "song", "book", "team", "plant", "tool", "term", "brand", "town",
     "bird", "game", "flower", "planet", "token"),
)  # fmt: skip
TWO_WORDS = Wording(
    (("a", "b"), ("s", "t"), ("word", "other"), ("name", "key"), ("old", "new"), ("start", "end")),
    (("user", "owner"), ("city", "town"), ("title", "author"), ("code", "guess"), ("cat", "dog"), ("mine", "yours"),
     ("question", "answer"), ("red", "blue"), ("song", "singer"), ("query", "reply"), ("noun", "verb"),
     ("home", "away"), ("one", "two"), ("x", "y")),
)  # fmt: skip
FORMATTED_WORD = Wording(
    ("name", "word", "label"), ("city", "team", "fruit", "user", "color", "tool", "plant", "song", "book")
)
FORMATTED_NUMBER = Wording(
    ("n", "count", "score"), ("age", "price", "size", "level", "points", "year", "rank", "goals", "weight")
)

# Numbers.
NUMBER = Wording(
    ("n", "number", "value", "num", "x", "score", "age", "points"),
    ("height", "level", "price", "year", "rank", "grade", "depth", "speed", "weight", "length", "cost", "goal", "bid",
     "amount", "money", "rating", "m"),
)  # fmt: skip
COUNTS = Wording(
    ("n", "number", "num", "value", "m"),
    ("age", "year", "score", "price", "level", "amount", "height", "weight", "speed", "rank"),
)
LOW_END = Wording(("a", "start", "low"), ("first", "begin", "lower", "bottom", "near"))
HIGH_END = Wording(("b", "stop", "high"), ("last", "end", "upper", "top", "far"))
TWO_NUMBERS = Wording(
    (("a", "b"), ("x", "y"), ("m", "n"), ("p", "q"), ("left", "right"), ("width", "height"), ("first", "second"),
     ("age", "size"), ("cost", "price")),
    (("old", "new"), ("mine", "yours"), ("home", "away"), ("length", "depth"), ("wins", "losses"), ("start", "end"),
     ("speed", "time"), ("row", "column"), ("day", "month"), ("red", "blue"), ("rent", "wage"), ("u", "w"),
     ("i", "j"), ("one", "two"), ("goals", "points")),
)  # fmt: skip
START = Wording(
    ("n", "start", "number", "value", "first", "x"),
    ("seed", "size", "amount", "level", "score", "money", "height", "price", "age", "weight", "begin", "base"),
)
INDEX = Wording(("n", "k", "index", "place", "i"), ("position", "rank", "order", "number", "m", "spot", "level", "j"))
FLOAT = Wording(
    ("x", "price", "temperature", "rate", "amount", "height", "length", "speed", "cost", "weight"),
    ("width", "depth", "volume", "angle", "load", "dose", "fee", "wage", "tip", "score", "grade", "area", "mass",
     "ratio", "share", "radius"),
)  # fmt: skip
STATE = Wording(
    ("value", "level", "score", "count", "size", "amount", "height"),
    ("price", "speed", "balance", "health", "energy", "depth", "weight", "number", "money", "volume", "power", "fuel"),
)
DAY = Wording(
    ("day", "start", "birthday", "d"),
    ("deadline", "holiday", "arrival", "payday", "launch", "meeting", "visit", "exam", "event", "today", "opening"),
)

SINGULAR = {
    "numbers": "number", "values": "value", "scores": "score", "ages": "age", "sizes": "size", "points": "point",
    "heights": "height", "levels": "level", "marks": "mark", "amounts": "amount", "weights": "weight", "steps": "step",
    "integers": "integer", "readings": "reading", "words": "word", "names": "name", "tags": "tag", "labels": "label",
    "cities": "city", "colors": "color", "fruits": "fruit", "titles": "title", "animals": "animal", "prices": "price",
    "temperatures": "temperature", "rates": "rate", "distances": "distance", "keys": "key", "codes": "code",
    "results": "result", "votes": "vote", "orders": "order", "days": "day", "plants": "plant", "tools": "tool",
    **{plural: plural[:-1] for names in (INTS, WORDS, FLOATS) for plural in names.more},
}  # fmt: skip
