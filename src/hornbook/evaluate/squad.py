"""SQuAD v1.1: the official metric, the task, and predictions in the official format.

The metric is that of Rajpurkar et al. 2016 (arXiv 1606.05250, section 6.1) as the official evaluation script of v1.1
computes it, written anew from its definition.
"""

import json
import re
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hornbook import rowsets
from hornbook.errors import UserError
from hornbook.evaluate.grade import KEPT_EXAMPLES
from hornbook.evaluate.stats import wilson_interval
from hornbook.evaluate.task import Family, Item, Output, Scored, Tools, Write, proportion, spread
from hornbook.tables import TableWriter
from hornbook.testsets import UnavailableError

SQUAD = "squad"
METRIC = "exact match"
STOPS = ("\n",)
MAX_NEW_TOKENS = 32
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalise_answer(text: str) -> str:
    """In small letters, without ASCII punctuation and articles, each white space one blank; in this order."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(NO_PUNCTUATION)).split())


def score_answer(answer: str, truths: Sequence[str]) -> tuple[float, float]:
    """Exact match (0 or 1) and F1 over tokens, each the best over the true answers.

    F1 is 0 where no token is shared, so an answer of articles alone may match exactly and have no F1, as in the script.
    Raises ValueError where there is no true answer.
    """
    if not truths:
        raise ValueError("an answer is compared with at least one true one")
    found, true = normalise_answer(answer), [normalise_answer(truth) for truth in truths]
    return float(found in true), max(_f1(found.split(), one.split()) for one in true)


def _f1(found: Sequence[str], true: Sequence[str]) -> float:
    shared = (Counter(found) & Counter(true)).total()
    if not shared:
        return 0.0
    precision, recall = shared / len(found), shared / len(true)
    return 2 * precision * recall / (precision + recall)


class Squad:
    """Questions on paragraphs of Wikipedia, zero-shot.

    phi-1.5 (table 3) gives exact match on a scale from 0 to 1, and neither the version of the set, nor the number of
    examples, nor a prompt. These are ours: v1.1's development set; the paragraph, a blank line, `Question: …` and
    `Answer:`, each on its line; the answer is the line the model writes then, stripped, within 32 tokens. Where a
    paragraph does not fit a model's context, it loses its beginning.
    """

    name, version, metric = SQUAD, 1, METRIC
    family: Family = "knowledge"

    def items(self, limit: int | None) -> Sequence[Item]:
        """One for each question. Raises UnavailableError."""
        drawn = spread(rowsets.load(SQUAD), limit)
        return [Item(row["id"], Write(squad_prompt(row), STOPS, MAX_NEW_TOKENS)) for _, row in drawn]

    def data(self) -> str:
        """The checksum of the set."""
        return rowsets.checksum_here(SQUAD) or ""

    def score(self, items: Sequence[Item], outputs: Sequence[Output], tools: Tools) -> Iterator[Scored]:
        """1 where the answer matches one of the true ones. Detail holds the answer and its F1."""
        truths = {row["id"]: row["answers"] for row in rowsets.load(SQUAD)}
        for item, output in zip(items, outputs, strict=True):
            assert isinstance(output, str)
            answer = output.strip()
            exact, f1 = score_answer(answer, truths[item.id])
            yield Scored("passed" if exact else "failed", exact, {"answer": answer, "f1": f1})

    def summarize(self, scored: Sequence[Scored], items: Sequence[Item], outputs: Sequence[Output]) -> dict[str, Any]:
        """Exact match, and mean F1 beside it, each with its Wilson interval (for F1 wider than it need be)."""
        return proportion(METRIC, scored) | {"f1": _mean([row.detail["f1"] for row in scored if row.score is not None])}


def squad_prompt(row: Mapping[str, Any]) -> str:
    """What a model is asked: see `Squad`."""
    return f"{row['context']}\n\nQuestion: {row['question']}\nAnswer:"


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """What became of one question of the set, or of one entry of a predictions file that answers none.

    `unscored` is a question without an answer, which counts as wrong, or an entry without a question, which counts not
    at all; `detail` says which.
    """

    id: str
    outcome: Literal["passed", "failed", "unscored"]
    exact_match: float
    f1: float
    answer: str
    detail: str


def grade_squad_predictions(path: Path, out: Path) -> dict[str, Any]:
    """Grade a file of predictions in the official format, a JSON object of answers by the questions' ids.

    One row for each question of the set goes to `out` (JSONL, or Parquet), in the authors' order, then one for each
    entry that names no question. `scores` are over all questions, an unanswered one being wrong, as the official script
    has it; `scores_of_answered` over those answered. An answer that is no text, an id the set does not have, and an id
    that stands twice (its last answer counts, as everywhere in JSON) are faults, which cost nothing but themselves.

    Raises UserError where the file is no such object or answers no question, or the set is not to be had.
    """
    try:
        rows = rowsets.load(SQUAD)
    except UnavailableError as error:
        raise UserError(str(error)) from error
    known = {row["id"] for row in rows}
    answers: dict[str, str] = {}
    wrong: dict[str, str] = {}  # by id, why there is no answer, or something else to say of it
    for id_, answer in _read_predictions(path):
        again = id_ in answers or id_ in wrong
        answers.pop(id_, None)
        wrong.pop(id_, None)
        if id_ not in known:
            wrong[id_] = "the set has no such question"
        elif not isinstance(answer, str):
            wrong[id_] = f"the answer is no text but {_kind_of(answer)}"
        else:
            answers[id_] = answer
            if again:
                wrong[id_] = "stands twice; its last answer counts"
    faults = [f"{_printable(id_)[:80]!r}: {why}" for id_, why in wrong.items()]
    if not answers:
        some = f" ({'; '.join(faults[:KEPT_EXAMPLES])})" if faults else ""
        raise UserError(
            f"{path}: answers no question of {SQUAD}{some}; give a JSON object of texts by the questions' ids, such as "
            f"{rows[0]['id']!r}"
        )
    exact, f1 = list[float](), list[float]()  # of the answered
    with TableWriter(out, GradedAnswer) as table:
        for row in rows:
            id_ = row["id"]
            if id_ not in answers:
                table.write(GradedAnswer(id_, "unscored", 0.0, 0.0, "", wrong.get(id_, "unanswered")))
                continue
            one, other = score_answer(answers[id_], row["answers"])
            exact.append(one)
            f1.append(other)
            shown, why = _printable(answers[id_]), wrong.get(id_, "")
            table.write(GradedAnswer(id_, "passed" if one else "failed", one, other, shown, why))
        for id_, why in wrong.items():
            if id_ not in known:
                table.write(GradedAnswer(_printable(id_), "unscored", 0.0, 0.0, "", why))
    unanswered = [0.0] * (len(rows) - len(exact))
    return {
        "testset": SQUAD,
        "questions": len(rows),
        "answered": len(exact),
        "unanswered": len(unanswered),
        "unknown": sum(id_ not in known for id_ in wrong),
        "faulty": len(wrong),
        "faults": faults[:KEPT_EXAMPLES],
        "scores": {METRIC: _mean(exact + unanswered), "f1": _mean(f1 + unanswered)},
        "scores_of_answered": {METRIC: _mean(exact), "f1": _mean(f1)},
    }


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all its entries, those of one name too."""


def _read_predictions(path: Path) -> _Pairs:
    try:
        # Integers as floats: one of very many digits would cost all the others.
        read = json.loads(path.read_bytes(), object_pairs_hook=_Pairs, parse_int=float)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); give an object of answers by id") from error
    if not isinstance(read, _Pairs):
        raise UserError(f"{path}: holds {_kind_of(read)}; give an object of answers by id")
    return read


def _kind_of(value: Any) -> str:
    kinds = {_Pairs: "an object", list: "a list", str: "a text", float: "a number", bool: "a truth value"}
    return kinds.get(type(value), "null")


def _printable(text: str) -> str:
    """Without halves of characters, which JSON can name and no table can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _mean(shares: Sequence[float]) -> dict[str, Any]:
    if not shares:
        return {"value": None, "n": 0, "low": None, "high": None, "reason": "no answer could be scored"}
    total = sum(shares)
    low, high = wilson_interval(total, len(shares))
    return {"value": total / len(shares), "n": len(shares), "low": low, "high": high}
