"""Before money is spent: the first replies as a person reads them, and what the rest will cost at that rate."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hornbook.errors import UserError
from hornbook.prompts.load import prompt_id
from hornbook.records import content_id
from hornbook.teacher.budget import dollars
from hornbook.teacher.request import Answer, Request

if TYPE_CHECKING:
    from hornbook.teacher.llm import LanguageModelTeacher

FIRST = 10  # replies
MOST_LOOKED = 1000  # requests that are looked up before the estimate
SHOWN_LINES, SHOWN_WIDTH = 12, 120  # of each reply on a terminal; the file has all of it
PREVIEWS = "previews"  # below the work directory


def rehearse(teacher: "LanguageModelTeacher", requests: Iterable[Request[Any]], total: int) -> frozenset[str]:
    """See `Teacher.rehearse`. Gives the keys of the first requests."""
    stream = iter(requests)
    first = list(islice(stream, min(FIRST, total)))
    if not first:
        return frozenset()
    progress = teacher.work.progress
    approval = _approval(teacher, first[0])
    known = teacher.journal.approved(approval)
    if not known:
        progress.say(f"  asking {teacher.name} for the first {len(first)} replies …")
    answers = list(teacher.answers(first))
    _check_alive(teacher, answers)
    if not known:
        path = teacher.work.shared / PREVIEWS / f"{teacher.step}-{approval[:8]}.md"
        texts = [_text(teacher, answer) for answer in answers]
        _save(path, first, texts)
        for number, (request, text) in enumerate(zip(first, texts, strict=True), 1):
            progress.say(
                f"  reply {number} of {len(first)} to `{request.prompt_name}`, {request.subject[:80]}\n{_clip(text)}"
            )
        progress.say(f"  whole, with the prompts: {path}")
    progress.say("  " + _estimate(teacher, answers, total, _in_journal(teacher, stream, total - len(first))))
    keys = frozenset(answer.request for answer in answers)
    if known or total <= len(first):
        return keys
    if teacher.config.preview == "ask":
        agreed = progress.confirm(f"  Go on with the rest, {total - len(first):,} requests?")
        if agreed is None:
            raise UserError(f"the first replies to a new prompt are in {path}: look at them, then go on with --yes")
        if not agreed:
            raise UserError("stopped after the first replies, as you said; they are kept")
    teacher.journal.approve(approval)
    return keys


def _approval(teacher: "LanguageModelTeacher", request: Request[Any]) -> str:
    """What the user agrees to: these words, to this model, drawn in this way."""
    return content_id(f"{prompt_id(request.prompt_name)} {teacher.model.model_dump_json()}")


def _check_alive(teacher: "LanguageModelTeacher", answers: list[Answer[Any]]) -> None:
    """Raises UserError where not one of the first requests had a reply."""
    failures = [answer.failure for answer in answers if answer.failure is not None]
    silent = [failure for failure in failures if failure.reason in ("no reply", "rejected")]
    if len(silent) == len(answers):
        raise UserError(
            f"{teacher.name} answered none of the first {len(answers)} requests: {silent[0].detail}; is the endpoint "
            "right, and running?"
        )


def _text(teacher: "LanguageModelTeacher", answer: Answer[Any]) -> str:
    """A reply as it came, and above it why it is of no use, where it is not."""
    reply = teacher.journal.find(answer.request)
    content = "" if reply is None else reply.content
    if answer.failure is None:
        return content
    return f"[of no use: {answer.failure.reason}: {answer.failure.detail}]\n{content}"


def _save(path: Path, requests: list[Request[Any]], texts: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [
        f"# {number}. {request.subject}\n\n## Prompt\n\n{request.render()}\n\n## Reply\n\n{text}\n"
        for number, (request, text) in enumerate(zip(requests, texts, strict=True), 1)
    ]
    path.write_text("\n".join(parts), encoding="utf-8")


def _readable(text: str) -> str:
    """A reply that is a JSON object as its fields, code and lists line by line; any other as it came."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(fields, dict):
        return text
    lines = []
    for name, value in fields.items():
        shown = "\n".join(map(str, value)) if isinstance(value, list) else str(value)
        lines.append(f"{name}: {shown}" if "\n" not in shown else f"{name}:\n{shown.rstrip()}")
    return "\n".join(lines)


def _clip(text: str) -> str:
    printable = "".join(c if c.isprintable() or c == "\n" else "�" for c in _readable(text))
    lines = printable.strip().split("\n")
    shown = [line if len(line) <= SHOWN_WIDTH else line[: SHOWN_WIDTH - 1] + "…" for line in lines[:SHOWN_LINES]]
    more = [f"… {len(lines) - SHOWN_LINES} more lines"] if len(lines) > SHOWN_LINES else []
    return "\n".join("    " + line for line in [*shown, *more])


def _in_journal(teacher: "LanguageModelTeacher", rest: Iterator[Request[Any]], total: int) -> int:
    """How many of the requests that are left the journal can answer: counted in the first of them, and at that rate."""
    looked = [teacher.knows(request) for request in islice(rest, min(MOST_LOOKED, total))]
    return round(total * sum(looked) / len(looked)) if looked else 0


def _estimate(teacher: "LanguageModelTeacher", answers: list[Answer[Any]], total: int, known: int) -> str:
    """Tokens, dollars and hours of the requests that are still to be bought, at the rate of the first ones."""
    replies = [reply for answer in answers if (reply := teacher.journal.find(answer.request)) is not None]
    counted = [r for r in replies if r.prompt_tokens is not None and r.completion_tokens is not None]
    left = total - len(answers) - known
    of = f"estimate for {left:,} of {total:,} requests" if left < total else f"estimate for {total:,} requests"
    if left == 0:
        return f"all replies to {total:,} requests are in the journal"
    if not counted:
        return f"{of}: the endpoint counts no tokens, so there is none"
    tokens_in = sum(r.prompt_tokens or 0 for r in counted) / len(counted)
    tokens_out = sum(r.completion_tokens or 0 for r in counted) / len(counted)
    rates = teacher.budget.rates
    seconds = teacher.journal.mean_seconds(teacher.work.run, teacher.step)
    hours = None if seconds is None else left * seconds / teacher.config.concurrency / 3600
    cost = int(left * (tokens_in * rates.prompt + tokens_out * rates.completion))
    if hours is not None:
        cost += int(hours * 3600 * rates.second)
    return (
        f"{of}, from {len(counted)} replies: {left * tokens_in:,.0f} tokens in, {left * tokens_out:,.0f} out, "
        f"{dollars(cost)}, {_time(hours)} with {teacher.config.concurrency} at once; the others are in the journal"
    )


def _time(hours: float | None) -> str:
    if hours is None:
        return "an unknown time"
    if hours < 1 / 60:
        return "less than a minute"
    return f"about {hours * 60:,.0f} min" if hours < 2 else f"about {hours:,.1f} h"
