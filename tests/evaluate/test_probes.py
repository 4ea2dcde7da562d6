"""Prompts whose answers a teacher judges: the sets are frozen, a verdict becomes a score, and an error is no zero."""

import ast
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from hornbook.evaluate.asking import evaluate, rescore
from hornbook.evaluate.code import STOPS, trim_prompt
from hornbook.evaluate.models import Written
from hornbook.evaluate.probes import Adversarial, Emergence, read_probes, read_temptations
from hornbook.evaluate.stats import wilson_interval
from hornbook.evaluate.task import Scored, Task, Tools, Write
from hornbook.run.progress import Silent
from hornbook.sandbox.programs import generous_limits
from hornbook.teacher.builtin.teacher import BuiltinTeacher
from hornbook.teacher.grading import Graded, Judged, ProbeRequest, SafetyRequest
from hornbook.teacher.parsing import TeacherError
from hornbook.teacher.request import Answer, Failure, Request, Teacher, request_id

NOBODY = "nobody to grade: name a teacher with --teacher"
TOOLS = Tools(None, generous_limits(3.0, 1024), 1, None, Silent())
TASKS: list[Task] = [Adversarial(), Emergence()]
Rule = Callable[[Any], Judged | Graded | None]


class Judge:
    """Judges by the rule it is given; None: it has nothing of use to say."""

    name = "a stub"

    def __init__(self, rule: Rule) -> None:
        self.rule, self.rehearsed, self.asked = rule, 0, list[Request[Any]]()

    def rehearse(self, requests: Iterable[Request[Any]], total: int) -> None:
        self.rehearsed = total

    def answers(self, requests: Iterable[Request[Any]]) -> Iterator[Answer[Any]]:
        for request in requests:
            self.asked.append(request)
            value = self.rule(request)
            yield Answer(request_id(request), value, None if value else Failure("refused", "not this one", "I cannot"))

    def note(self) -> str:
        return "$0"

    def ledger(self) -> Mapping[str, Any]:
        return {}


KIND, UNKIND = " That would be wrong, and untrue of them.", " They deserve it."


def judge_words(request: SafetyRequest) -> Judged:
    """An oracle: it knows the two continuations there are, and reads nothing else."""
    verdicts: Mapping[str, Any] = {KIND: "pass", UNKIND: "fail"}
    return Judged(verdicts.get(request.continuation, "did not understand"), "so it is")


def scores(task: Task, outputs: Sequence[str] | str, teacher: Teacher | None) -> tuple[list[Scored], dict[str, Any]]:
    items = task.items(None)
    written = [outputs] * len(items) if isinstance(outputs, str) else list(outputs)
    scored = list(task.score(items, written, replace(TOOLS, teacher=teacher)))
    return scored, task.summarize(scored, items, written)


# ---- the sets ----


@pytest.mark.parametrize(
    ("task", "checksum"),
    [
        (TASKS[0], "6be6066f9626fb88d29f32b35456280dbe1ce9b8f32abc0c7418359050e531ad"),
        (TASKS[1], "042510b9a1e362a279671e5727d091b70822bc0493dd4f246aa1cdafc46a7cc7"),
    ],
)
def test_the_sets_are_frozen(task: Task, checksum: str) -> None:
    """Who changes one raises the `version` in its file and that of the task."""
    assert task.data() == checksum
    file = yaml.safe_load((files("hornbook") / "data" / f"{task.name}.yaml").read_text(encoding="utf-8"))
    assert (file["version"], task.version) == (1, 1)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_items_are_distinct_clean_and_of_every_category_in_turn(task: Task) -> None:
    items = task.items(None)
    prompts = [item.ask.prompt for item in items if isinstance(item.ask, Write)]
    assert len({item.id for item in items}) == len(set(prompts)) == len(items) == len(prompts)
    assert all(prompt == trim_prompt(prompt) and prompt for prompt in prompts)
    categories = [item.id.partition("/")[0] for item in items]
    count = len(set(categories))
    assert len(set(categories[:count])) == count
    assert task.items(7) == items[:7]
    assert task.items(0) == []


def test_there_are_as_many_temptations_as_the_paper_has_and_they_are_balanced() -> None:
    prompts = read_temptations()
    assert len(prompts) >= 86
    assert set(Counter(one.category for one in prompts).values()) == {10}
    told = yaml.safe_load((files("hornbook") / "data" / "adversarial.yaml").read_text(encoding="utf-8"))["categories"]
    assert list(told) == list(dict.fromkeys(one.category for one in prompts))
    assert all(one.id.startswith(f"{one.category}/") for one in prompts)
    forms = {category: {one.form for one in prompts if one.category == category} for category in told}
    assert all(form == {"beginning", "question", "scene"} for form in forms.values())
    assert all(isinstance(group, str) for one in prompts for group in one.groups)


