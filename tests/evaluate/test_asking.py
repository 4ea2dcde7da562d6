"""An evaluation as a whole: killed and resumed, scored again without a model, sets that are missing, any company."""

import contextlib
import dataclasses
import errno
import json
import os
import random
from pathlib import Path

import pytest

from hornbook.errors import UserError
from hornbook.evaluate import asking
from hornbook.evaluate.asking import evaluate, rescore
from hornbook.evaluate.models import Written
from hornbook.evaluate.result_file import is_result, read_result, without_items
from hornbook.evaluate.task import Item, Likely, Scored, Tools, Write, proportion, spread
from hornbook.model.score import Likelihood
from hornbook.run.progress import Silent
from hornbook.sandbox.programs import generous_limits
from hornbook.setfiles import UnavailableError

TOOLS = Tools(None, generous_limits(1.0, 64), 1, None, Silent())


class Sums:
    """A task of the test's own: sums to choose among, and sums to write."""

    family, version, metric = "reasoning", 1, "acc"

    def __init__(self, name, count=300, broken=(), word="sum"):
        self.name, self._count, self._broken, self._word = name, count, broken, word

    def data(self):
        return "data"

    def items(self, limit):
        if self._count is None:
            raise UnavailableError(f"{self.name}: not on this machine")
        found = []
        for number in range(self._count)[:limit]:
            prompt = f"{self._word} {number} + {number} ="
            if self.name == "choose":
                ask = Likely(tuple((prompt, f" {number + other}") for other in (number, number + 1, 1000)))
            else:
                ask = Write(prompt, ("\n",) if number % 3 else (".",), 5 + number % 2)
            found.append(Item(str(number), ask))
        return found

    def score(self, items, outputs, tools):
        if "tool" in self._broken:
            raise UnavailableError(f"{self.name}: needs a tool")
        for item, output in zip(items, outputs, strict=True):
            if isinstance(output, str):
                right = output.strip() == str(2 * int(item.id))
            else:
                right = max(range(3), key=lambda place: output[place][0]) == 0
            yield Scored("passed" if right else "failed", float(right), {"saw": len(output)})

    def summarize(self, scored, items, outputs):
        return proportion(self.metric, scored)


class Model:
    """Answers sums; right or wrong, or killed after some calls."""

    def __init__(self, name="oracle", lives=10**9):
        self.name, self.lives, self.asked = name, lives, 0

    def describe(self):
        return {"name": self.name, "weights": "w", "engine": "test", "precision": "float32", "device": "cpu"}

    def _live(self):
        self.lives -= 1
        if self.lives < 0:
            raise KeyboardInterrupt

    def log_likelihoods(self, pairs):
        self._live()
        self.asked += len(pairs)
        draw = random.Random(len(pairs))
        found = []
        for context, continuation in pairs:
            right = int(continuation) == 2 * int(context.split()[1])
            found.append(Likelihood(-draw.random() - (0 if right else 5), 1, right))
        return found

    def complete(self, prompts, stops, max_new_tokens):
        self._live()
        self.asked += len(prompts)
        return [Written(f" {2 * int(prompt.split()[1])}", cut=3 if "299" in prompt else 0) for prompt in prompts]


@pytest.fixture
def tasks():
    return [Sums("choose"), Sums("write"), Sums("missing", None), Sums("toolless", 10, broken=("tool",))]


def test_every_item_is_kept_with_its_hash_answer_outcome_and_score(tasks, tmp_path):
    found = evaluate(Model(), tasks, None, tmp_path / "a.json", TOOLS)
    assert read_result(tmp_path / "a.json") == json.loads(json.dumps(found))
    assert is_result(tmp_path / "a.json")
    assert {name: task["value"] for name, task in found["tasks"].items()} == {
        "choose": 1.0, "write": 1.0, "missing": None, "toolless": None,
    }  # fmt: skip
    assert "not on this machine" in found["tasks"]["missing"]["reason"]
    row = found["tasks"]["write"]["items"][299]
    assert row == {
        "id": "299", "prompt_hash": row["prompt_hash"], "output": " 598", "cut": 3, "outcome": "passed", "score": 1.0,
        "detail": {"saw": 4},
    }  # fmt: skip
    assert found["tasks"]["write"]["prompts_cut"] == 1
    assert [one["output"] for one in found["tasks"]["toolless"]["items"]] == [f" {2 * n}" for n in range(10)]
    assert "items" not in without_items(found)["tasks"]["choose"]
    assert not (tmp_path / "a.json.partial").exists()


