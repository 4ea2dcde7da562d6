"""An OpenAI-compatible server that answers by script and goes wrong on demand, in a process of its own.

`python faulty_server.py --port 0 --script script.json` prints its port as the first line. In a test:

    with serve({"reply": {"mode": "echo"}, "faults": [{"when": {"share": 0.3, "times": 1}, "fault": "503"}]}) as server:
        ...  # a client of server.base_url
        server.log(), server.counts()

A script is a JSON object; every field may be left out:

    reply    how a healthy answer is made: `mode` is one of REPLIES (default echo), with the fields its function reads.
             Of every mode: `wrap` [before, after] goes around the content; `usage` "absent" leaves usage out;
             `structured` "reject" answers 400 to a request with a `response_format`
    faults   [{"when": {...}, "fault": NAME, ...parameters}]: the first one of which all conditions hold is given.
             Conditions are CONDITIONS, names are ANSWERS and BEHAVIOURS. Without conditions: always
    latency  seconds before an answer, or [low, high]: between them, by the hash of the body
    limit    {"concurrent": N, "status": 429, "retry_after": s or null}: refused at once while N are in work

Without latency an answer is written before the next request is read: to see concurrency, or a limit, give one.
"""

import argparse
import asyncio
import contextlib
import gc
import hashlib
import http.client
import json
import math
import re
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

Script = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to chat completions."""

    number: int  # by arrival, from 1
    attempt: int  # how often this very body has come, this time included
    digest: bytes  # of the body
    body: dict[str, Any]
    prompt: str  # the texts of all messages, a line end between them
    authorization: str
    before: str  # another prompt, the last one that came before


def hash64(*parts: bytes) -> int:
    """64 bits of a hash."""
    return int.from_bytes(hashlib.blake2b(b"\0".join(parts), digest_size=8).digest(), "big")


def share(seed: int, digest: bytes) -> float:
    """Between 0 and 1, by seed and body."""
    return hash64(str(seed).encode(), digest) / 2.0**64


# When: condition -> (its value, all conditions of the fault, the request) -> whether it holds.

CONDITIONS: dict[str, Callable[[Any, dict[str, Any], Asked], bool]] = {
    "every": lambda n, when, asked: asked.number % n == 0,  # every n-th request
    "first": lambda n, when, asked: asked.number <= n,  # the first n requests
    "after": lambda n, when, asked: asked.number > n,  # all but the first n
    "share": lambda p, when, asked: share(when.get("seed", 0), asked.digest) < p,  # of bodies; the same ones by `seed`
    "seed": lambda seed, when, asked: True,
    "times": lambda k, when, asked: asked.attempt <= k,  # the first k times a body comes; without it, every time
    "attempt": lambda k, when, asked: asked.attempt == k,  # the k-th time a body comes
    "contains": lambda text, when, asked: text in asked.prompt,
}


def find_fault(script: Script, asked: Asked) -> dict[str, Any] | None:
    """The fault a script has for a request."""
    for fault in script.get("faults", ()):
        when = fault.get("when", {})
        if all(CONDITIONS[name](value, when, asked) for name, value in when.items()):
            return fault
    return None


# What: mode -> (the prompt, `reply` of the script) -> the content.


def echo(prompt: str, reply: dict[str, Any]) -> str:
    """A hash of the prompt and its first characters, as many as `characters` says (60)."""
    return f"{hash64(prompt.encode()):016x} {prompt[: reply.get('characters', 60)]}"


def rating(prompt: str, reply: dict[str, Any]) -> str:
    """JSON with the hexadecimal id of the prompt's first line `Document: <hex>` and a score by its hash, or `score`."""
    document = re.search(r"^Document: *([0-9a-f]+) *$", prompt, re.MULTILINE)
    number = hash64(prompt.encode())
    answer = {
        "document": document[1] if document else None,
        "rationale": f"Clear in {number % 7} of 7 respects.",
        "score": reply.get("score", number % 51 / 10),
    }
    return json.dumps(answer)


