"""An evaluation: tasks are put to a model, every answer is kept as it comes, and all is written as one JSON file.

While it runs, the answers lie in `<out>.partial`, so that a killed evaluation goes on from there. What is asked
together is fixed by the task alone, so a resumed one ends in the same bytes as one that was not killed.
"""

import fcntl
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

from hornbook.errors import UserError
from hornbook.evaluate.models import LanguageModel
from hornbook.evaluate.result_file import FORMAT, difference, read_result, write_result
from hornbook.evaluate.task import Item, Likely, Output, Scored, Task, Tools, Write, fault_of
from hornbook.run.progress import Bar
from hornbook.setfiles import UnavailableError

LIKELY_ITEMS = 128  # asked together, and kept together
WRITE_ITEMS = 64

Answer = dict[str, Any]  # id, prompt_hash, output, and cut where a prompt lost its beginning
ANSWER_KEYS = ("id", "prompt_hash", "output", "cut")
Key = tuple[str, str, str]  # task, id, prompt hash


class Answers:
    """The answers of an evaluation under way, in a file of JSON lines whose first says whose they are.

    Raises UserError for a file of another evaluation, or one that is damaged before its last line, and leaves it alone.
    """

    def __init__(self, file: BinaryIO, path: Path, owner: Mapping[str, Any]) -> None:
        self._file, self._path, self._known = file, path, dict[Key, Answer]()
        end = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break  # a killed evaluation leaves its last line torn
            try:
                row = json.loads(line)
                if number > 1:
                    self.add(row.pop("task"), row)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise UserError(f"{path}: line {number} is damaged; mend it, or delete the file") from error
            if number == 1 and (differs := difference(row, dict(owner))):
                raise UserError(
                    f"{path}: holds answers to another evaluation ({differs}); delete it, or give another --out"
                )
            end += len(line)
        if not end and file.tell():
            raise UserError(f"{path}: holds something else; delete it, or give another --out")
        file.seek(end)
        file.truncate()
        if not end:
            self._write([dict(owner)])

    def add(self, task: str, answer: Answer) -> None:
        """Take in an answer that is on the disk already."""
        kept = {key: answer[key] for key in ANSWER_KEYS if key in answer}
        self._known[task, kept["id"], kept["prompt_hash"]] = kept

    def __len__(self) -> int:
        """How many there are."""
        return len(self._known)

    def tasks(self) -> set[str]:
        """Of which there is an answer."""
        return {task for task, _, _ in self._known}

    def find(self, task: str, items: Sequence[Item]) -> list[Answer] | None:
        """The answers to all of the items, or None where one is missing."""
        found = [self._known.get((task, item.id, item.prompt_hash)) for item in items]
        return None if None in found else [answer for answer in found if answer is not None]

    def keep(self, task: str, answers: Sequence[Answer]) -> None:
        """Returns when they are on the disk."""
        self._write([{"task": task, **answer} for answer in answers])

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        try:
            self._file.write(b"".join(json.dumps(row).encode("ascii") + b"\n" for row in rows))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise UserError(f"{self._path}: {error.strerror}; mend that, and the same command goes on") from error


def evaluate(model: LanguageModel, tasks: Sequence[Task], limit: int | None, out: Path, tools: Tools) -> dict[str, Any]:
    """Ask and score all tasks, write the result to `out`, and give it.

    What `out` or `<out>.partial` holds of the same evaluation is not asked again, and tasks of `out` that are not named
    now stay in it. A task whose data or tools are missing is there with value null and a reason, unless it was scored
    before: then that score stays. Raises UserError where either file belongs to another evaluation, or to one that is
    running.
    """
    owner = {"format": FORMAT, "model": model.describe(), "limit": limit}
    partial = out.with_name(out.name + ".partial")
    with _opened(partial) as file:
        before: dict[str, Any] = read_result(out) if out.exists() else {**owner, "tasks": {}}
        if differs := difference({key: before[key] for key in owner}, owner):
            raise UserError(f"{out}: holds another evaluation ({differs}); give another --out")
        result: dict[str, Any] = {**owner, "tasks": dict(before["tasks"])}
        answers = Answers(file, partial, owner)
        for name, task in before["tasks"].items():
            for row in task.get("items", ()):
                if "output" in row:
                    answers.add(name, row)
        if found := len(answers):
            tools.progress.say(f"{out}: {found:,} answers are there already")
        for asked in tasks:
            new = _evaluate_task(model, asked, limit, answers, tools)
            result["tasks"][asked.name] = _richer(asked.name, before["tasks"].get(asked.name), new, tools)
        write_result(result, out)
        if all(result["tasks"].get(name, {}).get("items") for name in answers.tasks()):
            partial.unlink()  # else it holds answers to tasks that were not named or could not be scored this time
    return result


