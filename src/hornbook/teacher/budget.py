"""What a run may cost: a cap that counts every request under way at the most it can cost.

Money is reserved before a request is sent and settled when it is over, so what was spent never passes the cap, whatever
the endpoint does, as long as it bills no more than the tokens it was allowed to write.
"""

import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hornbook.errors import UserError
from hornbook.recipe import EndpointsConfig, HourPrice, LanguageModel, TokenPrice
from hornbook.teacher.journal import PICO

# A byte-level tokenizer makes at most one token of a byte; a chat template adds a few dozen to a message.
TEMPLATE_TOKENS = 128
LATE_SECONDS = 1.0  # a busy process may notice a deadline so much later
LOCAL = ("localhost", "127.0.0.1", "::1")


class BudgetReachedError(Exception):
    """Nothing more can be asked within the cap."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices in 1e-12 dollars: of a token in, a token out, and a second of asking."""

    prompt: int
    completion: int
    second: int

    def upper(self, prompt: str, max_tokens: int) -> int:
        """The most that the tokens of one attempt can cost."""
        return self.prompt * upper_prompt_tokens(prompt) + self.completion * max_tokens


FREE = Rates(0, 0, 0)


def upper_prompt_tokens(prompt: str) -> int:
    """More tokens than a prompt can have."""
    return len(prompt.encode("utf-8", "surrogatepass")) + TEMPLATE_TOKENS


def rates_of(model: LanguageModel, endpoints: EndpointsConfig) -> Rates:
    """The prices of a model at these endpoints.

    Raises UserError where no price is known: a price that nobody gave is not 0, save for this machine's own servers.
    """
    name = model.model.removeprefix("openai:")
    price = endpoints.prices.get(name)
    if isinstance(price, TokenPrice):
        return Rates(_pico(price.input_usd / 1e6), _pico(price.output_usd / 1e6), 0)
    if isinstance(price, HourPrice):
        return Rates(0, 0, _pico(price.hour_usd / 3600))
    if endpoints.base_urls and all(urlsplit(url).hostname in LOCAL for url in endpoints.base_urls):
        return FREE
    known = f" (prices are given for {', '.join(endpoints.prices)})" if endpoints.prices else ""
    raise UserError(
        f"no price is known for the model `{name}`{known}: give machine.teacher.prices (a recipe) or --price "
        "INPUT,OUTPUT in dollars a million tokens, --price 0 where it costs nothing, or --hour-usd for servers of your "
        "own"
    )


def batch_rates(model: LanguageModel, endpoints: EndpointsConfig) -> Rates:
    """The prices of a token in a batch file."""
    rates = rates_of(model, endpoints)
    price = endpoints.prices.get(model.model.removeprefix("openai:"))
    if isinstance(price, TokenPrice):
        return Rates(
            _pico(price.input_usd * price.batch_share / 1e6), _pico(price.output_usd * price.batch_share / 1e6), 0
        )
    return rates


def _pico(usd: float) -> int:
    """Rounded up: a cap must hold."""
    pico = usd * PICO
    return int(pico) + (pico > int(pico))


@dataclass(slots=True)
class Budget:
    """What was spent, and what requests under way may still cost. Of one event loop: not for threads."""

    rates: Rates
    cap: int | None  # pico-dollars
    spent: int  # by this run before
    reserved: int = 0
    under_way: int = 0
    _clock: float | None = field(default=None)  # since when seconds have not been charged

    def fits(self, upper: int, deadline_seconds: float) -> bool:
        """Whether a request that costs at most `upper` can be sent now.

        Raises BudgetReachedError where it cannot, and nothing under way could make room.
        """
        if self.cap is None:
            return True
        time_cost = int(self.rates.second * (self._unsettled_seconds() + deadline_seconds + LATE_SECONDS))
        if self.spent + self.reserved + upper + time_cost <= self.cap:
            return True
        if self.under_way == 0:
            raise BudgetReachedError
        return False

    def reserve(self, upper: int) -> None:
        """Set money aside for a request that is now sent."""
        if self.under_way == 0:
            self._clock = time.monotonic()
        self.under_way += 1
        self.reserved += upper

    def settle(self, upper: int, cost: int) -> int:
        """Give back what was set aside and enter the cost, with the time that has passed; gives the whole."""
        self.reserved -= upper
        cost += int(self.rates.second * self._unsettled_seconds())
        self.under_way -= 1
        self._clock = time.monotonic() if self.under_way else None
        self.spent += cost
        return cost

    def _unsettled_seconds(self) -> float:
        return 0.0 if self._clock is None else time.monotonic() - self._clock


def dollars(pico: int) -> str:
    """An amount for a person: cents, and more digits where it is less than a cent."""
    usd = pico / PICO
    return f"${usd:,.2f}" if usd >= 0.1 or usd == 0 else f"${usd:.4f}" if usd >= 0.001 else f"${usd:.2g}"