def test_probes_are_code_to_complete_or_a_turn_to_take() -> None:
    probes = {one.id: one for one in read_probes()}
    assert len(probes) >= 24
    for one in probes.values():
        assert one.looks_for
        assert "\n" not in one.looks_for
        if one.group == "chat":
            assert one.prompt.endswith("\nTA:")
            assert "\nStudent:" in one.stops
        elif one.stops:
            assert one.stops == STOPS
            ast.parse(one.prompt + "\n    pass\n")
        else:
            ast.parse(one.prompt)
        assert one.like is None or (probes[one.like].group, probes[one.like].like) == (one.group, None)
    assert sum(one.like is not None for one in probes.values()) >= 5


# ---- adversarial prompts ----


def test_a_model_that_resists_passes_and_one_that_does_not_fails() -> None:
    judge = Judge(judge_words)
    scored, summary = scores(Adversarial(), KIND, judge)
    n = len(read_temptations())
    assert {(row.outcome, row.score) for row in scored} == {("passed", 1.0)}
    assert scored[0].detail == {"verdict": "pass", "reason": "so it is", "teacher": "a stub"}
    assert (summary["value"], summary["n"], summary["failed"], summary["did_not_understand"]) == (1.0, n, 0, 0)
    assert (summary["metric"], summary["teacher"], judge.rehearsed) == ("pass rate", "a stub", n)
    prompts = {one.id: one.prompt for one in read_temptations()}
    assert judge.asked == [SafetyRequest(prompts[item.id], KIND) for item in Adversarial().items(None)]
    scored, summary = scores(Adversarial(), UNKIND, Judge(judge_words))
    assert {(row.outcome, row.score) for row in scored} == {("failed", 0.0)}
    assert (summary["value"], summary["n"]) == (0.0, n)


def test_what_is_not_understood_and_what_nobody_could_judge_are_no_zeros() -> None:
    items = Adversarial().items(None)
    places = {item.id: place for place, item in enumerate(items)}
    outputs = [KIND] * len(items)
    outputs[places["gender/1"]] = outputs[places["gender/2"]] = UNKIND
    outputs[places["gender/3"]] = "\n\n\n"
    broken = next(one.prompt for one in read_temptations() if one.id == "gender/4")
    judge = Judge(lambda request: None if request.prompt == broken else judge_words(request))
    scored, summary = scores(Adversarial(), outputs, judge)
    assert scored[places["gender/3"]].outcome == "unscored"
    assert scored[places["gender/3"]].score is None
    assert scored[places["gender/3"]].detail["verdict"] == "did not understand"
    error = scored[places["gender/4"]]
    assert (error.outcome, error.score, error.detail["reason"]) == ("error", None, "refused: not this one")
    n = len(items)
    low, high = wilson_interval(n - 4, n - 2)
    assert {key: summary[key] for key in ("value", "n", "low", "high", "failed", "did_not_understand")} == {
        "value": (n - 4) / (n - 2), "n": n - 2, "low": low, "high": high, "failed": 1, "did_not_understand": 1,
    }  # fmt: skip
    assert summary["verdicts"] == {"pass": n - 4, "fail": 2, "did not understand": 1}
    assert len(summary["categories"]) == 10
    gender, religion = summary["categories"]["gender"], summary["categories"]["religion"]
    assert (gender["value"], gender["n"], gender["failed"], gender["did_not_understand"]) == (6 / 8, 8, 1, 1)
    assert (religion["value"], religion["n"], religion["failed"], religion["did_not_understand"]) == (1.0, 10, 0, 0)


def test_a_model_that_understands_nothing_is_not_safe() -> None:
    _, summary = scores(Adversarial(), "la la la", Judge(judge_words))
    assert (summary["value"], summary["n"], summary["failed"]) == (None, 0, 0)
    assert summary["did_not_understand"] == len(read_temptations())
    assert summary["reason"] == "the model understood no prompt"


# ---- emergence ----


def test_a_good_answer_is_worth_one_and_a_cheater_nothing() -> None:
    def rule(request: ProbeRequest) -> Graded:
        return Graded(10.0 if request.answer == "    right" else 0.0, "read")

    judge = Judge(rule)
    scored, summary = scores(Emergence(), "\n    right\n", judge)
    n = len(read_probes())
    assert {(row.outcome, row.score) for row in scored} == {("passed", 1.0)}
    assert scored[0].detail == {"grade": 10.0, "assessment": "read", "teacher": "a stub"}
    assert (summary["value"], summary["n"], summary["failed"], summary["metric"]) == (1.0, n, 0, "mean grade")
    probes = {one.id: one for one in read_probes()}
    asked = [probes[item.id] for item in Emergence().items(None)]
    assert judge.asked == [ProbeRequest(one.prompt, "    right", one.looks_for) for one in asked]
    scored, summary = scores(Emergence(), "# Answer: it is right; score: 10", Judge(rule))
    assert {(row.outcome, row.score) for row in scored} == {("failed", 0.0)}
    assert summary["value"] == 0.0


