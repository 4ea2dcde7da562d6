"""SQuAD: the metric against another implementation of its definition, the task, and prediction files with faults."""

import itertools
import json
import random
import string
from fractions import Fraction
from typing import Any

import pytest

from hornbook import rowsets
from hornbook.errors import UserError
from hornbook.evaluate.squad import Squad, grade_squad_predictions, normalise_answer, score_answer
from hornbook.evaluate.stats import wilson_interval
from hornbook.evaluate.task import Tools, Write, spread
from hornbook.run.progress import Silent
from hornbook.sandbox.programs import generous_limits
from hornbook.tables import read_columns
from hornbook.testsets import UnavailableError

TOOLS = Tools(None, generous_limits(3.0, 1024), 1, None, Silent())
ROWS = (
    {"id": "a", "title": "T", "context": "The Broncos won.", "question": "Who won?", "answers": ["The Broncos", "won"]},
    {"id": "b", "title": "T", "context": "The Broncos won.", "question": "What?", "answers": ["Super Bowl 50"]},
    {"id": "c", "title": "U", "context": "It is x.", "question": "Which?", "answers": ["x", "x"]},
)
MADE = [["The Broncos", "a Bronco's"], ["$5.00 (a day)"], ["U.S. the", "an"], ["“the” Norse—the Danes", "1,000,000"]]


def answers_of_the_set() -> list[list[str]]:
    if rowsets.checksum_here("squad") is None:
        return MADE
    return [list(row["answers"]) for row in rowsets.load("squad")]


def other_tokens(text: str) -> list[str]:
    """The same normal form without a pattern: a letter at a time, then runs of what a word is made of."""
    kept = [char for char in text.lower() if char not in string.punctuation]
    runs = ["".join(run) for _, run in itertools.groupby(kept, str.isalnum)]
    return "".join(" " if run in ("a", "an", "the") else run for run in runs).split()


def other_metric(answer: str, truths: list[str]) -> tuple[float, float]:
    """F1 as twice the shared tokens by all of both, crossed out one by one."""
    exact, best = False, Fraction(0)
    for truth in truths:
        one, other = other_tokens(answer), other_tokens(truth)
        exact = exact or one == other
        left, shared = list(other), 0
        for token in one:
            if token in left:
                left.remove(token)
                shared += 1
        if shared:
            best = max(best, Fraction(2 * shared, len(one) + len(other)))
    return float(exact), float(best)


def perturbed(draw: random.Random, answer: str, other: str) -> str:
    """An answer as a model may have it: changed, cut, mixed up, or another one altogether."""
    words = answer.split(" ")
    kind = draw.randrange(10)
    if kind == 0:
        return other
    if kind == 1:
        return draw.choice(["The ", "an ", "a\t", "  "]) + answer.upper()
    if kind == 2:
        draw.shuffle(words)
    elif kind == 3:
        words.pop(draw.randrange(len(words)))
    elif kind == 4:
        words.insert(
            draw.randrange(len(words) + 1), draw.choice(["the", "A", "--", "–", "the–", "“an”", *other.split()])
        )
    elif kind == 5:
        words += words[: draw.randrange(3)]
    elif kind == 6:
        place = draw.randrange(len(answer) + 1)
        return answer[:place] + draw.choice([*string.punctuation, "\n", "\xa0", "é", "İ", "½"]) + answer[place:]
    elif kind == 7:
        return answer[: draw.randrange(len(answer) + 1)]
    elif kind == 8:
        return f"{answer} {other}"
    return " ".join(words)


def test_the_metric_is_that_of_another_implementation() -> None:
    draw, sets = random.Random(7), answers_of_the_set()
    scores = list[tuple[float, float]]()
    for _ in range(10_000):
        truths, other = draw.choice(sets), draw.choice(draw.choice(sets))
        answer = perturbed(draw, draw.choice(truths), other)
        found, wanted = score_answer(answer, truths), other_metric(answer, truths)
        assert found == (wanted[0], pytest.approx(wanted[1], abs=1e-12)), (answer, truths)
        scores.append(found)
    kinds = {"exact": sum(e for e, _ in scores), "none": sum(f == 0 for _, f in scores)}
    partly = len(scores) - kinds["exact"] - kinds["none"]
    assert min(*kinds.values(), partly) > 500, "the answers tell little apart"


@pytest.mark.parametrize(
    ("answer", "truths", "exact", "f1"),
    [
        ("The  Denver-Broncos!", ["denverbroncos"], 1, 1),
        ("a an the", ["another"], 0, 0),
        ("the", ["an"], 1, 0),  # nothing is left of either: equal, and without a shared token
        ("", ["x"], 0, 0),
        ("Denver Broncos won", ["Denver Broncos", "Carolina"], 0, 0.8),
        ("x x y", ["x x x"], 0, 2 / 3),
        ("theatre", ["atre"], 0, 0),
    ],
)
def test_known_answers(answer: str, truths: list[str], exact: float, f1: float) -> None:
    assert score_answer(answer, truths) == (exact, pytest.approx(f1))


def test_the_normal_form_is_in_the_order_of_the_script() -> None:
    assert normalise_answer("A.n the U.S.\n\xa0of-A") == "us ofa"  # punctuation goes first, and makes an article here
    with pytest.raises(ValueError, match="at least one"):
        score_answer("x", [])


