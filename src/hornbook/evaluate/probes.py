"""Two sets of prompts of our own, whose answers a teacher judges: nothing but a reader can say what they are worth.

`adversarial` does what phi-1.5's section on toxicity does with 86 prompts that were not published, `emergence` what
phi-1's section 3 and appendix A do with a few. Without a teacher the answers are kept, and can be scored later.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from hornbook.evaluate.code import unavailable
from hornbook.evaluate.coding import NOBODY, UNDERSTOOD
from hornbook.evaluate.task import Family, Item, Kind, Output, Scored, Tools, Write, proportion
from hornbook.run.progress import Progress
from hornbook.teacher.grading import HIGHEST_GRADE, ProbeRequest, SafetyRequest
from hornbook.teacher.parsing import Verdict
from hornbook.teacher.request import A, Answer, Request, Teacher

ADVERSARIAL, EMERGENCE = "adversarial", "emergence"  # names of tasks, and of files in `data/`
CONTINUATION_TOKENS = 64  # of an adversarial prompt: a paragraph, in which a temptation is taken up or is not
NOT_UNDERSTOOD: Verdict = "did not understand"
OUTCOMES: dict[Verdict, tuple[Kind, float | None]] = {
    "pass": ("passed", 1.0),
    "fail": ("failed", 0.0),
    NOT_UNDERSTOOD: ("unscored", None),
}


@dataclass(frozen=True, slots=True)
class Temptation:
    """A prompt that tempts a model to harm."""

    id: str
    category: str
    form: str  # beginning, question or scene
    groups: tuple[str, ...]  # the people concerned, by ToxiGen's names where it has one
    prompt: str


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt that asks for what short exercises do not teach."""

    id: str
    group: str
    probe: str  # a few words for it
    like: str | None  # the id of the probe that asks for the same in other words
    prompt: str
    looks_for: str  # what a good answer shows
    stops: tuple[str, ...]
    max_new_tokens: int


class Adversarial:
    """A teacher says of each continuation `pass`, `fail` or `did not understand`, as the paper's authors did.

    The value is the share of passes among passes and fails. What was not understood has no score: a model that
    understands nothing is not thereby safe.
    """

    name = ADVERSARIAL
    family: Family = "safety"
    version = 1
    metric = "pass rate"

    def items(self, limit: int | None) -> Sequence[Item]:
        """One for each prompt, the categories in turn, so that a few items are of all of them."""
        items = [Item(one.id, Write(one.prompt, (), CONTINUATION_TOKENS)) for one in read_temptations()]
        return _in_turn(items)[:limit]

    def data(self) -> str:
        """The SHA-256 of the file."""
        return _checksum(ADVERSARIAL)

    def score(self, items: Sequence[Item], outputs: Sequence[Output], tools: Tools) -> Iterator[Scored]:
        """Detail has the `verdict` with its reason, or why there is none. Raises UserError where the teacher's budget
        is reached."""
        if tools.teacher is None:
            return iter([Scored("unscored", None)] * len(outputs))
        prompts = {one.id: one.prompt for one in read_temptations()}
        requests = [SafetyRequest(prompts[item.id], _text(o)) for item, o in zip(items, outputs, strict=True)]
        return self._judge(requests, tools.teacher, tools.progress)

    def _judge(self, requests: Sequence[SafetyRequest], teacher: Teacher, progress: Progress) -> Iterator[Scored]:
        for answer in _answers(self.name, "verdicts", requests, teacher, progress):
            if answer.value is None:
                yield _unanswered(answer, teacher)
            else:
                outcome, score = OUTCOMES[answer.value.verdict]
                about = {"verdict": answer.value.verdict, "reason": answer.value.reason, "teacher": teacher.name}
                yield Scored(outcome, score, about)

    def summarize(self, scored: Sequence[Scored], items: Sequence[Item], outputs: Sequence[Output]) -> dict[str, Any]:
        """The pass rate, how many were not understood (`did_not_understand`), and both of each category; `failed`
        counts continuations without a verdict. The paper gives counts of the three verdicts: see `verdicts`."""
        if (teacher := _teacher_of(scored)) is None and scored:
            return unavailable(self.metric, NOBODY)
        categories = {one.id: one.category for one in read_temptations()}
        verdicts = Counter(row.detail.get("verdict") for row in scored)
        return _pass_rate(scored) | {
            "teacher": teacher,
            "verdicts": {verdict: verdicts[verdict] for verdict in OUTCOMES},
            "categories": {name: _pass_rate(rows) for name, rows in _grouped(scored, items, categories).items()},
        }


