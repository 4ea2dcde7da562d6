"""Attempts at OpenAI-compatible endpoints: one request, one answer, and what went wrong in words that say what to do.

What an endpoint sends is hostile: bodies are bounded and checked field by field, and the key is cut out of every byte
that comes back, so that no error, log or file can hold it.
"""

import asyncio
import json
import os
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import aiohttp
import httpx2
import openai

from hornbook.errors import UserError
from hornbook.recipe import EndpointsConfig
from hornbook.teacher.journal import Parts, Reply
from hornbook.teacher.parsing import whole

OPENAI_URL = "https://api.openai.com/v1"
USUAL_VARIABLE = "OPENAI_API_KEY"  # sent where it is set; another one was asked for by name
NO_KEY = "none"  # what is sent to servers that want none
SHORTEST_SECRET = 12  # characters: a shorter key is a word such as EMPTY, which may stand in any reply
KIND = "openai-chat"
LARGEST_BODY = 1 << 23  # bytes: 8 MB, far above the longest reply
MOST_TOKENS = 1 << 24  # of one request: a larger count is nonsense
LONGEST_DETAIL = 300  # characters of an endpoint's error
SHOWN_BYTES = 100  # of a body that is no JSON
FIRST_LIMIT = 16  # requests under way at an endpoint that is not known yet
CUT = 0.7  # of the limit after a rate limit
GROWTH = 0.25  # requests for each round of answers, near what the endpoint bears
FIRST_CLOSED_SECONDS, LONGEST_CLOSED_SECONDS = 0.1, 30.0  # after refusals that do not say how long
CUT_SECONDS = 1.0  # one cut for all refusals of one moment
CONNECT_SECONDS = 30.0  # to open a connection, where the deadline is longer
KEEP_SECONDS = 3.0  # an idle connection is kept
FAULTS_IN_A_ROW = 3  # after which other endpoints are asked
SHUN_SECONDS = 10.0  # for so long
# The SDK's transport calls every broken connection a `ConnectTimeout`, also one broken long after the request was sent.
NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
MAY_BE_BILLED = (502, 504, 524)  # a gateway gave up: what stands behind it may have answered
NO_MONEY = 402
QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "access_terminated")

Kind = Literal["again", "limited", "never", "unstructured"]


