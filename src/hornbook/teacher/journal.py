"""Every reply a teacher ever gave, durable on disk the moment it lands: what was paid once is never paid again.

One SQLite file in WAL mode. A reply is found by the content id of what determines it: the kind of endpoint, the model,
the full text sent, the sampling parameters, the form asked for, and which of several samples is meant. Neither parsers,
nor the number of rows, nor parallelism, nor the URL of the endpoint is part of it.
"""

import json
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, Self

from hornbook.errors import UserError
from hornbook.records import content_id

FILE = "journal.sqlite"  # in the work directory: shared by all its steps and runs
VERSION = 1
BUSY_SECONDS = 60.0  # another process may be writing
LARGEST_COMMIT = 512  # replies: about 1 MB
PICO = 10**12  # costs are whole numbers of 1e-12 dollars, so that sums are exact
SCHEMA = """
CREATE TABLE replies(
  key TEXT PRIMARY KEY, task TEXT NOT NULL, subject TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL,
  prompt TEXT NOT NULL, sampling TEXT NOT NULL, form TEXT NOT NULL, sample INTEGER NOT NULL,
  content TEXT NOT NULL, finish TEXT NOT NULL, served_model TEXT NOT NULL, prompt_tokens INTEGER,
  completion_tokens INTEGER, at REAL NOT NULL);
CREATE INDEX replies_by_subject ON replies(subject);
CREATE INDEX replies_by_task ON replies(task, at);
CREATE TABLE costs(
  id TEXT PRIMARY KEY, run TEXT NOT NULL, step TEXT NOT NULL, key TEXT NOT NULL, outcome TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, pico_usd INTEGER NOT NULL, seconds REAL NOT NULL,
  at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX costs_by_run ON costs(run, step);
CREATE TABLE orders(
  key TEXT PRIMARY KEY, parts TEXT NOT NULL, run TEXT NOT NULL, step TEXT NOT NULL, prompt_pico INTEGER NOT NULL,
  completion_pico INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE approvals(id TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Parts:
    """All that determines a reply, and what it is about."""

    task: str
    subject: str  # not part of the key: it finds earlier replies about the same thing
    kind: str  # of endpoint: `openai-chat`
    model: str
    prompt: str  # the full text sent
    sampling: Mapping[str, float | int]  # what is sent of temperature, top_p and max_tokens
    form: str  # the JSON schema asked for, as JSON; empty: free text
    sample: int

    def key(self) -> str:
        """The content id under which the reply is kept."""
        return content_id(self.identity())

    def identity(self) -> str:
        """Canonical JSON of all but task and subject."""
        fields = [
            VERSION,
            self.kind,
            self.model,
            self.prompt,
            dict(sorted(self.sampling.items())),
            self.form,
            self.sample,
        ]
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint answered."""

    content: str
    finish: str  # stop, length, content_filter, refusal
    served_model: str  # the name the endpoint gave itself
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What one attempt cost, or may have cost.

    `reply`: as the endpoint counted. `uncounted`: a reply without a count, taken at its upper bound. `lost`: no whole
    reply came, but the endpoint may have worked: its upper bound. `refused`: an error that is not billed. `batch`: read
    from a batch file. `sent`: under way, at its upper bound; what a killed run leaves behind.
    """

    outcome: Literal["reply", "uncounted", "lost", "refused", "batch", "sent"]
    prompt_tokens: int
    completion_tokens: int
    pico_usd: int
    seconds: float


Order = tuple[Parts, str, str, int, int]  # parts, run, step, and prices of a token in and out


@dataclass(frozen=True, slots=True)
class Spending:
    """Sums of costs."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    pico_usd: int
    uncertain_pico_usd: int  # of it: attempts without a count, at the most they can have cost
    lost: int  # attempts that gave no reply and may have been billed
    refused: int  # attempts that the endpoint turned away