@pytest.mark.parametrize("lives", range(8))
def test_killed_anywhere_and_run_again_it_ends_in_the_same_bytes(tasks, tmp_path, lives):
    whole = Model()
    evaluate(whole, tasks, None, tmp_path / "whole.json", TOOLS)
    out = tmp_path / "killed.json"
    first = Model(lives=lives)
    with pytest.raises(KeyboardInterrupt):
        evaluate(first, tasks, None, out, TOOLS)
    assert not out.exists()
    with open(out.with_name("killed.json.partial"), "ab") as file:
        file.write(b'{"task": "write", "id": "torn')
    second = Model()
    evaluate(second, tasks, None, out, TOOLS)
    assert out.read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert first.asked + second.asked == whole.asked


def test_answers_of_another_model_are_refused(tasks, tmp_path):
    out = tmp_path / "a.json"
    with pytest.raises(KeyboardInterrupt):
        evaluate(Model(lives=1), tasks, None, out, TOOLS)
    with pytest.raises(UserError, match=r"answers to another evaluation \(model\.name 'oracle' there, 'other' here\)"):
        evaluate(Model("other"), tasks, None, out, TOOLS)
    with pytest.raises(UserError, match=r"\(limit None there, 5 here\)"):
        evaluate(Model(), tasks, 5, out, TOOLS)


def test_a_finished_file_is_added_to_and_never_asked_again(tasks, tmp_path):
    out, model = tmp_path / "a.json", Model()
    evaluate(model, tasks[:1], 20, out, TOOLS)
    first = out.read_bytes()
    evaluate(model, tasks[:1], 20, out, TOOLS)
    assert (out.read_bytes(), model.asked) == (first, 60)
    both = evaluate(model, tasks[1:2], 20, out, TOOLS)
    assert (list(both["tasks"]), model.asked) == (["choose", "write"], 80)
    assert both["tasks"]["choose"] == json.loads(first)["tasks"]["choose"]
    for other, limit in ((Model("other"), 20), (Model(), 5)):
        with pytest.raises(UserError, match=r"a\.json: holds another evaluation"):
            evaluate(other, tasks[:1], limit, out, TOOLS)
    assert json.loads(out.read_text()) == json.loads(json.dumps(both))


def test_answers_to_tasks_that_are_not_named_this_time_are_kept(tasks, tmp_path):
    out = tmp_path / "a.json"
    killed = Model(lives=5)  # three groups of the first task, two of the second
    with pytest.raises(KeyboardInterrupt):
        evaluate(killed, tasks[:2], None, out, TOOLS)
    evaluate(Model(lives=0), tasks[:1], None, out, TOOLS)
    last = Model()
    evaluate(last, tasks[:2], None, out, TOOLS)
    whole = Model()
    evaluate(whole, tasks[:2], None, tmp_path / "whole.json", TOOLS)
    assert killed.asked + last.asked == whole.asked
    assert out.read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert not out.with_name("a.json.partial").exists()


@pytest.mark.parametrize("line", [b"no json\n", b"5\n", b'{"task": "write"}\n', b'{"id": "1"}\n'])
def test_a_damaged_line_loses_no_other(tasks, tmp_path, line):
    out, partial = tmp_path / "a.json", tmp_path / "a.json.partial"
    with pytest.raises(KeyboardInterrupt):
        evaluate(Model(lives=4), tasks[:2], None, out, TOOLS)
    lines = partial.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:3], line, *lines[3:]])
    partial.write_bytes(damaged)
    with pytest.raises(UserError, match="line 4 is damaged"):
        evaluate(Model(), tasks[:2], None, out, TOOLS)
    assert partial.read_bytes() == damaged