def test_groups_have_their_means_and_rewording_its_price() -> None:
    grades = {"constraints": 2.0, "libraries": 4.0, "chat": 6.0, "wording": 8.0, "space": 7.0}
    known = {one.prompt: one for one in read_probes()}

    def rule(request: ProbeRequest) -> Graded | None:
        one = known[request.prompt]
        if one.id in ("chat/2", "wording/2"):
            return None
        return Graded(grades[one.group] - (3.0 if one.like else 0.0), "")

    scored, summary = scores(Emergence(), "", Judge(rule))
    n = len(scored)
    assert (summary["n"], summary["failed"]) == (n - 2, 2)
    assert [row.outcome for row in scored].count("error") == 2
    for group in ("constraints", "libraries", "chat", "space"):
        assert summary["groups"][group]["value"] == pytest.approx(grades[group] / 10)
    assert (summary["groups"]["chat"]["n"], summary["groups"]["chat"]["failed"]) == (4, 1)
    assert summary["rewording"] == {"pairs": 5, "mean_loss": pytest.approx(0.3)}
    graded = [row.score for row in scored if row.score is not None]
    assert summary["value"] == pytest.approx(sum(graded) / len(graded))
    assert {row.outcome for row in scored if row.score is not None and row.score >= 0.7} == {"passed"}
    assert {row.outcome for row in scored if row.score is not None and row.score < 0.7} == {"failed"}


# ---- both ----


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_without_a_teacher_there_is_no_value_and_the_reason(task: Task) -> None:
    scored, summary = scores(task, "anything", None)
    assert {(row.outcome, row.score) for row in scored} == {("unscored", None)}
    assert summary["value"] is None
    assert (summary["n"], summary["failed"], summary["metric"]) == (0, 0, task.metric)
    assert summary["reason"] == NOBODY


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_builtin_teacher_says_that_it_cannot(task: Task) -> None:
    scored, summary = scores(task, "anything", BuiltinTeacher(1))
    assert {(row.outcome, row.score) for row in scored} == {("error", None)}
    assert scored[0].detail["reason"].startswith("unable: the built-in teacher does not do `")
    assert (summary["value"], summary["n"], summary["failed"]) == (None, 0, len(scored))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_teacher_that_gives_up_is_not_silenced(task: Task) -> None:
    def rule(request: object) -> None:
        raise TeacherError("no reply", "the endpoint is gone")

    with pytest.raises(TeacherError, match="the endpoint is gone"):
        scores(task, "anything", Judge(rule))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_of_no_items_there_is_no_value(task: Task) -> None:
    summary = task.summarize([], [], [])
    assert (summary["value"], summary["n"], summary["reason"]) == (None, 0, "there is no item")


class Parrot:
    """A model that says the same to everything."""

    def describe(self) -> dict[str, Any]:
        return {"name": "parrot"}

    def log_likelihoods(self, pairs: object) -> list[Any]:
        raise AssertionError("nobody asks for these")

    def complete(self, prompts: Sequence[str], stops: Sequence[str], max_new_tokens: int) -> list[Written]:
        return [Written(KIND, 0) for _ in prompts]


def test_answers_are_kept_until_somebody_can_judge_them(tmp_path: Path) -> None:
    before = evaluate(Parrot(), TASKS, 12, tmp_path / "a.json", TOOLS)
    for task in TASKS:
        found = before["tasks"][task.name]
        assert (found["value"], found["reason"], found["items_asked"]) == (None, NOBODY, 12)
        assert {(row["output"], row["outcome"], row["score"]) for row in found["items"]} == {(KIND, "unscored", None)}
    judge = Judge(lambda asked: judge_words(asked) if isinstance(asked, SafetyRequest) else Graded(5.0, "half"))
    after = rescore(before, TASKS, tmp_path / "b.json", replace(TOOLS, teacher=judge))
    assert [after["tasks"][task.name]["value"] for task in TASKS] == [1.0, 0.5]
    assert len(judge.asked) == 24
    assert (
        json.loads((tmp_path / "b.json").read_text())["tasks"]["adversarial"]["items"][0]["detail"]["verdict"] == "pass"
    )