class Journal:
    """The journal of one work directory. One thread writes, in groups; any thread may ask for a write.

    Raises UserError for a file that is no journal, or one of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._reading = self._connect()
        self._queue: queue.SimpleQueue[tuple[str, tuple[Any, ...], Callable[[BaseException | None], None]] | None]
        self._queue = queue.SimpleQueue()
        self._failure: BaseException | None = None  # of a write, until `settle` tells of it
        self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._queue.put(None)
        self._writer.join()
        self._reading.close()

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._prepare(connection)
        except (sqlite3.Error, UserError) as error:
            if connection is not None:
                connection.close()
            if isinstance(error, UserError):
                raise
            raise UserError(f"{self.path}: cannot be used as the journal of replies ({error})") from error
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables of a new journal. Whatever else the file is stays as it is."""
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version in (0, VERSION):
            connection.execute("BEGIN IMMEDIATE")  # another process may be making the same journal
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                for statement in filter(str.strip, SCHEMA.split(";")):
                    connection.execute(statement)
                version = VERSION
                connection.execute(f"PRAGMA user_version={VERSION}")
            connection.execute("COMMIT")
        if version != VERSION:
            what = f"a journal of version {version}, where this hornbook writes version {VERSION}"
            raise UserError(f"{self.path}: {what if version else 'a database, but no journal of replies'}")
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous=FULL")  # a power cut loses nothing that was said to be kept

    # ---- reading ----

    def find(self, key: str) -> Reply | None:
        """The reply kept under a key."""
        row = self._one(
            "SELECT content, finish, served_model, prompt_tokens, completion_tokens FROM replies WHERE key=?", (key,)
        )
        return None if row is None else Reply(*row)

    def earlier(self, parts: Parts) -> Parts | None:
        """The newest request about the same thing under another key; else the newest of the same task."""
        columns = "task, subject, kind, model, prompt, sampling, form, sample"
        for condition, value in (("subject=?", parts.subject), ("task=?", parts.task)):
            query = f"SELECT {columns} FROM replies WHERE {condition} AND key!=? ORDER BY at DESC LIMIT 1"  # noqa: S608
            row = self._one(query, (value, parts.key()))
            if row is not None:
                task, subject, kind, model, prompt, sampling, form, sample = row
                return Parts(task, subject, kind, model, prompt, json.loads(sampling), form, sample)
        return None

    def spending(self, run: str, step: str | None = None) -> Spending:
        """What a run (or one of its steps) has cost so far."""
        query = (
            "SELECT COUNT(*), TOTAL(prompt_tokens), TOTAL(completion_tokens), TOTAL(pico_usd), "
            "TOTAL(CASE WHEN outcome IN ('lost', 'sent', 'uncounted') THEN pico_usd ELSE 0 END), "
            "COALESCE(SUM(outcome IN ('lost', 'sent')), 0), COALESCE(SUM(outcome='refused'), 0) "
            "FROM costs WHERE run=:run AND (:step IS NULL OR step=:step)"
        )
        row = self._one(query, {"run": run, "step": step})
        return Spending(*(int(value) for value in row))

    def mean_seconds(self, run: str, step: str) -> float | None:
        """How long the answered attempts of a step took, on average; None where there is none."""
        query = "SELECT AVG(seconds) FROM costs WHERE run=? AND step=? AND outcome IN ('reply', 'uncounted')"
        mean = self._one(query, (run, step))[0]
        return None if mean is None else float(mean)

    def approved(self, approval: str) -> bool:
        """Whether the user has seen the first replies to this prompt and gone on."""
        return self._one("SELECT 1 FROM approvals WHERE id=?", (approval,)) is not None

    def ordered(self, key: str) -> Order | None:
        """A request that stands in a batch file and has no reply yet."""
        row = self._one("SELECT parts, run, step, prompt_pico, completion_pico FROM orders WHERE key=?", (key,))
        return None if row is None else (Parts(**json.loads(row[0])), *row[1:])

    def open_orders(self, run: str) -> Iterator[tuple[str, Order]]:
        """All such requests of a run, with their keys."""
        query = "SELECT key, parts, run, step, prompt_pico, completion_pico FROM orders WHERE run=?"
        for key, parts, *rest in self._reading.execute(query, (run,)):
            yield key, (Parts(**json.loads(parts)), *rest)

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """Key, subject and content of every reply."""
        yield from self._reading.execute("SELECT key, subject, content FROM replies ORDER BY key")

    def _one(self, query: str, values: tuple[Any, ...] | Mapping[str, Any]) -> Any:
        try:
            return self._reading.execute(query, values).fetchone()
        except sqlite3.Error as error:
            raise UserError(f"{self.path}: the journal cannot be read ({error})") from error

    # ---- writing: each returns at once and calls `done` when the disk has it ----

    def keep(self, parts: Parts, reply: Reply, done: Callable[[BaseException | None], None]) -> None:
        """Keep a reply. A reply that is there already stays."""
        values = (
            parts.key(), parts.task, parts.subject, parts.kind, parts.model, parts.prompt,
            json.dumps(dict(sorted(parts.sampling.items()))), parts.form, parts.sample, reply.content, reply.finish,
            reply.served_model, reply.prompt_tokens, reply.completion_tokens, time.time(),
        )  # fmt: skip
        self._queue.put((f"INSERT OR IGNORE INTO replies VALUES({', '.join('?' * 15)})", values, done))

    def charge(
        self, attempt: str, run: str, step: str, key: str, cost: Cost, done: Callable[[BaseException | None], None]
    ) -> None:
        """Enter the cost of an attempt, in the place of what was entered for it before."""
        values = (
            attempt, run, step, key, cost.outcome, cost.prompt_tokens, cost.completion_tokens, cost.pico_usd,
            cost.seconds, time.time(),
        )  # fmt: skip
        self._queue.put(("INSERT OR REPLACE INTO costs VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values, done))

    def withdraw(self, attempt: str, done: Callable[[BaseException | None], None]) -> None:
        """Take back the cost of an attempt that was not made."""
        self._queue.put(("DELETE FROM costs WHERE id=?", (attempt,), done))

    def approve(self, approval: str) -> None:
        """Note that the user has seen the first replies to this prompt and gone on."""
        self._now("INSERT OR IGNORE INTO approvals VALUES(?, ?)", (approval, time.time()))

    def order(self, parts: Parts, run: str, step: str, prices: tuple[int, int], done: Callable[..., None]) -> None:
        """Note a request that goes into a batch file, with the prices of a token in and out."""
        text = json.dumps(
            {**{name: getattr(parts, name) for name in Parts.__slots__}, "sampling": dict(parts.sampling)}
        )
        values = (parts.key(), text, run, step, *prices, time.time())
        self._queue.put(("INSERT OR REPLACE INTO orders VALUES(?, ?, ?, ?, ?, ?, ?)", values, done))

    def fill(self, key: str, done: Callable[[BaseException | None], None]) -> None:
        """Note that an ordered request has its reply."""
        self._queue.put(("DELETE FROM orders WHERE key=?", (key,), done))

    def settle(self) -> None:
        """Wait until all that was asked for before is on disk. Raises what a write since the last time raised."""
        try:
            self._now("SELECT 1", ())
        finally:
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _now(self, statement: str, values: tuple[Any, ...]) -> None:
        written: Future[None] = Future()

        def done(error: BaseException | None) -> None:
            written.set_exception(error) if error else written.set_result(None)

        self._queue.put((statement, values, done))
        written.result()

    def _write(self) -> None:
        """Commit whatever has gathered, again and again: many replies share one flush of the disk."""
        connection: sqlite3.Connection | None = None
        ends = False
        while not ends:
            group = [self._queue.get()]
            while len(group) < LARGEST_COMMIT and group[-1] is not None:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            ends = group[-1] is None
            entries = [entry for entry in group if entry is not None]
            error: BaseException | None = None
            try:
                connection = connection or self._connect()
                connection.execute("BEGIN IMMEDIATE")
                for statement, values, _ in entries:
                    connection.execute(statement, values)
                connection.execute("COMMIT")
            except sqlite3.Error as failure:  # a full disk, say
                error = UserError(f"{self.path}: the journal cannot be written ({failure})")
            except BaseException as failure:  # a defect: whoever waits must hear of it, or would wait for ever
                error = failure
            self._failure = self._failure or error
            if error is not None and connection is not None:
                connection.close()  # what it had begun is undone
                connection = None
            for _, _, done in entries:
                done(error)
        if connection is not None:
            connection.close()


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Readers and the writer do not wait for each other. Raises sqlite3.Error."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:  # SQLite does not wait here for another process that opens the file
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def differences(before: Parts, after: Parts) -> list[str]:
    """Which parts of a key differ, each as `part: before → after`; of a prompt its first line that does."""
    found = []
    for name in ("kind", "model", "form", "sample"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            found.append(f"{name}: {_shown(old)} → {_shown(new)}")
    for name in sorted({*before.sampling, *after.sampling}):
        old, new = before.sampling.get(name, "not sent"), after.sampling.get(name, "not sent")
        if old != new:
            found.append(f"{name}: {old} → {new}")
    if before.prompt != after.prompt:
        lines = zip_longest(before.prompt.split("\n"), after.prompt.split("\n"))  # None: no such line
        number, old, new = next((n, old, new) for n, (old, new) in enumerate(lines, 1) if old != new)
        found.append(f"prompt, line {number}: {_shown(old)} → {_shown(new)}")
    return found


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = str(value)
    return f"`{text if len(text) <= 100 else text[:99] + '…'}`"
