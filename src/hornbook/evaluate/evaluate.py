"""Everything one trained model of a recipe is measured on, into one file of scores."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from hornbook import testsets
from hornbook.evaluate.asking import Answer, answer_items, score_answers
from hornbook.evaluate.bits import log_likelihoods, reference_passages, score_passages
from hornbook.evaluate.code import unavailable
from hornbook.evaluate.coding import CodeTask
from hornbook.evaluate.models import PhiModel
from hornbook.evaluate.registry import all_tasks
from hornbook.evaluate.task import Item, Scored, Task, Tools, Write
from hornbook.model.transformer import Phi, load_model
from hornbook.model.vocabulary import load_tokenizer
from hornbook.records import Completion, Outcome
from hornbook.run.step import Inputs, Result, Workspace
from hornbook.run.workers import cpu_quota
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import generous_limits
from hornbook.step_config import EvaluateStep
from hornbook.tables import write_rows

SCORES = "scores.json"
REFERENCE_TASKS = {"bits_humaneval": "humaneval", "bits_mbpp": "mbpp"}  # → test set
HELD_OUT: dict[str, str] = {"bits_held_out": "bits"}  # a recipe's name for the text its corpus step held out


def evaluate_model(config: EvaluateStep, inputs: Inputs, work: Workspace) -> Result:
    """Measure `inputs["model"]` on every task of the recipe, held-out text from `inputs["corpus"]`.

    Writes scores.json, `{task: {metric, value, n, low, high, failed}}`, where a test set that is not to be had gives
    value null and a reason; of every code task completions-<task>.parquet and outcomes-<task>.parquet; and of every
    other task items-<task>.jsonl. Raises UserError where no isolation works.
    """
    device = "cuda" if work.machine.device in ("auto", "cuda") and torch.cuda.is_available() else "cpu"
    phi = load_model(inputs["model"]).to(device)
    model = PhiModel(phi, load_tokenizer(inputs["model"]), {"name": inputs["model"].name})
    backend = choose_backend(unsafe=work.machine.unsafe_execution)
    limits = generous_limits(config.evaluate.cpu_seconds, config.evaluate.memory_mb)
    tools = Tools(backend, limits, work.machine.workers or cpu_quota(), None, work.progress)
    tasks = all_tasks(inputs["corpus"] / "held_out.parquet", config.evaluate.held_out_bytes)
    scores: dict[str, dict[str, Any]] = {}
    seconds: dict[str, float] = {}
    for name in config.evaluate.tasks:
        started = time.monotonic()
        if name in REFERENCE_TASKS:
            scores[name] = _reference_bits(name, config, work, phi, inputs)
        else:
            task = tasks[HELD_OUT.get(name, name)]
            if isinstance(task, CodeTask):
                task = replace(task, protocol=replace(task.protocol, max_new_tokens=config.evaluate.max_new_tokens))
            scores[name] = _score(name, task, model, tools, work)
        seconds[name] = round(time.monotonic() - started, 2)
    text = json.dumps(scores, indent=2) + "\n"
    (work.directory / SCORES).write_text(text, encoding="utf-8")
    return Result(facts={"scores": scores, "backend": backend.name}, timing={"seconds": seconds, "device": device})


def _score(name: str, task: Task, model: PhiModel, tools: Tools, work: Workspace) -> dict[str, Any]:
    try:
        items = task.items(None)
        with work.progress.bar(name, len(items), "items") as bar:
            answers = answer_items(model, items, bar)
        scored, summary = score_answers(task, items, answers, tools)
    except testsets.UnavailableError as error:
        return unavailable(task.metric, str(error))
    if isinstance(task, CodeTask):
        _write_programs(name, items, answers, scored, work)
    else:
        with open(work.directory / f"items-{name}.jsonl", "w", encoding="utf-8") as file:
            for answer, one in zip(answers, scored, strict=True):
                row = answer | {"outcome": one.outcome, "score": one.score, "detail": one.detail}
                file.write(json.dumps(row) + "\n")
    return summary


def _write_programs(
    name: str, items: Sequence[Item], answers: Sequence[Answer], scored: Sequence[Scored], work: Workspace
) -> None:
    completions, outcomes = [], []
    for item, answer, one in zip(items, answers, scored, strict=True):
        assert isinstance(item.ask, Write)
        if "completion" not in one.detail:  # the model gave none
            outcomes.append(Outcome(item.id, 0, one.outcome, one.detail["reason"], ""))
            continue
        completions.append(Completion(item.id, 0, item.ask.prompt, answer["output"], one.detail["completion"]))
        outcomes.append(Outcome(item.id, 0, one.outcome, one.detail["verdict"], one.detail["judged"]))
    write_rows(work.directory / f"completions-{name}.parquet", Completion, completions)
    write_rows(work.directory / f"outcomes-{name}.parquet", Outcome, outcomes)


def _reference_bits(name: str, config: EvaluateStep, work: Workspace, phi: Phi, inputs: Inputs) -> dict[str, Any]:
    try:
        passages = list(reference_passages(testsets.load(REFERENCE_TASKS[name])))
    except testsets.UnavailableError as error:
        return unavailable("bits_per_byte", str(error))
    with work.progress.bar(name, None, "tokens") as bar:
        likelihoods = log_likelihoods(phi, load_tokenizer(inputs["model"]), passages, bar.advance)
    return score_passages(passages, likelihoods, config.seed)
