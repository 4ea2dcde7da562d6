"""Ask a teacher for distinct texts, in parallel, until there are enough."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count as numbers_from
from typing import Generic, TypeVar

from hornbook.errors import UserError
from hornbook.records import Dropped
from hornbook.run.progress import Bar
from hornbook.run.workers import ordered_map
from hornbook.tables import TableWriter

CHUNK = 250  # requests: about half a second of the built-in teacher's work
PATIENCE = 4  # requests for each text wanted, before the teacher is said to repeat itself

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Requests `start` to `stop` of the stream of `seed`, for one teacher."""

    teacher: str
    seed: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Written(Generic[R]):
    """What a request gave: a row with the texts that must be its own, or why there is none."""

    row: R | None
    id: str  # of the row; of the request where there is no row
    topic: str
    unique: tuple[str, ...] = ()
    failure: str = ""


@dataclass(slots=True)
class Tally:
    """What came of the requests."""

    asked: int = 0
    kept: int = 0
    duplicates: int = 0
    failed: int = 0
    topics: Counter[str] = field(default_factory=Counter)  # of what was kept


def write_distinct(
    write: Callable[[Chunk], list[Written[R]]],
    teacher: str,
    seed: int,
    count: int,
    workers: int,
    tables: tuple[TableWriter[R], TableWriter[Dropped], TableWriter[Dropped]],
    step: str,
    bar: Bar,
) -> Tally:
    """Write `count` rows whose ids and unique texts all differ; the tables are those of kept, dropped and failed rows.

    The result does not depend on the number of workers: requests are taken in order, and the last one taken is the one
    that completes the count. Raises UserError where the teacher cannot write that many.
    """
    kept, dropped, failed = tables
    tally = Tally()
    seen: set[bytes] = set()
    for written in _in_order(ordered_map(write, _chunks(teacher, seed), workers)):
        tally.asked += 1
        if written.row is None:
            tally.failed += 1
            failed.write(Dropped(written.id, step, "failed", written.failure))
        else:
            keys = {bytes.fromhex(key) for key in (written.id, *written.unique)}
            if keys & seen:
                tally.duplicates += 1
                dropped.write(Dropped(written.id, step, "duplicate", written.topic))
            else:
                seen |= keys
                kept.write(written.row)
                tally.kept += 1
                tally.topics[written.topic] += 1
                bar.advance(1)
        if tally.kept == count:
            return tally
        if tally.asked >= PATIENCE * count + CHUNK:
            raise UserError(
                f"{step}: the teacher `{teacher}` wrote {tally.kept} distinct texts of {count} in {tally.asked} "
                f"requests ({tally.failed} failed); ask for fewer in `{step}.count`"
            )
    raise AssertionError("the stream of requests has no end")


def _chunks(teacher: str, seed: int) -> Iterator[Chunk]:
    for start in numbers_from(0, CHUNK):
        yield Chunk(teacher, seed, start, start + CHUNK)


def _in_order(chunks: Iterable[list[Written[R]]]) -> Iterator[Written[R]]:
    for chunk in chunks:
        yield from chunk