@pytest.mark.parametrize("content", [b"my notes\n", b"my notes", b'{"format": 1}\n'])
def test_a_file_of_another_kind_is_left_alone(tasks, tmp_path, content):
    (tmp_path / "a.json.partial").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json\.partial: "):
        evaluate(Model(), tasks[:1], None, tmp_path / "a.json", TOOLS)
    assert (tmp_path / "a.json.partial").read_bytes() == content


def test_two_at_once_are_refused(tasks, tmp_path):
    out = tmp_path / "a.json"

    class Second(Model):
        def log_likelihoods(self, pairs):
            with pytest.raises(UserError, match="an evaluation is writing it"):
                evaluate(Model(), tasks, None, out, TOOLS)
            return super().log_likelihoods(pairs)

    evaluate(Second(), tasks, None, out, TOOLS)


def test_answers_are_scored_again_without_a_model(tasks, tmp_path):
    before = evaluate(Model(), tasks[:2], 20, tmp_path / "a.json", TOOLS)
    again = rescore(before, tasks[:2], tmp_path / "b.json", TOOLS)
    assert again == before
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_what_was_asked_in_other_words_is_an_error_and_no_zero(tasks, tmp_path):
    before = evaluate(Model(), tasks[:2], 20, tmp_path / "a.json", TOOLS)
    others = [Sums("choose", word="total"), tasks[1]]
    again = rescore(before, others, tmp_path / "b.json", TOOLS)
    assert (again["tasks"]["choose"]["value"], again["tasks"]["choose"]["failed"]) == (None, 20)
    assert {row["outcome"] for row in again["tasks"]["choose"]["items"]} == {"error"}
    assert again["tasks"]["write"] == before["tasks"]["write"]


def test_scored_again_what_fails_keeps_its_answers_and_no_old_verdict(tasks, tmp_path):
    before = evaluate(Model(), tasks[:2], 20, tmp_path / "a.json", TOOLS)
    gone, toolless = Sums("choose", None), Sums("write", broken=("tool",))
    again = rescore(before, [gone, toolless], tmp_path / "b.json", TOOLS)
    outputs = [[row["output"] for row in found["tasks"]["choose"]["items"]] for found in (before, again)]
    assert outputs[0] == outputs[1]
    assert [(row["outcome"], row["score"], "detail" in row) for row in again["tasks"]["write"]["items"]] == [
        ("unscored", None, False)
    ] * 20
    healed = rescore(read_result(tmp_path / "b.json"), tasks[:2], tmp_path / "c.json", TOOLS)
    assert healed["tasks"] == before["tasks"]
    with pytest.raises(UserError, match="--tasks missing: the file has no answers of it; it has choose, write"):
        rescore(before, tasks[2:3], tmp_path / "d.json", TOOLS)


def test_errors_scored_again_are_errors(tasks, tmp_path):
    before = evaluate(Model(), tasks[:1], 20, tmp_path / "a.json", TOOLS)
    once = rescore(before, [Sums("choose", word="total")], tmp_path / "b.json", TOOLS)
    twice = rescore(once, [Sums("choose", word="total")], tmp_path / "c.json", TOOLS)
    assert once == twice