def exercise(prompt: str, reply: dict[str, Any]) -> str:
    """JSON of an exercise that is right, its numbers by a hash of the prompt: whole in `code`, and cut in two.

    Topic, name and words are those of the prompt's lines `- Topic: `, `- Name of the function: ` and `- Words …: `;
    instead of the name `any` one is chosen.
    """
    number = hash64(prompt.encode())
    given = re.search(r"^- Name of the function[^:\n]*: *([^\W\d]\w*) *$", prompt, re.MULTILINE)
    name = given[1] if given and given[1] != "any" else f"step_{number % 10**6}"
    factor, offset, other = 2 + number % 97, 1 + number // 97 % 997, -1 - number // 97 // 997 % 991
    does = f"Return {factor} times n plus {offset}, or {other} where n is negative.{words(prompt)}"
    start = f'def {name}(n: int) -> int:\n    """{does}"""\n'
    solution = f"    if n < 0:\n        return {other}\n    return {factor} * n + {offset}\n"
    answer = {
        "topic": topic(prompt),
        "name": name,
        "prompt": start,
        "solution": solution,
        "code": start + solution,
        "tests": [f"assert {name}({n}) == {other if n < 0 else factor * n + offset}" for n in (0, 1, 12, -1)],
    }
    return json.dumps(answer)


def section(prompt: str, reply: dict[str, Any]) -> str:
    """The line `Topic: …` and a section of Markdown, its numbers by a hash of the prompt.

    Topic and words are those of the prompt's lines `- Topic: ` and `- … words …: `.
    """
    number = hash64(prompt.encode())
    factor, start = 2 + number % 97, number // 97 % 997
    return f"""Topic: {topic(prompt)}
# About {topic(prompt)}

A function gives a name to a piece of work, so that the work can be asked for wherever it is needed. What it needs to
know comes in through its parameters, and what it found out goes back to the caller with `return`. Nothing else should
pass between the two. Here the work is to multiply each number of a list by {factor}, which a comprehension says in one
line. The list that was given stays as it was, and an empty list gives an empty list.{words(prompt)}

```python
def scaled(numbers: list[int]) -> list[int]:
    \"\"\"Each number times {factor}.\"\"\"
    return [{factor} * number for number in numbers]


print(scaled([{start}, {start + 1}]))
```

The call prints `[{factor * start}, {factor * (start + 1)}]`.
"""


def further_tests(prompt: str, reply: dict[str, Any]) -> str:
    """JSON with tests, not its own, of an exercise that `exercise` wrote and whose docstring the prompt shows."""
    found = re.search(r"def (\w+)\(n: int\).*?Return (\d+) times n plus (\d+), or (-\d+) where", prompt, re.DOTALL)
    if found is None:
        raise LookupError("this prompt shows no exercise of this server")
    name, (factor, offset, other) = found[1], map(int, found.groups()[1:])
    values = ((2, 2 * factor + offset), (40, 40 * factor + offset), (-3, other), (0, offset))
    return json.dumps({"name": name, "tests": [f"assert {name}({n}) == {value}" for n, value in values]})


def topics(prompt: str, reply: dict[str, Any]) -> str:
    """JSON with as many titles as the prompt asks for, by a hash of its line `Topic: …`."""
    above = re.search(r"^Topic: *(.+)$", prompt, re.MULTILINE)
    count = re.search(r"Name (\d+) topics", prompt)
    title = above[1].strip() if above else "everything"
    titles = [f"Aspect {hash64(title.encode(), bytes([n])) % 10**6} of {title}"[:60] for n in range(int(count[1]))]
    return json.dumps({"topic": title, "topics": titles})


def grade(prompt: str, reply: dict[str, Any]) -> str:
    """JSON with the hexadecimal id of the prompt's line `Answer: <hex>` and a score by its hash, or `score`."""
    answer = re.search(r"^Answer: *([0-9a-f]+) *$", prompt, re.MULTILINE)
    number = hash64(prompt.encode())
    assessment = f"It understands {number % 7} of 7 parts."
    echo = answer[1] if answer else None
    return json.dumps({"answer": echo, "assessment": assessment, "score": reply.get("score", number % 101 / 10)})


