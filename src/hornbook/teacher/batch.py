"""Batch files in the providers' format: half-price batch APIs and `vllm run-batch` answer them, and the journal reads
the results back.

A line of requests is `{"custom_id", "method", "url", "body"}`; a line of results `{"custom_id", "response", "error"}`.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hornbook.errors import Paused, UserError
from hornbook.teacher.budget import Rates, batch_rates, dollars, upper_prompt_tokens
from hornbook.teacher.client import AttemptError, body_of, read_reply
from hornbook.teacher.journal import PICO, Cost, Journal, Reply
from hornbook.teacher.parsing import whole
from hornbook.teacher.request import A, Request

if TYPE_CHECKING:
    from hornbook.teacher.llm import LanguageModelTeacher

URL = "/v1/chat/completions"
LINES = 512  # between two waits for the disk: what is on its way there stands in memory
SHOWN_FAULTS, LONGEST_FAULT = 5, 200  # of a file of results; characters


def order(teacher: "LanguageModelTeacher", requests: Iterator[Request[A]]) -> Iterator[Request[A]]:
    """Give back the requests that the journal can answer, and write those that it cannot to the batch file.

    Raises Paused at the end where some were written, so that the same command goes on when their results were read.
    What a request can cost at most counts against the cap, and so does what was ordered before and is not there yet.
    """
    path = Path(teacher.config.batch_file or "")
    partial = path.with_name(path.name + ".writing")
    cap, rates = teacher.budget.cap, batch_rates(teacher.model, teacher.config)
    waiting = {} if cap is None else open_orders(teacher.journal, teacher.work.run)
    committed = teacher.budget.spent + sum(waiting.values())
    written: set[str] = set()
    upper, full = 0, False
    try:
        with open(partial, "w", encoding="utf-8") as lines:
            for request in requests:
                parts = teacher.parts_of(request)
                key = parts.key()
                if key in written or teacher.journal.find(key) is not None:
                    if not written:
                        yield request
                    continue
                cost = rates.upper(parts.prompt, int(teacher.sampling["max_tokens"]))
                committed += cost - waiting.pop(key, 0)
                if cap is not None and committed > cap:
                    full = True
                    break
                if not written and path.exists():
                    raise UserError(f"--batch-file {path}: exists already; give another name")
                upper += cost
                written.add(key)
                structured = teacher.config.structured_output == "auto"
                body = body_of(parts, structured, own_server=bool(teacher.config.base_urls))
                line = {"custom_id": key, "method": "POST", "url": URL, "body": body}
                lines.write(json.dumps(line, ensure_ascii=False) + "\n")
                teacher.journal.order(parts, teacher.work.run, teacher.step, (rates.prompt, rates.completion), _ignore)
                if len(written) % LINES == 0:
                    teacher.journal.settle()
        teacher.journal.settle()
        if written:
            partial.replace(path)
            stopped = f", as many as the cap of {dollars(cap or 0)} allows" if full else ""
            raise Paused(
                f"{path}: {len(written):,} requests written{stopped}, {dollars(upper)} at most; have them answered, "
                f"read the results with `hornbook read-batch RESULTS --work {teacher.work.shared}`, then run the same "
                "command again"
            )
    finally:
        partial.unlink(missing_ok=True)
    if full:
        ordered = sum(waiting.values())
        waits = f", and {dollars(ordered)} are ordered in batches whose results were not read" if ordered else ""
        raise UserError(f"the cap of {dollars(cap or 0)} leaves no room for a single request{waits}")


def open_orders(journal: Journal, run: str) -> dict[str, int]:
    """What the requests of this run that wait for the results of a batch can cost at most, by key."""
    found = {}
    for key, (parts, _, _, prompt_pico, completion_pico) in journal.open_orders(run):
        rates = Rates(prompt_pico, completion_pico, 0)
        found[key] = rates.upper(parts.prompt, int(parts.sampling["max_tokens"]))
    return found


def read(results: Path, journal: Journal) -> dict[str, Any]:
    """Read a file of results into the journal: how many were `kept`, `known` already, and what was wrong with others.

    A result whose request this journal did not write is left out and counted. Raises UserError for a file that cannot
    be read.
    """
    counts: Counter[str] = Counter(kept=0, known=0)
    faults: list[str] = []
    filled: set[str] = set()
    pico = 0
    try:
        with open(results, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    what, fault, cost = _read_line(line, journal, filled)
                    counts[what] += 1
                    pico += cost
                    if fault and len(faults) < SHOWN_FAULTS:
                        faults.append(f"line {number}: {whole(fault)[:LONGEST_FAULT]}")
                if number % LINES == 0:
                    journal.settle()
    except OSError as error:
        raise UserError(f"{results}: cannot be read ({error.strerror})") from error
    journal.settle()
    if not counts.total():
        raise UserError(f"{results}: holds no results")
    return {**counts, "faults": faults, "usd": pico / PICO}


def _read_line(line: bytes, journal: Journal, filled: set[str]) -> tuple[str, str, int]:
    """What became of a line, what was wrong with it, and what it cost. `filled`: keys of this file so far."""
    try:
        found = json.loads(line)
        key = whole(str(found["custom_id"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return "damaged", f"not a result ({type(error).__name__}: {error})", 0
    ordered = None if key in filled else journal.ordered(key)
    if ordered is None:
        known = key in filled or journal.find(key) is not None
        return ("known", "", 0) if known else ("unknown", f"no request `{key[:40]}` was written from this journal", 0)
    response = found.get("response")
    if not isinstance(response, dict) or response.get("status_code", 200) != 200:
        said = found.get("error") or (response.get("body") if isinstance(response, dict) else response)
        return "failed", f"`{key}`: {said or 'no response'}", 0
    parts, run, step, prompt_pico, completion_pico = ordered
    bound = upper_prompt_tokens(parts.prompt), int(parts.sampling["max_tokens"])
    reply, fault, usage = _reply_of(response.get("body"))
    tokens_in, tokens_out = bound if usage is None else usage
    cost = Cost("batch", tokens_in, tokens_out, tokens_in * prompt_pico + tokens_out * completion_pico, 0.0)
    # One name for one result: a file that is read twice is charged once.
    journal.charge(whole(f"batch-{found.get('id')}-{key}"), run, step, key, cost, _ignore)
    if reply is None:
        return "failed", f"`{key}`: {fault}", cost.pico_usd
    journal.keep(parts, reply, _ignore)
    journal.fill(key, _ignore)
    filled.add(key)
    return "kept", "", cost.pico_usd


def _reply_of(body: Any) -> tuple[Reply | None, str, tuple[int, int] | None]:
    """The reply in a body, or what is wrong with it; and the tokens it counts, where it does."""
    try:
        reply = read_reply(whole(json.dumps(body, ensure_ascii=False)).encode())
    except AttemptError as error:
        return None, error.detail, error.usage
    if reply.prompt_tokens is None or reply.completion_tokens is None:
        return reply, "", None
    return reply, "", (reply.prompt_tokens, reply.completion_tokens)


def _ignore(error: BaseException | None) -> None:
    """`settle` tells of it."""
