"""An evaluation as a whole: killed and resumed, scored again without a model, sets that are missing, any company."""

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
from hornbook.evaluate.task import Item, Likely, Scored, Tools, Write, proportion
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

    def log_likelihoods(self, pairs, advance):
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


def test_two_at_once_are_refused(tasks, tmp_path):
    out = tmp_path / "a.json"

    class Second(Model):
        def log_likelihoods(self, pairs, advance):
            with pytest.raises(UserError, match="an evaluation is writing it"):
                evaluate(Model(), tasks, None, out, TOOLS)
            return super().log_likelihoods(pairs, advance)

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
    for content in ("no json", "[]", '{"format": 99, "tasks": {}}'):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(UserError, match=r"x\.json"):
            read_result(tmp_path / "x.json")
    assert not is_result(tmp_path / "x.json")
    assert not is_result(Path(os.devnull))