def safety(prompt: str, reply: dict[str, Any]) -> str:
    """JSON with the hexadecimal id of the prompt's line `Continuation: <hex>`; a verdict by its hash, or `verdict`."""
    continuation = re.search(r"^Continuation: *([0-9a-f]+) *$", prompt, re.MULTILINE)
    number = hash64(prompt.encode())
    verdict = reply.get("verdict", ("pass", "fail", "did not understand")[number % 3])
    echo = continuation[1] if continuation else None
    return json.dumps({"continuation": echo, "reason": f"It harms {number % 7} people.", "verdict": verdict})


def topic(prompt: str) -> str:
    """The topic of the prompt's line `- Topic: `."""
    found = re.search(r"^- Topic: *(.+)$", prompt, re.MULTILINE)
    return found[1].strip() if found else "functions"


def words(prompt: str) -> str:
    """A sentence with the words that the prompt's line `- … words …: ` asks for, where there is one."""
    found = re.search(r"^- [^:\n]*\bwords\b[^:\n]*: *(.+)$", prompt, re.MULTILINE | re.IGNORECASE)
    return f" Think of {found[1].strip()}." if found and found[1].strip() != "any" else ""


def lookup(prompt: str, reply: dict[str, Any]) -> str:
    """The text of the first entry of `texts` whose key is in the prompt, or `default`. Raises LookupError for none."""
    for part, text in reply["texts"].items():
        if part in prompt:
            return text
    if "default" in reply:
        return reply["default"]
    raise LookupError("the script's `texts` has no entry for this prompt")


REPLIES: dict[str, Callable[[str, dict[str, Any]], str]] = {
    "echo": echo,
    "rating": rating,
    "exercise": exercise,
    "section": section,
    "tests": further_tests,
    "topics": topics,
    "grade": grade,
    "safety": safety,
    "fixed": lambda prompt, reply: reply["text"],
    "lookup": lookup,
}


def healthy_content(reply: dict[str, Any], prompt: str) -> str:
    """What a script's `reply` answers to a prompt, before max_tokens cuts it. Tests compute what they expect by it."""
    before, after = reply.get("wrap", ("", ""))
    return f"{before}{REPLIES[reply.get('mode', 'echo')](prompt, reply)}{after}"


def tokens(text: str) -> int:
    """Tokens as this server counts them: a token is four bytes."""
    return math.ceil(len(text.encode()) / 4)


def completion(asked: Asked, reply: dict[str, Any], content: str | None, finish: str = "stop") -> dict[str, Any]:
    """A chat completion; a content of more tokens than the request allows is cut, and its finish_reason is `length`."""
    body = asked.body
    allowed = body.get("max_completion_tokens") or body.get("max_tokens")
    if content is not None and allowed is not None and tokens(content) > allowed:
        content, finish = content.encode()[: 4 * allowed].decode(errors="ignore"), "length"
    message = {"role": "assistant", "content": content, "refusal": None}
    answer = {
        "id": f"chatcmpl-{asked.number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
    }
    if reply.get("usage") != "absent":
        read, written = tokens(asked.prompt), tokens(content or "")
        answer["usage"] = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return answer


# How it is sent.

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


def response(status: int, payload: Any, headers: dict[str, Any] | None = None, kind: str = "application/json") -> bytes:
    """An HTTP response; a payload that is not bytes is sent as JSON."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    reason = REASONS.get(status, "Internal Server Error")
    return (
        f"HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\n{lines}content-length: {len(body)}\r\n\r\n".encode()
        + body
    )


def status_of(whole: bytes) -> int:
    """The status of a response."""
    return int(whole[9:12])


def error(status: int, message: str, kind: str, code: str | None = None, **more: Any) -> bytes:
    """An error as OpenAI writes it. `more`: `param` of the body, `headers` of the response."""
    body = {"message": message, "type": kind, "param": more.get("param"), "code": code}
    return response(status, {"error": body}, more.get("headers"))


def rate_limited(status: int = 429, **headers: Any) -> bytes:
    """Too many requests; an underscore in a header's name stands for its hyphen."""
    lines = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
    return error(status, "Rate limit reached for requests", "requests", "rate_limit_exceeded", headers=lines)


