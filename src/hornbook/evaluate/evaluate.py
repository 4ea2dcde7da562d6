"""Everything one trained model is measured on, into one file of scores."""

import json
import time
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer

from hornbook import testsets
from hornbook.evaluate.bits import Passage, held_out_passages, log_likelihoods, reference_passages, score_passages
from hornbook.evaluate.code import STOPS, complete_problems, grade_completions, score_outcomes, unavailable
from hornbook.model.generate import Sampling, TextGenerator
from hornbook.model.transformer import Phi, load_model
from hornbook.model.vocabulary import load_tokenizer
from hornbook.recipe import Task
from hornbook.records import Completion, Outcome
from hornbook.run.step import Inputs, Result, Workspace
from hornbook.run.workers import cpu_quota
from hornbook.sandbox.isolation import Backend
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import generous_limits
from hornbook.step_config import EvaluateStep
from hornbook.tables import write_rows

SCORES = "scores.json"
BATCH_PROMPTS = 64  # of one generation: enough to fill the machine, few enough that the keys and values stay small
CODE_TASKS: dict[Task, str] = {"drill": "drill", "humaneval": "humaneval"}  # → test set
REFERENCE_TASKS: dict[Task, str] = {"bits_humaneval": "humaneval", "bits_mbpp": "mbpp"}  # → test set


def evaluate_model(config: EvaluateStep, inputs: Inputs, work: Workspace) -> Result:
    """Measure `inputs["model"]` on every task of the recipe, held-out text from `inputs["corpus"]`.

    Writes scores.json, `{task: {metric, value, n, low, high, failed}}`, where a test set that is not to be had gives
    value null and a reason; and of every code task completions-<task>.parquet and outcomes-<task>.parquet. Raises
    UserError where no isolation works.
    """
    device = "cuda" if work.machine.device in ("auto", "cuda") and torch.cuda.is_available() else "cpu"
    model = load_model(inputs["model"]).to(device)
    tokenizer = load_tokenizer(inputs["model"])
    backend = choose_backend(unsafe=work.machine.unsafe_execution)
    scores: dict[str, dict[str, Any]] = {}
    seconds: dict[str, float] = {}
    for task in config.evaluate.tasks:
        started = time.monotonic()
        if task in CODE_TASKS:
            scores[task] = _code_score(task, config, work, model, tokenizer, backend)
        else:
            scores[task] = _bits_score(task, config, inputs, work, model, tokenizer)
        seconds[task] = round(time.monotonic() - started, 2)
    text = json.dumps(scores, indent=2) + "\n"
    (work.directory / SCORES).write_text(text, encoding="utf-8")
    return Result(facts={"scores": scores, "backend": backend.name}, timing={"seconds": seconds, "device": device})


def _code_score(
    task: Task, config: EvaluateStep, work: Workspace, model: Phi, tokenizer: Tokenizer, backend: Backend
) -> dict[str, Any]:
    try:
        problems = testsets.load(CODE_TASKS[task])
    except testsets.UnavailableError as error:
        return unavailable("pass@1", str(error))
    evaluate = config.evaluate
    limits = generous_limits(evaluate.cpu_seconds, evaluate.memory_mb)
    workers = work.machine.workers or cpu_quota()
    generator, sampling = TextGenerator(model, tokenizer), Sampling(evaluate.max_new_tokens)
    with work.progress.bar(task, len(problems), "problems") as bar:

        def generate(prompts: Sequence[str]) -> list[str]:
            raws: list[str] = []
            for start in range(0, len(prompts), BATCH_PROMPTS):
                batch = prompts[start : start + BATCH_PROMPTS]
                raws += [done.text for done in generator.generate(batch, STOPS, sampling)]
                bar.advance(len(batch))
            return raws

        completions = complete_problems(problems, generate)
        outcomes = list(grade_completions(problems, completions, limits, workers, backend))
    write_rows(work.directory / f"completions-{task}.parquet", Completion, completions)
    write_rows(work.directory / f"outcomes-{task}.parquet", Outcome, outcomes)
    return score_outcomes(outcomes)


def _bits_score(
    task: Task, config: EvaluateStep, inputs: Inputs, work: Workspace, model: Phi, tokenizer: Tokenizer
) -> dict[str, Any]:
    passages: list[Passage]
    if task in REFERENCE_TASKS:
        try:
            passages = list(reference_passages(testsets.load(REFERENCE_TASKS[task])))
        except testsets.UnavailableError as error:
            return unavailable("bits_per_byte", str(error))
    else:
        passages = held_out_passages(inputs["corpus"] / "held_out.parquet", config.evaluate.held_out_bytes)
        if not passages:
            return unavailable("bits_per_byte", "the corpus step held no text out")
    with work.progress.bar(task, None, "tokens") as bar:
        likelihoods = log_likelihoods(model, tokenizer, passages, bar.advance)
    return score_passages(passages, likelihoods, config.seed)
