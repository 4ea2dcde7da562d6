"""The teacher behind an endpoint: every request is looked up in the journal, and bought only where it is not there."""

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Self

from pydantic import BaseModel

from hornbook.errors import UserError
from hornbook.recipe import LanguageModel
from hornbook.run.step import Workspace
from hornbook.teacher import batch, rehearsal
from hornbook.teacher.budget import FREE, Budget, dollars, rates_of
from hornbook.teacher.buying import Buyer
from hornbook.teacher.client import KIND, Endpoints
from hornbook.teacher.journal import FILE, PICO, Journal, Parts, Reply, differences
from hornbook.teacher.parsing import Reason, TeacherError
from hornbook.teacher.request import A, Answer, Failure, Request

WINDOW = 16  # answers that may wait behind a slow one, for each request that may be under way
DRAIN_SECONDS = 10.0  # for replies that are under way, and paid, when the work is stopped
UNFINISHED: dict[str, Reason] = {"content_filter": "refused", "refusal": "refused", "length": "cut off"}

Pending = asyncio.Task[Reply | TeacherError]


class LanguageModelTeacher:
    """A model behind OpenAI-compatible endpoints. Use as a context manager: closing it waits for what is under way.

    One thread does it all: the endpoints are served while an answer is waited for.
    """

    def __init__(self, model: LanguageModel, work: Workspace, step: str) -> None:
        self.name = model.model
        self.model, self.work, self.step = model, work, step
        self.config = work.machine.teacher
        fields = ("temperature", "top_p", "max_tokens")
        self.sampling = {name: value for name in fields if (value := getattr(model, name)) is not None}
        rates = FREE if self.config.offline else rates_of(model, self.config)
        self._asks = not self.config.offline and self.config.batch_file is None
        self.journal = Journal(work.shared / FILE)
        self.from_journal = 0
        self._rehearsed: frozenset[str] = frozenset()  # keys that are counted already
        self.budget = Budget(
            rates=rates,
            cap=None if self.config.max_usd is None else int(self.config.max_usd * PICO),
            spent=self.journal.spending(work.run).pico_usd,
        )
        if self._asks and self.budget.cap is not None:  # what batches may still cost counts for live requests too
            self.budget.spent += sum(batch.open_orders(self.journal, work.run).values())
        self._loop = asyncio.new_event_loop()
        self._endpoints: Endpoints | None = None  # opened when something must be bought: no key is needed before
        self._buyer: Buyer | None = None
        self._pending: dict[str, Pending] = {}  # by key: bought, and not yet given
        self._unfinished: set[Pending] = set()
        self._fatal: BaseException | None = None  # why nothing further is asked
        self._changed = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._loop.run_until_complete(self._drain())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()
            self.journal.__exit__()

    async def _drain(self) -> None:
        """Keep what is under way, and paid, if it comes soon; let go of the rest."""
        sending: set[Any] = set()
        if self._buyer is not None:
            sending, self._buyer.closing = self._buyer.sending, True
        for task in self._unfinished - sending:
            task.cancel()
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=DRAIN_SECONDS)
        for task in self._unfinished:
            task.cancel()
        await asyncio.gather(*self._pending.values(), return_exceptions=True)
        if self._endpoints is not None:
            await self._endpoints.close()

    # ---- the interface of a teacher ----

    def rehearse(self, requests: Iterable[Request[Any]], total: int) -> None:
        """Buy the first replies, show them with an estimate of the whole, and ask where the prompt is new.

        Raises UserError where the user does not go on, or where nobody is there to ask.
        """
        if self._asks:
            self._rehearsed = rehearsal.rehearse(self, requests, total)

    def answers(self, requests: Iterable[Request[A]]) -> Iterator[Answer[A]]:
        """The answers in order. Replies that come early wait, up to a window, and are on disk already.

        Raises UserError where the budget is reached, where an endpoint can give nothing more, and offline where a reply
        is not in the journal; Paused where requests were written to a batch file instead.
        """
        source = iter(requests)
        if self.config.batch_file is not None:
            source = batch.order(self, source)
        waiting: deque[tuple[Request[A], str, Reply | Pending]] = deque()
        while True:
            self._fill(source, waiting)
            if self._fatal is not None:  # no further request makes sense, whoever stands in front
                raise self._fatal
            if not waiting:
                return
            request, key, found = waiting[0]
            if isinstance(found, asyncio.Task):
                while not found.done() and self._fatal is None:
                    self._loop.run_until_complete(self._wait())
                    self._fill(source, waiting)
                if self._fatal is not None:
                    raise self._fatal
                self._pending.pop(key, None)
                yield _answer(request, key, found.result())
            else:
                yield _answer(request, key, found)
            waiting.popleft()

    def note(self) -> str:
        """What this run has spent, and what is under way."""
        of = "" if self.budget.cap is None else f" of {dollars(self.budget.cap)}"
        return f"{dollars(self.budget.spent)}{of}, {self.budget.under_way} open"

    def ledger(self) -> Mapping[str, Any]:
        """What this step of this run has cost, killed attempts included."""
        self.journal.settle()
        spent = self.journal.spending(self.work.run, self.step)
        return {
            "model": self.model.model,
            "requests_sent": spent.requests,
            "sent_now": 0 if self._buyer is None else self._buyer.sent,
            "lost": spent.lost,
            "refused": spent.refused,
            "from_journal": self.from_journal,
            "prompt_tokens": spent.prompt_tokens,
            "completion_tokens": spent.completion_tokens,
            "usd": spent.pico_usd / PICO,
            "uncertain_usd": spent.uncertain_pico_usd / PICO,
        }

    # ---- inside ----

    def knows(self, request: Request[Any]) -> bool:
        """Whether the journal can answer a request."""
        return self.journal.find(self.parts_of(request).key()) is not None

    def parts_of(self, request: Request[Any]) -> Parts:
        """All that determines the reply to a request."""
        return Parts(
            request.task, request.subject, KIND, self.model.model.removeprefix("openai:"), request.render(),
            self.sampling, _form(request.schema), request.sample,
        )  # fmt: skip

    def _fill(self, source: Iterator[Request[A]], waiting: "deque[tuple[Request[A], str, Reply | Pending]]") -> None:
        """Take requests until as many are under way, or wait in the window, as may."""
        self._changed.clear()  # before it looks, so that no change after it is missed
        most = self.config.concurrency
        while self._fatal is None and len(self._unfinished) < most and len(waiting) < WINDOW * most:
            request = next(source, None)
            if request is None:
                return
            parts = self.parts_of(request)
            key = parts.key()
            found: Reply | Pending | None = self._pending.get(key) or self.journal.find(key)
            if found is None:
                found = self._start(parts, key)
            elif isinstance(found, Reply) and key not in self._rehearsed:
                self.from_journal += 1
            waiting.append((request, key, found))
            if isinstance(found, Reply) and len(waiting) > most:
                return  # the journal gives faster than anybody reads

    def _start(self, parts: Parts, key: str) -> Pending:
        if not self._asks:
            raise UserError(self._why_miss(parts))
        if self._buyer is None:
            self._endpoints = Endpoints(self.config)
            self._buyer = Buyer(self._endpoints, self.journal, self.budget, self.work.run, self.step)
        task = self._loop.create_task(_buy(self._buyer, parts, key))
        self._pending[key] = task
        self._unfinished.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: Pending) -> None:
        self._unfinished.discard(task)
        if not task.cancelled() and (fatal := task.exception()) is not None:
            self._fatal = self._fatal or fatal
        self._changed.set()

    async def _wait(self) -> None:
        """Serve the endpoints until a reply has come, or a request was given up, since requests were last taken."""
        await self._changed.wait()

    def _why_miss(self, parts: Parts) -> str:
        """Why a reply is not in the journal: what differs from the nearest one that is."""
        earlier = self.journal.earlier(parts)
        miss = f"the reply to `{parts.subject[:120]}` is not in {self.journal.path}"
        if earlier is None:
            return f"{miss}, which has no reply to any request of this kind (`{parts.task}`)"
        changed = "; ".join(differences(earlier, parts))
        if earlier.subject == parts.subject:
            return f"{miss}; it has one about the same that differs in {changed}"
        return f"{miss}, nor any about the same; the nearest, `{earlier.subject[:120]}`, differs in {changed}"


async def _buy(buyer: Buyer, parts: Parts, key: str) -> Reply | TeacherError:
    try:
        return await buyer.buy(parts, key)
    except TeacherError as error:
        return error


def _answer(request: Request[A], key: str, found: Reply | TeacherError) -> Answer[A]:
    """What a reply says, or why it says nothing."""
    if isinstance(found, TeacherError):
        return Answer(key, None, Failure(found.reason, found.detail))
    reason = UNFINISHED.get(found.finish)
    if reason is not None:
        return Answer(key, None, Failure(reason, f"finish_reason `{found.finish}`", found.content))
    try:
        return Answer(key, request.parse(found.content))
    except TeacherError as error:
        return Answer(key, None, Failure(error.reason, error.detail, found.content))


@cache
def _form(schema: type[BaseModel] | None) -> str:
    """The JSON schema of a reply, as the endpoints' strict mode wants it."""
    if schema is None:
        return ""
    described = schema.model_json_schema() | {"additionalProperties": False}
    described.pop("description", None)  # our own words, which may change
    return json.dumps(described, sort_keys=True)