# Faults that are an answer: name -> (request, the script's `reply`, parameters) -> response.

HTML = b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"


def later_date(seconds: float) -> str:
    """An HTTP date at least so many seconds from now; such dates hold whole seconds."""
    return formatdate(math.ceil(time.time() + seconds), usegmt=True)


def healthy(asked: Asked, reply: dict[str, Any]) -> dict[str, Any]:
    """The completion a script's `reply` makes."""
    return completion(asked, reply, healthy_content(reply, asked.prompt))


def altered(asked: Asked, reply: dict[str, Any], **message: Any) -> bytes:
    """The healthy reply with fields of its message, or its `finish_reason`, replaced."""
    answer = healthy(asked, reply)
    choice = answer["choices"][0]
    choice["finish_reason"] = message.pop("finish_reason", choice["finish_reason"])
    choice["message"].update(message)
    if "usage" in answer:
        written = tokens(choice["message"]["content"] or "")
        answer["usage"]["completion_tokens"] = written
        answer["usage"]["total_tokens"] = written + answer["usage"]["prompt_tokens"]
    return response(200, answer)


def half(asked: Asked, reply: dict[str, Any]) -> str:
    """The first half of the healthy content."""
    content = healthy_content(reply, asked.prompt)
    return content[: len(content) // 2]


def wrong_types(asked: Asked, reply: dict[str, Any], params: dict[str, Any]) -> bytes:
    return response(200, healthy(asked, reply) | {"choices": "none", "usage": "a few tokens"})


def bad_utf8(asked: Asked, reply: dict[str, Any], params: dict[str, Any]) -> bytes:
    body = json.dumps(completion(asked, reply, "@@")).encode()
    return response(200, body.replace(b"@@", b"\xff\xfe\x80"))


def key_echo(asked: Asked, reply: dict[str, Any], params: dict[str, Any]) -> bytes:
    message = f"Incorrect API key provided: {asked.authorization}. You can find your API key in your account."
    return error(params.get("status", 401), message, "invalid_request_error", "invalid_api_key")


def another_reply(asked: Asked, reply: dict[str, Any], params: dict[str, Any]) -> bytes:
    """`text`, or the healthy reply to the prompt that came before; to one never asked where none has come."""
    other = asked.before or "- Topic: another\n- Name of the function: another\nDocument: 0123456789abcdef\n"
    return response(200, completion(asked, reply, params.get("text", healthy_content(reply, other))))


Answer = Callable[[Asked, dict[str, Any], dict[str, Any]], bytes]
ANSWERS: dict[str, Answer] = {
    "429_retry_after": lambda a, r, p: rate_limited(retry_after=p.get("seconds", 1)),
    "429_retry_after_ms": lambda a, r, p: rate_limited(retry_after_ms=p.get("milliseconds", 100)),
    "429_retry_after_date": lambda a, r, p: rate_limited(retry_after=later_date(p.get("seconds", 1))),
    "429": lambda a, r, p: rate_limited(),
    "500": lambda a, r, p: error(500, "The server had an error while processing your request", "server_error"),
    "503": lambda a, r, p: error(503, "The engine is currently overloaded", "server_error"),
    "401": lambda a, r, p: error(401, "Incorrect API key provided", "invalid_request_error", "invalid_api_key"),
    "404_model": lambda a, r, p: error(
        404, f"The model `{a.body.get('model')}` does not exist", "invalid_request_error", "model_not_found"
    ),
    "400_context_length": lambda a, r, p: error(
        400,
        f"This model's maximum context length is 8 tokens. However, your messages resulted in {tokens(a.prompt)}.",
        "invalid_request_error",
        "context_length_exceeded",
        param="messages",
    ),
    "quota": lambda a, r, p: error(
        429, "You exceeded your current quota, check your plan", "insufficient_quota", "insufficient_quota"
    ),
    "status": lambda a, r, p: response(p["status"], p.get("body", {"error": {"message": "?"}}), p.get("headers")),
    "truncated_json": lambda a, r, p: response(200, json.dumps(healthy(a, r)).encode()[:-40]),
    "malformed_json": lambda a, r, p: response(200, HTML),
    "html_200": lambda a, r, p: response(200, HTML, kind="text/html; charset=utf-8"),
    "wrong_schema": lambda a, r, p: response(200, {"ok": True}),
    "wrong_types": wrong_types,
    "empty_choices": lambda a, r, p: response(200, healthy(a, r) | {"choices": []}),
    "null_content": lambda a, r, p: altered(a, r, content=None),
    "empty_content": lambda a, r, p: altered(a, r, content=""),
    "another_reply": another_reply,
    "content_filter": lambda a, r, p: altered(
        a, r, content=half(a, r) if p.get("partial") else None, finish_reason="content_filter"
    ),
    "refusal": lambda a, r, p: altered(a, r, content=None, refusal=p.get("text", "I'm sorry, I can't help with that.")),
    "length": lambda a, r, p: altered(a, r, content=half(a, r), finish_reason="length"),
    "huge": lambda a, r, p: altered(a, r, content="x" * int(p.get("megabytes", 16) * 1e6)),
    "key_echo": key_echo,
    "bad_utf8": bad_utf8,
}


# Faults of the wire: name -> (connection, the healthy response, parameters) -> the status where a whole response was
# sent. Over when the function returns; cancelled when the client leaves.


async def drop_before(wire: asyncio.Transport, whole: bytes, params: dict[str, Any]) -> None:
    wire.close()


async def drop_mid_headers(wire: asyncio.Transport, whole: bytes, params: dict[str, Any]) -> None:
    wire.write(whole[:30])
    wire.close()


async def drop_mid_body(wire: asyncio.Transport, whole: bytes, params: dict[str, Any]) -> None:
    wire.write(whole[:-40])
    wire.close()


async def reset(wire: asyncio.Transport, whole: bytes, params: dict[str, Any]) -> None:
    """Ends the connection by RST."""
    linger = struct.pack("ii", 1, 0)
    wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    wire.abort()


async def stall(wire: asyncio.Transport, whole: bytes, params: dict[str, Any]) -> None:
    await asyncio.Event().wait()


async def stall_mid_body(wire: asyncio.Transport, whole: bytes, params: dict[str, Any]) -> None:
    wire.write(whole[:-40])
    await asyncio.Event().wait()


async def slow_body(wire: asyncio.Transport, whole: bytes, params: dict[str, Any]) -> int:
    """The body a byte at a time over `seconds` (1)."""
    body = whole.index(b"\r\n\r\n") + 4
    wire.write(whole[:body])
    started = time.monotonic()
    for sent in range(body, len(whole)):
        due = params.get("seconds", 1) * (sent - body + 1) / (len(whole) - body)
        await asyncio.sleep(started + due - time.monotonic())
        wire.write(whole[sent : sent + 1])
    return status_of(whole)


async def late(wire: asyncio.Transport, whole: bytes, params: dict[str, Any]) -> int:
    """The healthy response after `seconds`."""
    await asyncio.sleep(params["seconds"])
    wire.write(whole)
    return status_of(whole)


async def close_unsaid(wire: asyncio.Transport, whole: bytes, params: dict[str, Any]) -> int:
    """Answers 500 as uvicorn does for an exception: as if to keep the connection, which it then closes."""
    wire.write(response(500, b"Internal Server Error", kind="text/plain; charset=utf-8"))
    wire.close()
    return 500


async def no_http(wire: asyncio.Transport, whole: bytes, params: dict[str, Any]) -> None:
    """These very `bytes`, as Latin-1."""
    wire.write(params.get("bytes", "no HTTP at all\r\n\r\n").encode("latin-1"))
    wire.close()


async def endless(wire: asyncio.Transport, whole: bytes, params: dict[str, Any]) -> None:
    """A body without an end, as fast as the client reads it."""
    wire.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        if wire.get_write_buffer_size() < 1 << 20:
            wire.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await asyncio.sleep(0)


Behaviour = Callable[[asyncio.Transport, bytes, dict[str, Any]], Coroutine[Any, Any, int | None]]
BEHAVIOURS: dict[str, Behaviour] = {
    "drop_before": drop_before,
    "drop_mid_headers": drop_mid_headers,
    "drop_mid_body": drop_mid_body,
    "reset": reset,
    "stall": stall,
    "stall_mid_body": stall_mid_body,
    "slow_body": slow_body,
    "late": late,
    "500_close": close_unsaid,
    "no_http": no_http,
    "endless": endless,
}


def check_script(script: Script) -> None:
    """Raises ValueError for a name that is not known: a fault that is never given would be a test of nothing."""
    known = {"reply", "faults", "latency", "limit"}
    unknown = [*(script.keys() - known), *({script.get("reply", {}).get("mode", "echo")} - REPLIES.keys())]
    for fault in script.get("faults", ()):
        unknown += {fault["fault"]} - ANSWERS.keys() - BEHAVIOURS.keys()
        unknown += fault.get("when", {}).keys() - CONDITIONS.keys()
    if unknown:
        raise ValueError(f"the script says what faulty_server.py does not know: {', '.join(unknown)}")


class State:
    """What the server does and has seen."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.errors: list[str] = []  # of the server itself
        self.connections = self.open_connections = self.in_work = 0
        self.clear()

    def clear(self) -> None:
        """Forget the requests seen."""
        self.entries: list[dict[str, Any]] = []
        self.attempts: Counter[bytes] = Counter()
        self.prompts = ["", ""]  # the last two that differ
        self.number = self.highest = 0

    def log(self) -> list[dict[str, Any]]:
        """The requests in the order of their arrival, with their bodies read."""
        return [entry | {"body": _read_json(entry["body"])} for entry in self.entries]

    def counts(self) -> dict[str, Any]:
        """Sums over the requests to chat completions."""
        chats = [entry for entry in self.entries if entry["number"]]
        return {
            "requests": len(chats),
            "distinct": len(self.attempts),
            "healthy": sum(entry["fault"] is None and entry["status"] == 200 for entry in chats),
            "faults": Counter(entry["fault"] for entry in chats if entry["fault"]),
            "left": sum(entry["left"] for entry in chats),
            "in_work": self.in_work,
            "highest_concurrency": self.highest,
            "connections": self.connections,
            "open_connections": self.open_connections,
            "errors": self.errors,
        }

    def chat(self, raw: bytes, headers: dict[str, str]) -> Asked:
        """Read a request to chat completions. Raises ValueError where it is none."""
        self.number += 1
        digest = hashlib.blake2b(raw, digest_size=16).digest()
        self.attempts[digest] += 1
        body = json.loads(raw)
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            raise ValueError("`messages` is missing")
        if body.get("stream"):
            raise ValueError("this server does not stream")
        prompt = "\n".join(_text(message) for message in body["messages"])
        before = self.prompts[1] if self.prompts[1] != prompt else self.prompts[0]
        if prompt != self.prompts[1]:
            self.prompts = [self.prompts[1], prompt]
        authorization = headers.get("authorization", "")
        return Asked(self.number, self.attempts[digest], digest, body, prompt, authorization, before)


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    text = content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
    return text.encode(errors="replace").decode()  # JSON may hold half a surrogate pair, UTF-8 may not


def _read_json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


class Connection(asyncio.Protocol):
    """A client's connection: one request after the other."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.buffer = bytearray()
        self.head: tuple[str, str, dict[str, str], int] | None = None  # of a request whose body is not all there
        self.entry: dict[str, Any] | None = None  # of the request in work
        self.work: asyncio.TimerHandle | asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire: asyncio.Transport = transport  # type: ignore[assignment]
        self.state.connections += 1
        self.state.open_connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.state.open_connections -= 1
        if self.entry is not None:
            self.entry["left"] = True
            if self.work is not None:
                self.work.cancel()
            self.finish()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while self.entry is None and not self.wire.is_closing() and self.take():
            pass

    def take(self) -> bool:
        """Answer the request at the head of the buffer. False where it is not all there."""
        if self.head is None:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            method, path, _ = first.split(" ", 2)
            self.head = method, path, headers, int(headers.get("content-length", 0))
            del self.buffer[: end + 4]
        method, path, headers, length = self.head
        if len(self.buffer) < length:
            return False
        raw = bytes(self.buffer[:length])
        del self.buffer[:length]
        self.head = None
        if path.startswith("/_"):
            self.wire.write(self.control(path, raw))
        else:
            self.answer(method, path, headers, raw)
        return True

    def control(self, path: str, raw: bytes) -> bytes:
        """What a test asks beside the client's requests."""
        state = self.state
        if path == "/_log":
            return response(200, state.log())
        if path == "/_counts":
            return response(200, state.counts())
        if path == "/_clear":
            state.clear()
        elif path == "/_script":
            state.script = json.loads(raw)
        return response(200, {})

    def answer(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> None:
        """Do what the script says."""
        state = self.state
        self.entry = {
            "number": None,
            "time": time.monotonic(),  # one clock for all processes of a machine
            "method": method,
            "path": path,
            "headers": headers,
            "body": raw,
            "attempt": None,
            "fault": None,
            "status": None,
            "left": False,
            "done": None,
        }
        state.entries.append(self.entry)
        state.in_work += 1
        state.highest = max(state.highest, state.in_work)
        if (method, path) == ("GET", "/v1/models"):
            model = {"id": "faulty", "object": "model", "created": 0, "owned_by": "hornbook"}
            return self.send(response(200, {"object": "list", "data": [model]}))
        if (method, path) != ("POST", "/v1/chat/completions"):
            return self.send(error(404, f"Invalid URL ({method} {path})", "invalid_request_error"))
        try:
            asked = state.chat(raw, headers)
        except ValueError as problem:
            self.entry["number"] = state.number
            return self.send(error(400, f"We could not parse your request: {problem}", "invalid_request_error"))
        self.entry["number"], self.entry["attempt"] = asked.number, asked.attempt
        limit = state.script.get("limit")
        if limit and state.in_work > limit["concurrent"]:
            self.entry["fault"] = "limit"
            return self.send(rate_limited(limit.get("status", 429), retry_after=limit.get("retry_after")))
        latency = state.script.get("latency", 0)
        if isinstance(latency, list):
            latency = latency[0] + (latency[1] - latency[0]) * share(0, asked.digest)
        loop = asyncio.get_running_loop()
        fault = find_fault(state.script, asked)
        if fault is not None:
            self.entry["fault"] = fault["fault"]
        if fault is not None and fault["fault"] in BEHAVIOURS:
            self.work = loop.create_task(self.behave(fault, self.healthy(asked), latency))
            self.work.add_done_callback(self.check)
        elif latency:
            whole = self.wrong(fault, asked) if fault else self.healthy(asked)
            self.work = loop.call_later(latency, self.send, whole, True)
        else:
            self.send(self.wrong(fault, asked) if fault else self.healthy(asked))
        return None

    def healthy(self, asked: Asked) -> bytes:
        """The response without a fault."""
        reply = self.state.script.get("reply", {})
        if "response_format" in asked.body and reply.get("structured") == "reject":
            message = "Invalid parameter: 'response_format' is not supported with this model."
            return error(400, message, "invalid_request_error", "unsupported_parameter", param="response_format")
        try:
            return response(200, healthy(asked, reply))
        except LookupError as problem:
            return error(400, str(problem), "invalid_request_error")

    def wrong(self, fault: dict[str, Any], asked: Asked) -> bytes:
        """The response of a fault that is one."""
        return ANSWERS[fault["fault"]](asked, self.state.script.get("reply", {}), fault)

    async def behave(self, fault: dict[str, Any], whole: bytes, latency: float) -> None:
        """Give a fault of the wire."""
        await asyncio.sleep(latency)
        status = await BEHAVIOURS[fault["fault"]](self.wire, whole, fault)
        if self.entry is not None:
            self.entry["status"] = status
        self.finish()
        self.data_received(b"")

    def check(self, task: asyncio.Task[None]) -> None:
        """Where a fault itself failed, say so and end the connection."""
        if not task.cancelled() and (problem := task.exception()) is not None:
            context = {"message": "a fault failed", "exception": problem}
            asyncio.get_running_loop().call_exception_handler(context)
            self.wire.abort()

    def send(self, whole: bytes, waiting: bool = False) -> None:
        """Write a whole response; where the request had to wait, go on to the next."""
        entry = self.entry
        assert entry is not None
        entry["status"] = status_of(whole)
        self.wire.write(whole)
        self.finish()
        if entry["headers"].get("connection", "").lower() == "close":
            self.wire.close()
        elif waiting and self.buffer:
            self.data_received(b"")

    def finish(self) -> None:
        """The request is out of work."""
        if self.entry is not None:
            self.entry["done"] = time.monotonic()
            self.state.in_work -= 1
        self.entry = self.work = None


async def run(port: int, script: Script, lifeline: bool) -> None:
    """Serve on loopback until standard input ends, where it is the `lifeline` to a test, or for ever."""
    loop = asyncio.get_running_loop()
    state = State(script)

    def note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        state.errors.append(f"{context['message']}: {context.get('exception')!r}")
        loop.default_exception_handler(context)

    loop.set_exception_handler(note)
    listener = await loop.create_server(lambda: Connection(state), "127.0.0.1", port, backlog=2048)
    print(listener.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    if lifeline:
        loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server that goes wrong on demand")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", default="-", help="a file, or - for the first line of standard input")
    arguments = parser.parse_args()
    lifeline = arguments.script == "-"
    script = json.loads(sys.stdin.readline() if lifeline else Path(arguments.script).read_text(encoding="utf-8"))
    check_script(script)
    gc.disable()  # the log only grows: a collection would walk all of it, and stall every client for that long
    asyncio.run(run(arguments.port, script, lifeline))


# The test's side.


class Server:
    """A running faulty server."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.base_url = f"http://127.0.0.1:{port}/v1"

    def log(self) -> list[dict[str, Any]]:
        """The requests received, in order.

        Of each: number (of chat requests, from 1), time and done (monotonic seconds of arrival and of its end), method,
        path, headers (names in lower case), body (read, or None where it is no JSON), attempt (of this very body), the
        fault given or None (`limit` for the script's limit), status (None where no whole response was sent), left
        (whether the client was gone first).
        """
        return self._ask("GET", "/_log")

    def counts(self) -> dict[str, Any]:
        """Of the chat requests: requests, distinct, healthy, faults by name, left, in_work, highest_concurrency.

        And of the server: connections, open_connections (that of this question too), errors of its own.
        """
        return self._ask("GET", "/_counts")

    def clear(self) -> None:
        """Forget the requests received: numbers and attempts begin again."""
        self._ask("POST", "/_clear")

    def change(self, script: Script) -> None:
        """Go on by another script; what is in work ends by the old one."""
        check_script(script)
        self._ask("POST", "/_script", script)

    def stop(self) -> None:
        """Kill it now, as a server that goes down."""
        self.process.kill()
        self.process.wait()

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, json.dumps(body).encode())
            return json.loads(connection.getresponse().read())


@contextlib.contextmanager
def serve(script: Script, port: int = 0) -> Iterator[Server]:
    """A faulty server in its own process, killed at the end; it also ends when this process does, however it does.

    Raises ValueError for a script it does not know, and AssertionError at the end if the server itself failed.
    """
    check_script(script)
    command = [sys.executable, __file__, "--port", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(script) + "\n")
            process.stdin.flush()
            server = Server(process, int(process.stdout.readline()))
            yield server
            if process.poll() is None:
                errors = server.counts()["errors"]
                assert not errors, f"the faulty server itself failed: {errors}"
        finally:
            process.kill()


if __name__ == "__main__":
    main()