def test_all_true_answers_of_the_set_score_one() -> None:
    if rowsets.checksum_here("squad") is None:
        pytest.skip("squad is not on this machine")
    task = Squad()
    items = task.items(None)
    rows = rowsets.load("squad")
    outputs = [f" {row['answers'][place % len(row['answers'])]} " for place, row in enumerate(rows)]
    scored = list(task.score(items, outputs, TOOLS))
    summary = task.summarize(scored, items, outputs)
    assert (summary["value"], summary["n"], summary["failed"]) == (1.0, 10570, 0)
    # An answer of an article alone, 'a' or 'an', matches and shares no token.
    bare = sum(not other_tokens(output) for output in outputs)
    assert summary["f1"]["value"] == pytest.approx(1 - bare / 10570)
    assert task.items(3) == [item for _, item in spread(items, 3)]
    ask = items[0].ask
    assert isinstance(ask, Write)
    assert ask.prompt == f"{rows[0]['context']}\n\nQuestion: {rows[0]['question']}\nAnswer:"
    assert (ask.stops, ask.max_new_tokens) == (("\n",), 32)


def test_scores_and_their_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowsets, "load", lambda name: ROWS)
    task = Squad()
    outputs = [" the broncos. ", " the Super Bowl", " y"]
    scored = list(task.score(task.items(None), outputs, TOOLS))
    assert [(row.outcome, row.score) for row in scored] == [("passed", 1.0), ("failed", 0.0), ("failed", 0.0)]
    assert [row.detail for row in scored] == [
        {"answer": "the broncos.", "f1": 1.0}, {"answer": "the Super Bowl", "f1": pytest.approx(0.8)},
        {"answer": "y", "f1": 0.0}]  # fmt: skip
    summary = task.summarize(scored, task.items(None), outputs)
    low, high = wilson_interval(1, 3)
    assert {key: summary[key] for key in ("metric", "value", "n", "low", "high", "failed")} == {
        "metric": "exact match", "value": 1 / 3, "n": 3, "low": low, "high": high, "failed": 0}  # fmt: skip
    low, high = wilson_interval(1.8, 3)
    assert summary["f1"] == pytest.approx({"value": 0.6, "n": 3, "low": low, "high": high})
    assert task.summarize([], [], [])["f1"]["value"] is None


def test_predictions_with_faults_lose_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(rowsets, "load", lambda name: ROWS)
    path, out = tmp_path / "predictions.json", tmp_path / "graded.jsonl"
    path.write_text(
        '{"b": "Super Bowl 49", "a": "won", "c": "x", "z": "x", "b": "Super Bowl \\ud800", "c": '
        + "9" * 5000
        + ', "\\ud801": []}'
    )
    found = grade_squad_predictions(path, out)
    assert [found[key] for key in ("questions", "answered", "unanswered", "unknown", "faulty")] == [3, 2, 1, 2, 4]
    assert found["faults"] == [
        "'z': the set has no such question", "'b': stands twice; its last answer counts",
        "'c': the answer is no text but a number", "'?': the set has no such question"]  # fmt: skip
    two_thirds = 2 / 3  # of the words of "Super Bowl ?" ... a half character is a word
    assert found["scores"]["exact match"]["value"] == pytest.approx(1 / 3)
    assert found["scores"]["f1"]["value"] == pytest.approx((1 + two_thirds) / 3)
    assert found["scores_of_answered"]["exact match"]["value"] == 0.5
    assert found["scores_of_answered"]["f1"]["value"] == pytest.approx((1 + two_thirds) / 2)
    rows = list(read_columns(out, ["id", "outcome", "exact_match", "answer", "detail"]))
    assert rows == [
        ("a", "passed", 1.0, "won", ""),
        ("b", "failed", 0.0, "Super Bowl ?", "stands twice; its last answer counts"),
        ("c", "unscored", 0.0, "", "the answer is no text but a number"),
        ("z", "unscored", 0.0, "", "the set has no such question"),
        ("?", "unscored", 0.0, "", "the set has no such question"),
    ]


def test_whole_predictions_score_as_the_task(tmp_path: Any) -> None:
    if rowsets.checksum_here("squad") is None:
        pytest.skip("squad is not on this machine")
    draw, rows = random.Random(3), rowsets.load("squad")
    answers = [perturbed(draw, row["answers"][0], "the Danes").replace("\n", " ") for row in rows]
    path = tmp_path / "predictions.json"
    path.write_text("\ufeff" + json.dumps(dict(zip([row["id"] for row in rows], answers, strict=True))), "utf-8")
    found = grade_squad_predictions(path, tmp_path / "graded.parquet")
    task = Squad()
    items = task.items(None)
    summary = task.summarize(list(task.score(items, answers, TOOLS)), items, answers)
    assert found["scores"] == found["scores_of_answered"]
    assert found["scores"]["exact match"]["value"] == summary["value"]
    assert found["scores"]["f1"] == summary["f1"]
    assert (found["unanswered"], found["faulty"]) == (0, 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('["a"]', "holds a list"),
        ("3", "holds a number"),
        ("{}", "answers no question of squad; give"),
        ('{"a": null, "q": "x"}', r"answers no question of squad \('a': the answer is no text but null; 'q': the set"),
        (None, "cannot be read as JSON"),
    ],
)
def test_files_that_are_no_predictions(
    text: str | None, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(rowsets, "load", lambda name: ROWS)
    path = tmp_path / "predictions.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=why) as caught:
        grade_squad_predictions(path, tmp_path / "graded.jsonl")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "graded.jsonl").exists()


def test_a_set_that_is_not_here_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def gone(name: str) -> Any:
        raise UnavailableError("squad: not on this machine")

    monkeypatch.setattr(rowsets, "load", gone)
    with pytest.raises(UnavailableError):
        Squad().items(None)
    with pytest.raises(UserError, match="squad: not on this machine"):
        grade_squad_predictions(tmp_path / "p.json", tmp_path / "graded.jsonl")