class AttemptError(Exception):
    """An attempt that gave no reply, and what may follow from it.

    `again`: try again. `limited`: the endpoint asks to wait. `never`: this request will not be answered.
    `unstructured`: not with a JSON schema. `billed`: the endpoint may have worked for it; `usage` if it said how much.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        billed: bool = False,
        usage: tuple[int, int] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind: Kind = kind
        self.detail = detail
        self.billed = billed
        self.usage = usage
        self.retry_after = retry_after


@dataclass(slots=True)
class Endpoint:
    """One server, and how much it bears: the limit grows with every answer and is cut when the server says so."""

    url: str
    client: openai.AsyncOpenAI
    most: int
    limit: float = FIRST_LIMIT
    under_way: int = 0
    opens_at: float = 0.0  # monotonic seconds: it asked to wait until then
    ramping: bool = True  # doubling; after the first refusal it grows by `GROWTH` requests a round
    structured: bool = True  # until it answers without a JSON schema what it refused with one
    cut_at: float = 0.0
    faults: int = 0  # in a row
    refusals: int = 0  # in a row, those of one moment counted once
    shunned_until: float = 0.0  # monotonic seconds: others are asked, where there are any

    def succeeded(self) -> None:
        """Bear a little more."""
        self.faults = self.refusals = 0
        self.limit = min(float(self.most), self.limit + (1.0 if self.ramping else GROWTH / self.limit))

    def failed(self) -> None:
        """Be left alone for a while: a dead server is never busy, and would draw every request to itself."""
        self.faults += 1
        if self.faults >= FAULTS_IN_A_ROW:
            self.shunned_until = time.monotonic() + SHUN_SECONDS

    def refused(self, wait: float | None) -> None:
        """Bear less, and wait: as long as it says, or else longer each time, until something is answered."""
        now = time.monotonic()
        if now >= self.opens_at:
            self.refusals += 1
        if wait is None:
            wait = min(LONGEST_CLOSED_SECONDS, FIRST_CLOSED_SECONDS * 2 ** (self.refusals - 1))
        self.opens_at = max(self.opens_at, now + wait)
        if now - self.cut_at >= CUT_SECONDS:
            self.limit, self.ramping, self.cut_at = max(1.0, min(self.limit, self.under_way) * CUT), False, now


class Endpoints:
    """The endpoints of one teacher: requests go to the one that is least busy for what it bears."""

    def __init__(self, config: EndpointsConfig) -> None:
        self._key = os.environ.get(config.key_variable, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise UserError(f"the key in {config.key_variable} holds characters that no key has; set it anew")
        if not config.base_urls and os.environ.get("OPENAI_BASE_URL"):
            raise UserError("OPENAI_BASE_URL is set, and hornbook does not read it: give --base-url, or unset it")
        if config.key_variable != USUAL_VARIABLE and not self._key:
            raise UserError(f"the environment variable {config.key_variable}, which was to hold the key, is not set")
        if not config.base_urls and not self._key:
            raise UserError(
                f"no key: set the environment variable {config.key_variable}, or give --base-url for your own server"
            )
        self.config = config
        urls = config.base_urls or (OPENAI_URL,)
        self._all = [Endpoint(url, self._open(url), config.concurrency) for url in dict.fromkeys(urls)]
        for endpoint in self._all:
            endpoint.limit = min(FIRST_LIMIT, config.concurrency)
            endpoint.structured = config.structured_output == "auto"
        self._under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._opening: asyncio.TimerHandle | None = None

    def _open(self, url: str) -> openai.AsyncOpenAI:
        # As many connections as requests: the transport takes None for 100. Servers close idle ones after 5 s or more.
        limits = httpx2.Limits(max_connections=self.config.concurrency, keepalive_expiry=KEEP_SECONDS)
        deadline = self.config.deadline_seconds
        # The SDK's aiohttp transport: 1.1 ms of CPU a request where the other takes 2.4 ms at 256 connections.
        return openai.AsyncOpenAI(
            base_url=url,
            api_key=self._key or NO_KEY,
            max_retries=0,  # every attempt is paced and paid for here
            timeout=httpx2.Timeout(deadline, connect=min(deadline, CONNECT_SECONDS)),
            default_headers={"Accept-Encoding": "identity"},  # what is compressed is of any size
            http_client=openai.DefaultAioHttpClient(
                follow_redirects=False, limits=limits, event_hooks={"response": [_bound]}
            ),
        )

    @property
    def under_way(self) -> int:
        """Requests sent and not yet answered."""
        return self._under_way

    async def close(self) -> None:
        """Close all connections."""
        for endpoint in self._all:
            await endpoint.client.close()

    def scrub(self, text: str) -> str:
        """A text without the key, fit for a file."""
        return whole(text.replace(self._key, "[key]") if self._is_secret() else text)

    def _is_secret(self) -> bool:
        return len(self._key) >= SHORTEST_SECRET

    async def seat(self) -> Endpoint:
        """Wait until an endpoint may be asked, and take a place at it."""
        while (chosen := self._free()) is None:
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            self._wake_when_open()
            await place
        chosen.under_way += 1
        self._under_way += 1
        return chosen

    def leave(self, endpoint: Endpoint) -> None:
        """Give a place back."""
        endpoint.under_way -= 1
        self._under_way -= 1
        self._wake()

    def _usable(self) -> list[Endpoint]:
        """The endpoints that do not ask to wait; those that only fail, where there are no others."""
        now = time.monotonic()
        sound = [e for e in self._all if e.shunned_until <= now]
        return [e for e in sound or self._all if e.opens_at <= now]

    def _free(self) -> Endpoint | None:
        """The endpoint that is least busy for what it bears."""
        free = [e for e in self._usable() if e.under_way < int(e.limit)]
        if not free or self._under_way >= self.config.concurrency:
            return None
        return min(free, key=lambda e: e.under_way / e.limit)

    def _wake(self) -> None:
        """Let as many try again as there are places; more would only wait again."""
        places = sum(max(0, int(e.limit) - e.under_way) for e in self._usable())
        places = min(places, self.config.concurrency - self._under_way)
        while places > 0 and self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                places -= 1
        self._wake_when_open()

    def _wake_when_open(self) -> None:
        """See to it that those who wait are woken when an endpoint opens again."""
        now = time.monotonic()
        closed = [e.opens_at for e in self._all if e.opens_at > now]
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._waiting and closed:
            self._opening = asyncio.get_running_loop().call_later(min(closed) - now, self._wake)

    async def attempt(self, endpoint: Endpoint, parts: Parts, structured: bool) -> Reply:
        """Send one request to one endpoint, with its JSON schema if `structured`.

        Raises AttemptError, and UserError for what no further request will mend: a wrong key, an unknown model, no
        money left at the provider.
        """
        try:
            async with asyncio.timeout(self.config.deadline_seconds):
                # The SDK's way to a body as it came: what it makes of a reply it does not check.
                sent = body_of(parts, structured, own_server=bool(self.config.base_urls))
                body = await endpoint.client.post("/chat/completions", cast_to=bytes, body=sent)
        except openai.APIStatusError as error:
            raise self._refusal(error, endpoint, structured) from None
        except TimeoutError:
            raise AttemptError("again", f"no reply within {self.config.deadline_seconds:g} s", billed=True) from None
        except (openai.APIConnectionError, aiohttp.ClientError, UnicodeError) as error:  # the last two: no sound HTTP
            cause = _cause(error)
            detail = self.scrub(f"connection to {endpoint.url}: {type(cause).__name__}: {cause}")[:LONGEST_DETAIL]
            raise AttemptError("again", detail, billed=not isinstance(cause, NOT_SENT)) from None
        try:
            reply = read_reply(body.replace(self._key.encode(), b"[key]") if self._is_secret() else body)
        except AttemptError as error:
            error.detail = self.scrub(error.detail)[:LONGEST_DETAIL]
            raise
        return replace(  # once more: JSON can spell a key in other bytes
            reply,
            content=self.scrub(reply.content),
            finish=self.scrub(reply.finish),
            served_model=self.scrub(reply.served_model),
        )

    def _refusal(self, error: openai.APIStatusError, endpoint: Endpoint, structured: bool) -> Exception:
        """What a status other than success means."""
        status, code = error.status_code, str(getattr(error, "code", None) or "")
        said = " ".join(str(error.message).split()).removeprefix(f"Error code: {status}").removeprefix(" - ")
        detail = f"status {status}{': ' if said else ''}{self.scrub(said)[:LONGEST_DETAIL]}"
        wait = _retry_after(error.response.headers)
        if code in QUOTA or status == NO_MONEY:
            return UserError(
                f"{endpoint.url}: no money is left at the provider ({detail}); the same command goes on from here"
            )
        if status == 429:
            return AttemptError("limited", detail, retry_after=wait)
        if status == 503 and wait is not None:
            return AttemptError("limited", detail, retry_after=wait)
        if status in (408, 409, 425) or status >= 500:
            return AttemptError("again", detail, billed=status in MAY_BE_BILLED, retry_after=wait)
        if status in (400, 422) and structured:
            return AttemptError("unstructured", detail)
        if status in (401, 403):
            return UserError(f"{endpoint.url}: the key in {self.config.key_variable} is not accepted ({detail})")
        if 300 <= status < 400:
            place = self.scrub(str(error.response.headers.get("location")).partition("?")[0])[:LONGEST_DETAIL]
            return UserError(f"{endpoint.url}: points to `{place}` ({detail}), which is not followed; mend --base-url")
        if status == 404:
            return UserError(f"{endpoint.url}: knows no such model or path ({detail}); mend the model or --base-url")
        return AttemptError("never", detail)


def _cause(error: BaseException) -> BaseException:
    """What the transport met, below the names that the SDK gives it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, aiohttp.ClientError):
        cause = cause.__cause__
    return cause or error.__cause__ or error


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends in an error where it is longer than any reply."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > LARGEST_BODY:
                raise AttemptError("never", f"a body of more than {LARGEST_BODY:,} bytes", billed=True)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx2.Response) -> None:
    response.stream = _Bounded(response.stream)