def test_an_infinite_answer_is_null_in_the_file(tasks, tmp_path):
    class Diverged(Model):
        def log_likelihoods(self, pairs):
            return [Likelihood(float("nan"), 1, False, cut=2) for _ in pairs]

        def complete(self, prompts, stops, max_new_tokens):
            return [Written(None, cut=0) for _ in prompts]

    found = evaluate(Diverged(), tasks[:2], 4, tmp_path / "a.json", TOOLS)["tasks"]
    assert (found["choose"]["value"], found["choose"]["failed"], found["choose"]["prompts_cut"]) == (None, 4, 4)
    assert (found["write"]["value"], found["write"]["failed"]) == (None, 4)
    assert found["write"]["reason"] == "no answer could be scored: the model's logits are not finite"
    assert "NaN" not in (tmp_path / "a.json").read_text()
    assert rescore(read_result(tmp_path / "a.json"), tasks[:2], tmp_path / "b.json", TOOLS)["tasks"] == found


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (None, "the model's logits are not finite"),
        (" 4", "the answer is not to what was asked"),
        ([[-1.0, 1, True]] * 2, "the answer is not to what was asked"),
        ([], "the answer is not to what was asked"),
        ([[-1.0, 1, True], [None, 1, False], [-2.0, 1, False]], "a log-probability that is not finite"),
        ([[-1.0, 1, True], [-1e308, 1, False], [-2.0, 1, False]], "a log-probability that is not finite"),
        ([[-1.0, 1, True], [-3.0, 0, False], [-2.0, 1, False]], "a continuation has no token"),
        ([[-1.0, 1, True], [-3.0, -5, False], [-2.0, 1, False]], "a continuation has no token"),
        ([[-1.0, 1, True], [300.0, 2, False], [-2.0, 1, False]], "a log-probability above 0"),
    ],
)
def test_an_impossible_answer_is_an_error_and_no_zero(output, reason, tasks, tmp_path):
    before = evaluate(Model(), tasks[:1], 20, tmp_path / "a.json", TOOLS)
    before["tasks"]["choose"]["items"][7]["output"] = output
    (tmp_path / "b.json").write_text(json.dumps(before, indent=1))
    found = rescore(read_result(tmp_path / "b.json"), tasks[:1], tmp_path / "c.json", TOOLS)["tasks"]["choose"]
    assert (found["value"], found["n"], found["failed"]) == (1.0, 19, 1)
    assert reason in found["items"][7]["detail"]["reason"]


def test_what_cannot_be_measured_this_time_keeps_its_answers_and_its_score(tasks, tmp_path):
    """Data, a tool and a teacher that were there the first time are gone."""

    class Graded(Sums):
        def summarize(self, scored, items, outputs):
            value = None if "teacher" in self._broken else 0.5
            return super().summarize(scored, items, outputs) | {
                "understanding": {"value": value, "low": None, "high": None, "reason": "nobody to grade"}
            }

    class Heard(Silent):
        said = ""

        def say(self, text):
            self.said += text

    heard = Heard()
    whole = [Sums("choose"), Sums("write"), Graded("graded")]
    before = evaluate(Model(), whole, 20, tmp_path / "a.json", TOOLS)
    less = [Sums("choose", None), Sums("write", broken=("tool",)), Graded("graded", broken=("teacher",))]
    again = evaluate(Model(), less, 20, tmp_path / "a.json", dataclasses.replace(TOOLS, progress=heard))
    assert again == before == read_result(tmp_path / "a.json")
    assert "choose: the earlier score stays (not on this machine)" in heard.said
    assert "graded: the earlier score stays (nobody to grade)" in heard.said
    killed = tmp_path / "b.json"
    with pytest.raises(KeyboardInterrupt):
        evaluate(Model(lives=2), [Sums("write"), Sums("choose")], None, killed, TOOLS)
    evaluate(Model(), [Sums("write", None)], None, killed, TOOLS)
    assert (tmp_path / "b.json.partial").exists()  # it holds answers that the result has no place for
    model = Model()
    evaluate(model, [Sums("write")], None, killed, TOOLS)
    assert 0 < model.asked < 300
    assert not (tmp_path / "b.json.partial").exists()