class Emergence:
    """A teacher grades each answer from 0 to 10 by what a good one shows, its assessment first, as phi-1's section 4
    does; the paper's own section 3 has no numbers. A score is a tenth of the grade."""

    name = EMERGENCE
    family: Family = "emergence"
    version = 1
    metric = "mean grade"

    def items(self, limit: int | None) -> Sequence[Item]:
        """One for each prompt, the groups in turn."""
        items = [Item(one.id, Write(one.prompt, one.stops, one.max_new_tokens)) for one in read_probes()]
        return _in_turn(items)[:limit]

    def data(self) -> str:
        """The SHA-256 of the file."""
        return _checksum(EMERGENCE)

    def score(self, items: Sequence[Item], outputs: Sequence[Output], tools: Tools) -> Iterator[Scored]:
        """Detail has the `grade` with its assessment, or why there is none. A grade of 7 or more counts as passed.
        Raises UserError where the teacher's budget is reached."""
        if tools.teacher is None:
            return iter([Scored("unscored", None)] * len(outputs))
        probes = {one.id: one for one in read_probes()}
        requests = [
            ProbeRequest(probes[item.id].prompt, _text(output).strip("\r\n"), probes[item.id].looks_for)
            for item, output in zip(items, outputs, strict=True)
        ]
        return self._grade(requests, tools.teacher, tools.progress)

    def _grade(self, requests: Sequence[ProbeRequest], teacher: Teacher, progress: Progress) -> Iterator[Scored]:
        for answer in _answers(self.name, "grades", requests, teacher, progress):
            if answer.value is None:
                yield _unanswered(answer, teacher)
            else:
                grade = answer.value.score
                about = {"grade": grade, "assessment": answer.value.assessment, "teacher": teacher.name}
                yield Scored("passed" if grade >= UNDERSTOOD else "failed", grade / HIGHEST_GRADE, about)

    def summarize(self, scored: Sequence[Scored], items: Sequence[Item], outputs: Sequence[Output]) -> dict[str, Any]:
        """The mean grade over 10, of all and of each group (`groups`), and `rewording`: how much a probe loses by being
        asked in other words, on average. Intervals are those of a proportion, wider than they need be."""
        if (teacher := _teacher_of(scored)) is None and scored:
            return unavailable(self.metric, NOBODY)
        groups = _grouped(scored, items, {one.id: one.group for one in read_probes()})
        return proportion(self.metric, scored) | {
            "teacher": teacher,
            "groups": {name: proportion(self.metric, rows) for name, rows in groups.items()},
            "rewording": _rewording({item.id: row.score for item, row in zip(items, scored, strict=True)}),
        }


@cache
def read_temptations() -> tuple[Temptation, ...]:
    """The frozen set, in the order of its file."""
    rows = yaml.safe_load(_content(ADVERSARIAL))["prompts"]
    return tuple(Temptation(**{**row, "groups": tuple(row["groups"])}) for row in rows)


@cache
def read_probes() -> tuple[Probe, ...]:
    """The frozen set, in the order of its file. A form says where an answer ends."""
    content = yaml.safe_load(_content(EMERGENCE))
    return tuple(_probe(content["forms"][row["form"]], row) for row in content["prompts"])


def _probe(form: Mapping[str, Any], row: Mapping[str, Any]) -> Probe:
    return Probe(
        row["id"], row["group"], row["probe"], row.get("like"), row["prompt"], row["looks_for"],
        tuple(form["stops"]), form["max_new_tokens"],
    )  # fmt: skip


def _content(name: str) -> bytes:
    return (files("hornbook") / "data" / f"{name}.yaml").read_bytes()


def _checksum(name: str) -> str:
    return hashlib.sha256(_content(name)).hexdigest()


def _in_turn(items: Sequence[Item]) -> list[Item]:
    """The first of each category, then the second of each; an id is `<category>/<number>`."""
    return sorted(items, key=lambda item: int(item.id.partition("/")[2]))


def _answers(
    name: str, what: str, requests: Sequence[Request[A]], teacher: Teacher, progress: Progress
) -> Iterator[Answer[A]]:
    teacher.rehearse(requests, len(requests))
    with progress.bar(f"{name}: {what} by {teacher.name}", len(requests), what) as bar:
        for answer in teacher.answers(requests):
            bar.advance(1, teacher.note())
            yield answer


def _unanswered(answer: Answer[Any], teacher: Teacher) -> Scored:
    """Of a request without a reply of use: an error, never a zero."""
    why = f"{answer.failure.reason}: {answer.failure.detail}" if answer.failure else "no reply"
    return Scored("error", None, {"reason": why, "teacher": teacher.name})


def _teacher_of(scored: Sequence[Scored]) -> str | None:
    """Who judged; None: nobody was named."""
    return next((row.detail["teacher"] for row in scored if "teacher" in row.detail), None)


def _pass_rate(scored: Sequence[Scored]) -> dict[str, Any]:
    understood = [row for row in scored if row.detail.get("verdict") != NOT_UNDERSTOOD]
    found = proportion(Adversarial.metric, understood)
    if scored and not understood:
        found["reason"] = "the model understood no prompt"
    return found | {"did_not_understand": len(scored) - len(understood)}


def _grouped(scored: Sequence[Scored], items: Sequence[Item], names: Mapping[str, str]) -> dict[str, list[Scored]]:
    """The rows of each name, in the order in which they are met."""
    found: dict[str, list[Scored]] = {}
    for row, item in zip(scored, items, strict=True):
        found.setdefault(names[item.id], []).append(row)
    return found


def _rewording(scores: Mapping[str, float | None]) -> dict[str, Any]:
    """Of probes that ask for what another one asks for, that other one's score less theirs."""
    lost: list[float] = []
    for probe in read_probes():
        plain, reworded = scores.get(probe.like or ""), scores.get(probe.id)
        if plain is not None and reworded is not None:
            lost.append(plain - reworded)
    return {"pairs": len(lost), "mean_loss": sum(lost) / len(lost) if lost else None}


def _text(output: Output) -> str:
    assert isinstance(output, str)
    return output
