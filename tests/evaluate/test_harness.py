"""The harness's tasks on our rows: its own words, an oracle, its opposite, chance, and lm-evaluation-harness itself."""

import random
from collections import Counter

import pytest

from hornbook import rowsets
from hornbook.evaluate import harness
from hornbook.evaluate.asking import score_answers
from hornbook.evaluate.harness import SETTINGS, HarnessTask, harness_task, parts_of
from hornbook.evaluate.stats import wilson_interval
from hornbook.evaluate.task import Tools
from hornbook.run.progress import Silent
from hornbook.sandbox.programs import generous_limits
from hornbook.testsets import UnavailableError

pytest.importorskip("lm_eval")
TOOLS = Tools(None, generous_limits(1.0, 64), 1, None, Silent())
MMLU_SUBJECTS = 57


@pytest.fixture(params=SETTINGS)
def task(request):
    found = HarnessTask(request.param)
    try:
        rowsets.load(request.param)
    except UnavailableError as error:
        pytest.skip(str(error))
    return found


def right_choices(task, items):
    """Of each item, its right choice by the harness's own target."""
    for item in items:
        asked, doc = task._docs[item.id]
        yield asked.doc_to_text(doc) if asked.multiple_input else asked.doc_to_target(doc)


def answers(items, right, value_right, value_wrong):
    return [
        [[value_right if place == gold else value_wrong, 3, False] for place in range(len(item.ask.pairs))]
        for item, gold in zip(items, right, strict=True)
    ]


def summary(task, items, outputs):
    given = [{"id": i.id, "prompt_hash": i.prompt_hash, "output": o} for i, o in zip(items, outputs, strict=True)]
    scored, found = score_answers(task, items, given, TOOLS)
    assert all(
        row.score == float(row.detail["chosen"] == row.detail["gold"]) for row in scored if row.score is not None
    )
    return found


def test_an_oracle_gets_all_and_its_opposite_nothing(task):
    items = task.items(57)
    right = list(right_choices(task, items))
    assert len(set(right)) > 1
    assert summary(task, items, answers(items, right, -1.0, -99.0))["value"] == 1.0
    assert summary(task, items, answers(items, right, -99.0, -1.0))["value"] == 0.0


def test_chance_lies_in_the_interval(task):
    items = task.items(400)
    draw = random.Random(1)
    outputs = [[[-draw.random(), 1, False] for _ in item.ask.pairs] for item in items]
    found = summary(task, items, outputs)
    chance = sum(1 / len(item.ask.pairs) for item in items)
    low, high = wilson_interval(chance, len(items))
    assert low - 0.02 < found["value"] < high + 0.02
    assert (found["n"], found["failed"]) == (len(items), 0)


def test_an_answer_that_is_none_is_an_error_and_no_zero(task):
    items = task.items(57)
    right = list(right_choices(task, items))
    outputs = answers(items, right, -1.0, -9.0)
    outputs[0][0][0], outputs[1][1][0], outputs[2][0][1] = None, float("inf"), 0
    del outputs[3][-1]
    found = summary(task, items, outputs)
    assert (found["value"], found["n"], found["failed"]) == (1.0, 53, 4)


def test_nothing_but_errors_is_no_score(task):
    items = task.items(57)
    outputs = [[[float("nan"), 1, False] for _ in item.ask.pairs] for item in items]
    found = summary(task, items, outputs)
    assert (found["value"], found["n"], found["failed"]) == (None, 0, 57)


def test_compiled_templates_ask_what_the_harness_asks(task):
    part = next(parts_of(task.name, 57))
    theirs, ours = harness_task(task.name, part, compiled=False), harness_task(task.name, part)
    for doc in part.rows[:20]:
        told = []
        for one in (theirs, ours):
            context = one.fewshot_context(doc, SETTINGS[task.name].shots)
            told.append([request.args for request in one.construct_requests(doc, context, metadata=("", 0, 1))])
            told[-1].append((one.doc_to_target(doc), one.doc_to_choice(doc)))
        assert told[0] == told[1]


def test_a_limit_draws_from_the_whole_set(task):
    """Three pieces of a set give about as many items each, under the names they have in the whole set."""
    rows, limit = rowsets.load(task.name), 90
    items = task.items(limit)
    assert len(items) == limit
    if task.name == "mmlu":
        assert len({item.id.split("/")[0] for item in items}) > MMLU_SUBJECTS / 2
    else:
        thirds = Counter(int(item.id) * 3 // len(rows) for item in items)
        assert set(thirds) == {0, 1, 2}
        assert max(thirds.values()) - min(thirds.values()) <= 2
    whole = {item.id: item.prompt_hash for item in task.items(None)} if len(rows) < 2000 else {}
    assert all(whole.get(item.id, item.prompt_hash) == item.prompt_hash for item in items)


def test_mmlu_shows_two_examples_of_the_same_subject():
    try:
        items = HarnessTask("mmlu").items(60)
    except UnavailableError as error:
        pytest.skip(str(error))
    for item in items:
        subject, context = item.id.split("/")[0].replace("_", " "), item.ask.pairs[0][0]
        assert context.startswith(f"The following are multiple choice questions (with answers) about {subject}")
        assert context.count("\nAnswer:") == 3
        assert [continuation for _, continuation in item.ask.pairs] == [" A", " B", " C", " D"]


def test_without_the_harness_a_task_is_unavailable(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(UnavailableError, match=r"pip install 'hornbook\[eval\]'"):
        harness_task("arc_easy", harness.Part([{"question": "?"}], [0]))