def _retry_after(headers: Any) -> float | None:
    """The seconds an endpoint asks to wait, from `Retry-After-Ms` or `Retry-After` (seconds, or a date)."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        if (value := headers.get("retry-after")) is None:
            return None
        if value.strip().replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def body_of(parts: Parts, structured: bool, own_server: bool) -> dict[str, Any]:
    """The body of a request. OpenAI's own models take `max_completion_tokens`, other servers know `max_tokens`."""
    names = {"max_tokens": "max_tokens" if own_server else "max_completion_tokens"}
    body: dict[str, Any] = {"model": parts.model, "messages": [{"role": "user", "content": parts.prompt}]}
    body |= {names.get(name, name): value for name, value in parts.sampling.items()}
    if structured and parts.form:
        schema = {"name": parts.task, "schema": json.loads(parts.form), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def read_reply(body: bytes) -> Reply:
    """The reply in a body. Raises AttemptError for a body that holds none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        start = body[:SHOWN_BYTES].decode("utf-8", "replace")
        raise AttemptError("again", f"a body that is no JSON: `{' '.join(start.split())}`", billed=True) from None
    if not isinstance(found, dict):
        raise AttemptError("again", "a body that is no chat completion", billed=True)
    usage = _usage(found.get("usage"))
    choices = found.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        said = f": {found['error']}" if found.get("error") else ""
        raise AttemptError("again", f"a reply without choices{said}", billed=True, usage=usage)
    message = choices[0].get("message")
    if not isinstance(message, dict):
        raise AttemptError("again", "a choice without a message", billed=True, usage=usage)
    finish = str(choices[0].get("finish_reason") or "stop")
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(refusal, str) and refusal:
        content, finish = refusal, "refusal"
    if not isinstance(content, str):
        content = ""
    if not content.strip() and finish == "stop":
        raise AttemptError("again", "a reply without text", billed=True, usage=usage)
    prompt_tokens, completion_tokens = usage or (None, None)
    served_model = str(found.get("model") or "")
    return Reply(content, finish, served_model, prompt_tokens, completion_tokens)


def _usage(usage: Any) -> tuple[int, int] | None:
    """Tokens in and out, where an endpoint counts them."""
    if not isinstance(usage, dict):
        return None
    tokens_in, tokens_out = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    return None if tokens_in is None or tokens_out is None else (tokens_in, tokens_out)


def _count(value: Any) -> int | None:
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_TOKENS
    return value if sound else None