def rescore(before: Mapping[str, Any], tasks: Sequence[Task], out: Path, tools: Tools) -> dict[str, Any]:
    """Score the kept answers of an earlier result again, without a model; write the result to `out`, and give it.

    An item that is asked in other words now, or has no answer, is an error, never a zero. What cannot be scored now has
    no score, and keeps its answers. Raises UserError for a task that the result does not have.
    """
    for task in tasks:
        if task.name not in before["tasks"]:
            raise UserError(f"--tasks {task.name}: the file has no answers of it; it has {', '.join(before['tasks'])}")
    result = {**before, "tasks": {}}
    for task in tasks:
        rows = before["tasks"][task.name].get("items", [])
        kept = {(row["id"], row["prompt_hash"]): row for row in rows if "output" in row}
        try:
            items = task.items(before["limit"])
        except UnavailableError as error:
            result["tasks"][task.name] = _unavailable(task, str(error)) | {"items": rows}
            continue
        answers = [kept.get((item.id, item.prompt_hash)) for item in items]
        result["tasks"][task.name] = _score(task, items, answers, tools)
    write_result(result, out)
    return result


def answer_items(model: LanguageModel, items: Sequence[Item], bar: Bar) -> list[Answer]:
    """A model's answer to each item, in order. Nothing is kept."""
    found = {answer["id"]: answer for chunk in _chunks(items) for answer in _ask(model, chunk, bar)}
    return [found[item.id] for item in items]


def score_answers(
    task: Task, items: Sequence[Item], answers: Sequence[Answer | None], tools: Tools
) -> tuple[list[Scored], dict[str, Any]]:
    """What each answer is worth, and what they are together; a missing or impossible one is an error, never a zero.

    Raises testsets.UnavailableError where a tool is missing.
    """
    faults = [
        "there is no answer to these words" if answer is None else fault_of(item, answer["output"])
        for item, answer in zip(items, answers, strict=True)
    ]
    fit = [(i, a["output"]) for i, a, fault in zip(items, answers, faults, strict=True) if a is not None and not fault]
    asked, outputs = [item for item, _ in fit], [output for _, output in fit]
    judged = list(task.score(asked, outputs, tools))
    found = iter(judged)
    scored = [Scored("error", None, {"reason": fault}) if fault else next(found) for fault in faults]
    summary = task.summarize(judged, asked, outputs)
    if items and not fit:
        summary["reason"] = f"no answer could be scored: {faults[0]}"
    return scored, summary | {"failed": summary.get("failed", 0) + len(items) - len(fit)}


def _richer(name: str, old: Mapping[str, Any] | None, new: dict[str, Any], tools: Tools) -> Mapping[str, Any]:
    """The new score of a task, or the old one of the same answers where now less could be measured: without its data,
    the sandbox, or the teacher that graded it."""
    lost = set() if old is None else _measured(old) - _measured(new)
    if old is None or not lost or old["version"] != new["version"]:
        return new
    part = new if "value" in lost else new.get(min(lost), {})
    reason = part.get("reason", "it cannot be measured now").removeprefix(f"{name}: ")
    tools.progress.say(f"{name}: the earlier score stays ({reason})")
    return old


def _measured(task: Mapping[str, Any]) -> set[str]:
    """The measures of a task that have a value."""
    beside = {name for name, part in task.items() if isinstance(part, dict) and part.get("value") is not None}
    return beside | ({"value"} if task["value"] is not None else set())


def _evaluate_task(
    model: LanguageModel, task: Task, limit: int | None, answers: Answers, tools: Tools
) -> dict[str, Any]:
    try:
        items = task.items(limit)
    except UnavailableError as error:
        return _unavailable(task, str(error))
    found: dict[str, Answer] = {}
    with tools.progress.bar(task.name, len(items), "items") as bar:
        for chunk in _chunks(items):
            made = answers.find(task.name, chunk)
            if made is None:
                made = list(_ask(model, chunk, bar))
                answers.keep(task.name, made)
            else:
                bar.advance(len(chunk))
            found |= {answer["id"]: answer for answer in made}
    return _score(task, items, [found[item.id] for item in items], tools)