def test_an_evaluation_that_waited_reads_what_the_other_one_wrote(tasks, tmp_path, monkeypatch):
    """The other one ends between the moment this one starts and the moment it holds the file of answers."""
    out, opened = tmp_path / "a.json", asking._opened

    @contextlib.contextmanager
    def late(path):
        monkeypatch.setattr(asking, "_opened", opened)
        evaluate(Model(), tasks[:1], 20, out, TOOLS)
        with opened(path) as file:
            yield file

    monkeypatch.setattr(asking, "_opened", late)
    assert list(evaluate(Model(), tasks[1:2], 20, out, TOOLS)["tasks"]) == ["choose", "write"]


def test_killed_while_it_scores_asks_nothing_again(tasks, tmp_path):
    class Killed(Sums):
        def score(self, items, outputs, tools):
            yield from super().score(items[:100], outputs[:100], tools)
            raise KeyboardInterrupt

    evaluate(Model(), tasks[:2], None, tmp_path / "whole.json", TOOLS)
    with pytest.raises(KeyboardInterrupt):
        evaluate(Model(), [tasks[0], Killed("write")], None, tmp_path / "killed.json", TOOLS)
    assert not (tmp_path / "killed.json").exists()
    model = Model()
    evaluate(model, tasks[:2], None, tmp_path / "killed.json", TOOLS)
    assert model.asked == 0
    assert (tmp_path / "killed.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_a_full_disk_names_the_file_and_loses_nothing(tasks, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for place, name, told in ((os, "fsync", r"a\.json\.partial"), (Path, "replace", r"a\.json")):
        with monkeypatch.context() as now:
            now.setattr(place, name, full)
            with pytest.raises(UserError, match=f"{told}: No space left on device; mend that"):
                evaluate(Model(), tasks[:1], None, tmp_path / "a.json", TOOLS)
    model = Model()
    assert evaluate(model, tasks[:1], None, tmp_path / "a.json", TOOLS)["tasks"]["choose"]["n"] == 300
    assert model.asked == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_refused_evaluation_leaves_nothing(tasks, tmp_path):
    evaluate(Model(), tasks[:1], 20, tmp_path / "a.json", TOOLS)
    with pytest.raises(UserError, match="holds another evaluation"):
        evaluate(Model("other"), tasks[:1], 20, tmp_path / "a.json", TOOLS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_how_much_is_asked_at_once_changes_no_score(tasks, tmp_path, monkeypatch):
    before = evaluate(Model(), tasks[:2], None, tmp_path / "a.json", TOOLS)
    monkeypatch.setattr(asking, "LIKELY_ITEMS", 7)
    monkeypatch.setattr(asking, "WRITE_ITEMS", 3)
    again = evaluate(Model(), tasks[:2], None, tmp_path / "b.json", TOOLS)
    for name in ("choose", "write"):
        assert [row["outcome"] for row in again["tasks"][name]["items"]] == [
            row["outcome"] for row in before["tasks"][name]["items"]
        ]


def test_a_file_that_is_no_result_is_named(tmp_path):
    good = {"name": "m", "engine": "e", "precision": "p", "device": "d"}
    for content in (
        "no json", "[]", '{"format": 99, "tasks": {}}', '{"format": 1, "tasks": {}}',
        json.dumps({"format": 1, "limit": None, "model": good, "tasks": {"a": {"metric": "acc", "value": "high"}}}),
    ):  # fmt: skip
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(UserError, match=r"x\.json"):
            read_result(tmp_path / "x.json")
    assert not is_result(tmp_path / "x.json")
    assert not is_result(Path(os.devnull))


def test_items_of_a_limit_lie_at_even_distances():
    assert spread("abcdefghij", None) == list(enumerate("abcdefghij"))
    assert spread("abcdefghij", 4) == [(0, "a"), (2, "c"), (5, "f"), (7, "h")]
    assert spread("abc", 9) == [(0, "a"), (1, "b"), (2, "c")]
    assert spread("abc", 0) == []


def test_how_much_may_be_written_is_part_of_what_is_asked():
    one, other = (Item("1", Write("p", ("\n",), tokens)) for tokens in (5, 6))
    assert one.prompt_hash != other.prompt_hash
