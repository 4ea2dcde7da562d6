"""Ask a teacher for distinct texts until there are enough, and not for one more."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count as numbers_from
from typing import Any, Generic, TypeVar

from hornbook.errors import UserError
from hornbook.recipe import TeacherConfig
from hornbook.records import Dropped, Failed
from hornbook.run.progress import Bar
from hornbook.run.step import Counts, Result, Workspace
from hornbook.tables import TableWriter
from hornbook.teacher.load import load_teacher
from hornbook.teacher.request import A, Answer, Request, Teacher

PATIENCE = 4  # requests for each text wanted, before the teacher is said to repeat itself
FEWEST = 200  # requests, before the share of failed ones stops the step

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Written(Generic[R]):
    """What an answer gave: a row with the texts that must be its own, or why the row is not wanted."""

    row: R
    id: str
    topic: str
    unique: tuple[str, ...] = ()  # content ids, beside the row's id
    reason: str = ""  # a fixed word of the step; empty: wanted
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Commission(Generic[A, R]):
    """What a step has written: how many rows, of which kind, from which requests."""

    step: str
    table: str  # file name of the kept rows
    row_type: type[R]
    unit: str
    teacher: TeacherConfig
    count: int
    failure_limit: float
    request: Callable[[int], Request[A]]  # by number, from 0
    written: Callable[[Request[A], Answer[A]], Written[R]]  # of an answer that has a value


@dataclass(slots=True)
class Tally:
    """What came of the requests."""

    asked: int = 0
    kept: int = 0
    failed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # by reason
    failures: Counter[str] = field(default_factory=Counter)
    topics: Counter[str] = field(default_factory=Counter)  # of what was kept


def write_distinct(commission: Commission[A, R], work: Workspace, facts: Mapping[str, Any]) -> Result:
    """Write `count` rows whose ids and unique texts all differ, and beside them `dropped.parquet` and `failed.parquet`.

    Requests are taken by number, in rounds of exactly as many as are still wanted, so nothing is asked, and paid, that
    is not needed; the rows are those of one request after the other, whatever runs in parallel. Raises UserError where
    the teacher cannot write that many, or fails at more than the limit.
    """
    step = commission.step
    tally = Tally()
    with load_teacher(commission.teacher, work, step) as teacher:
        teacher.rehearse(map(commission.request, numbers_from()), commission.count)
        with (
            TableWriter(work.directory / commission.table, commission.row_type) as kept,
            TableWriter(work.directory / "dropped.parquet", Dropped) as dropped,
            TableWriter(work.directory / "failed.parquet", Failed, whole_after=UserError) as failed,
            work.progress.bar(step, commission.count, commission.unit) as bar,
        ):
            _write_rounds(commission, teacher, tally, kept, dropped, failed, bar)
        ledger = teacher.ledger()
    told = {
        "teacher": teacher.name,
        "requested": commission.count,
        "asked": tally.asked,
        "distinct": tally.kept,
        **facts,
        "failures": dict(sorted(tally.failures.items())),
        "topics": dict(sorted(tally.topics.items())),
    }
    counts = Counts(tally.asked, tally.kept, dict(sorted(tally.dropped.items())), tally.failed)
    return Result(counts, told, {"ledger": ledger} if ledger else {})


def _write_rounds(
    commission: Commission[A, R],
    teacher: Teacher,
    tally: Tally,
    kept: TableWriter[R],
    dropped: TableWriter[Dropped],
    failed: TableWriter[Failed],
    bar: Bar,
) -> None:
    step, seen = commission.step, set[bytes]()
    while tally.kept < commission.count:
        numbers = range(tally.asked, tally.asked + commission.count - tally.kept)
        for number, answer in zip(numbers, teacher.answers(map(commission.request, numbers)), strict=True):
            request = commission.request(number)
            tally.asked += 1
            if answer.value is None:
                _fail(step, answer, tally, failed)
                _check_failures(commission, tally)
                continue
            written = commission.written(request, answer)
            keys = {bytes.fromhex(key) for key in (written.id, *written.unique)}
            reason, detail = written.reason, written.detail
            if not reason and keys & seen:
                reason, detail = "duplicate", written.topic
            if reason:
                dropped.write(Dropped(written.id, step, reason, detail))
                tally.dropped[reason] += 1
                continue
            seen |= keys
            kept.write(written.row)
            tally.kept += 1
            tally.topics[written.topic] += 1
            bar.advance(1, teacher.note())
        if tally.asked >= PATIENCE * commission.count and tally.kept < commission.count:
            reasons = (tally.dropped + tally.failures).most_common()
            raise UserError(
                f"{step}: {teacher.name} wrote {tally.kept} wanted texts of {commission.count} in {tally.asked} "
                f"requests ({', '.join(f'{reason} {rows}' for reason, rows in reasons)}); ask for fewer"
            )


def _fail(step: str, answer: Answer[A], tally: Tally, failed: TableWriter[Failed]) -> None:
    failure = answer.failure
    assert failure is not None  # an answer has one or the other
    failed.write(Failed(answer.request, step, failure.reason, failure.detail, failure.raw, answer.request))
    tally.failed += 1
    tally.failures[failure.reason] += 1


def _check_failures(commission: Commission[A, R], tally: Tally) -> None:
    if tally.asked >= min(FEWEST, commission.count) and tally.failed > commission.failure_limit * tally.asked:
        reasons = ", ".join(f"{reason} {rows}" for reason, rows in tally.failures.most_common())
        raise UserError(
            f"{commission.step}: {tally.failed} of {tally.asked} requests failed ({reasons}), more than the limit of "
            f"{commission.failure_limit:.1%}; nothing further was asked. Mend the cause, or raise the failure limit"
        )