def _chunks(items: Sequence[Item]) -> Iterator[list[Item]]:
    """What is asked together: neighbours, which may share a beginning; of completions, those of like length."""
    likely = [item for item in items if isinstance(item.ask, Likely)]
    for start in range(0, len(likely), LIKELY_ITEMS):
        yield likely[start : start + LIKELY_ITEMS]
    groups: dict[tuple[tuple[str, ...], int], list[Item]] = {}
    for item in items:
        if isinstance(item.ask, Write):
            groups.setdefault((item.ask.stops, item.ask.max_new_tokens), []).append(item)
    for group in groups.values():
        group.sort(key=lambda item: len(item.ask.prompt) if isinstance(item.ask, Write) else 0)
        for start in range(0, len(group), WRITE_ITEMS):
            yield group[start : start + WRITE_ITEMS]


def _ask(model: LanguageModel, chunk: Sequence[Item], bar: Bar) -> Iterator[Answer]:
    if isinstance(chunk[0].ask, Likely):
        asks = [item.ask for item in chunk if isinstance(item.ask, Likely)]
        flat = iter(model.log_likelihoods([pair for ask in asks for pair in ask.pairs]))
        for item, ask in zip(chunk, asks, strict=True):
            values = [next(flat) for _ in ask.pairs]
            output = [[_finite(value.log_probability), value.tokens, value.is_greedy] for value in values]
            yield _answer(item, output, max(value.cut for value in values))
    else:
        writes = [item.ask for item in chunk if isinstance(item.ask, Write)]
        made = model.complete([ask.prompt for ask in writes], writes[0].stops, writes[0].max_new_tokens)
        for item, written in zip(chunk, made, strict=True):
            yield _answer(item, written.text, written.cut)
    bar.advance(len(chunk))


def _answer(item: Item, output: Output | None, cut: int) -> Answer:
    answer: Answer = {"id": item.id, "prompt_hash": item.prompt_hash, "output": output}
    return answer | ({"cut": cut} if cut else {})


def _finite(value: float) -> float | None:
    """As JSON has it, which knows no infinity."""
    return value if math.isfinite(value) else None


def _score(task: Task, items: Sequence[Item], answers: Sequence[Answer | None], tools: Tools) -> dict[str, Any]:
    """The task's part of the result: its score, and every item."""
    try:
        scored, summary = score_answers(task, items, answers, tools)
    except UnavailableError as error:
        summary = _unavailable(task, str(error))
        scored = [Scored("unscored", None)] * len(items)
    cut = sum(1 for answer in answers if answer is not None and answer.get("cut"))
    rows = [
        {"id": item.id, "prompt_hash": item.prompt_hash}
        | {key: answer[key] for key in ANSWER_KEYS if answer is not None and key in answer}
        | {"outcome": one.outcome, "score": one.score}
        | ({"detail": one.detail} if one.detail else {})
        for item, answer, one in zip(items, answers, scored, strict=True)
    ]
    about = {
        "family": task.family, "version": task.version, "data": task.data(), "items_asked": len(items),
        "scored_by": f"hornbook {metadata.version('hornbook')}",
    }  # fmt: skip
    return {**summary, **about, **({"prompts_cut": cut} if cut else {}), "items": rows}


def _unavailable(task: Task, reason: str) -> dict[str, Any]:
    """A score that could not be measured: no value, and why."""
    nothing = {"value": None, "n": 0, "low": None, "high": None, "failed": 0}
    return {"metric": task.metric, **nothing, "family": task.family, "version": task.version, "reason": reason}


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file of answers, for this evaluation alone. One in which nothing was written is not left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino != os.fstat(file.fileno()).st_ino:  # another's, which it has ended with meanwhile
                raise BlockingIOError
        except (BlockingIOError, FileNotFoundError):
            raise UserError(f"{path}: an evaluation is writing it; wait for it, or give another --out") from None
        file.seek(0)
        try:
            yield file
        finally:
            if not os.fstat(file.fileno()).st_size:
                path.unlink(missing_ok=True)
