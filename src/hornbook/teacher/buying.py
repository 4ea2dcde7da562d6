"""Buying one reply: within the budget, at whatever pace the endpoints bear, as often as it takes, and kept at once."""

import asyncio
import itertools
import os
import random
import time
from collections.abc import Callable
from typing import Literal

from hornbook.errors import UserError
from hornbook.teacher.budget import Budget, BudgetReachedError, dollars, upper_prompt_tokens
from hornbook.teacher.client import AttemptError, Endpoint, Endpoints
from hornbook.teacher.journal import Cost, Journal, Parts, Reply
from hornbook.teacher.parsing import TeacherError

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0  # before another attempt: doubled each time
LONGEST_RETRY_AFTER_SECONDS = 600.0  # an endpoint that asks for more is not waited for
LONGEST_LIMITED_SECONDS = 1800.0  # refused without a break for so long, a request is given up


Usage = tuple[int | None, int | None] | None  # tokens in and out


class Buyer:
    """Buys replies for one step of one run. Of one event loop: not for threads."""

    def __init__(self, endpoints: Endpoints, journal: Journal, budget: Budget, run: str, step: str) -> None:
        self.endpoints, self.journal, self.budget = endpoints, journal, budget
        self.run, self.step = run, step
        self.sent = 0  # attempts of this process
        self.sending: set[asyncio.Task[object] | None] = set()  # tasks whose request is at an endpoint
        self.closing = False  # nothing further is asked
        self._room = asyncio.Event()  # set whenever money has come free
        self._attempts = itertools.count()
        self._process = f"{os.getpid()}-{time.time_ns()}"

    async def buy(self, parts: Parts, key: str) -> Reply:
        """A reply, on disk when it is given.

        Raises TeacherError where this request has none after all attempts, and UserError where no further request
        makes sense: the budget is reached, the key is wrong, the disk is full.
        """
        faults, refused_since = 0, None
        plain: Endpoint | None = None  # it refused the request with its schema: since then it is sent without
        while True:
            endpoint = await self._place(parts)
            if (found := self.journal.find(key)) is not None:  # another process has bought it in the meantime
                self.budget.settle(self._upper(parts), 0)
                self.endpoints.leave(endpoint)
                self._room.set()
                return found
            structured = bool(parts.form) and endpoint.structured and plain is None
            try:
                reply = await self._attempt(endpoint, parts, key, structured)
                endpoint.structured = endpoint.structured and plain is not endpoint  # it was the schema
                return reply
            except AttemptError as error:
                now = time.monotonic()
                refused_since = None if error.kind != "limited" else refused_since or now
                wait = self._wait_after(error, endpoint, faults, now - (refused_since or now))
                faults += error.kind == "again"
                plain = endpoint if error.kind == "unstructured" else plain
                if self.closing:
                    raise TeacherError("no reply", error.detail) from None
            finally:
                self.endpoints.leave(endpoint)
            await asyncio.sleep(wait)

    async def _place(self, parts: Parts) -> Endpoint:
        """A place at an endpoint, with the money for one attempt set aside."""
        upper = self._upper(parts)
        while True:
            endpoint = await self.endpoints.seat()
            try:
                if self.budget.fits(upper, self.endpoints.config.deadline_seconds):
                    self.budget.reserve(upper)
                    return endpoint
            except BudgetReachedError:
                self.endpoints.leave(endpoint)
                raise UserError(self._reached(upper)) from None
            self.endpoints.leave(endpoint)
            self._room.clear()
            await self._room.wait()

    def _reached(self, upper: int) -> str:
        cap, spent = dollars(self.budget.cap or 0), dollars(self.budget.spent)
        return (
            f"the cap of {cap} is reached: {spent} spent, and the next request may cost up to {dollars(upper)}; every "
            "reply is kept, so the same command with a larger --max-usd goes on from here"
        )

    def _upper(self, parts: Parts) -> int:
        return self.budget.rates.upper(parts.prompt, int(parts.sampling["max_tokens"]))

    async def _attempt(self, endpoint: Endpoint, parts: Parts, key: str, structured: bool) -> Reply:
        """One attempt, entered in the journal before it is sent, where it costs anything, and after it is over."""
        upper, name, task = self._upper(parts), f"{self._process}-{next(self._attempts)}", asyncio.current_task()
        bound = Cost("sent", upper_prompt_tokens(parts.prompt), int(parts.sampling["max_tokens"]), upper, 0.0)
        if upper:
            await self._enter(name, key, bound)
        started, cost, reply = time.monotonic(), self._cost("lost", None, bound), None  # unless it turns out otherwise
        self.sending.add(task)
        self.sent += 1
        try:
            reply = await self.endpoints.attempt(endpoint, parts, structured)
            cost = self._cost("reply", (reply.prompt_tokens, reply.completion_tokens), bound)
            endpoint.succeeded()
            return await self._keep(name, parts, key, reply, self._settled(cost, upper, started))
        except AttemptError as error:
            cost = self._cost("lost", error.usage, bound) if error.billed else Cost("refused", 0, 0, 0, 0.0)
            raise
        except UserError:
            cost = Cost("refused", 0, 0, 0, 0.0)
            raise
        finally:
            self.sending.discard(task)
            if reply is None:
                self.journal.charge(name, self.run, self.step, key, self._settled(cost, upper, started), _ignore)
            self._room.set()

    async def _enter(self, name: str, key: str, bound: Cost) -> None:
        """Enter what an attempt can cost at most: a run killed from here on leaves it behind."""
        done = asyncio.get_running_loop().create_future()
        self.journal.charge(name, self.run, self.step, key, bound, _told(done))
        try:
            await done
        except BaseException:  # it is not sent: the disk is full, or the work was stopped
            self.budget.settle(bound.pico_usd, 0)
            self.journal.withdraw(name, _ignore)
            self._room.set()
            raise

    def _cost(self, outcome: Literal["reply", "lost"], usage: Usage, bound: Cost) -> Cost:
        """What the endpoint counted; where it did not count, the most it can have been."""
        if usage is None or usage[0] is None or usage[1] is None:
            return Cost(
                "uncounted" if outcome == "reply" else "lost",
                bound.prompt_tokens,
                bound.completion_tokens,
                bound.pico_usd,
                0.0,
            )
        rates = self.budget.rates
        pico = usage[0] * rates.prompt + usage[1] * rates.completion
        return Cost(outcome, usage[0], usage[1], pico, 0.0)

    def _settled(self, cost: Cost, upper: int, started: float) -> Cost:
        """The cost with the time it took, settled with the budget."""
        pico = self.budget.settle(upper, cost.pico_usd)
        return Cost(cost.outcome, cost.prompt_tokens, cost.completion_tokens, pico, time.monotonic() - started)

    async def _keep(self, name: str, parts: Parts, key: str, reply: Reply, cost: Cost) -> Reply:
        done = asyncio.get_running_loop().create_future()
        self.journal.charge(name, self.run, self.step, key, cost, _ignore)
        self.journal.keep(parts, reply, _told(done))
        await done
        return self.journal.find(key) or reply  # of two that were bought at once, the one that is kept

    def _wait_after(self, error: AttemptError, endpoint: Endpoint, faults: int, seconds: float) -> float:
        """How long to wait before the next attempt. Raises TeacherError where there is none."""
        if error.kind == "unstructured":
            return 0.0
        if error.kind == "never":
            raise TeacherError("rejected", error.detail)
        if (error.retry_after or 0.0) > LONGEST_RETRY_AFTER_SECONDS:
            raise UserError(
                f"{endpoint.url}: asks to wait {error.retry_after:,.0f} s ({error.detail}); the same command goes on "
                "later"
            )
        step = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**faults)
        wait = step * random.uniform(0.5, 1.0) if error.retry_after is None else error.retry_after  # noqa: S311
        if error.kind == "limited":
            if seconds > LONGEST_LIMITED_SECONDS:
                raise TeacherError("no reply", f"refused for {seconds:,.0f} s: {error.detail}")
            endpoint.refused(error.retry_after)
            return 0.0  # the endpoint opens again then, for all
        endpoint.failed()
        if faults + 1 >= self.endpoints.config.attempts:
            raise TeacherError("no reply", f"{faults + 1} attempts; the last: {error.detail}")
        return wait


def _told(future: "asyncio.Future[None]") -> Callable[[BaseException | None], None]:
    """What the journal's thread calls when the disk has it."""
    loop = future.get_loop()

    def tell(error: BaseException | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, future, error)

    return tell


def _resolve(future: "asyncio.Future[None]", error: BaseException | None) -> None:
    if not future.done():
        future.set_exception(error) if error else future.set_result(None)


def _ignore(error: BaseException | None) -> None:
    """For a cost whose reply, kept right after it, will tell."""
