"""From the manifests and tables of one run to a `RunRecord`.

A run is described by its `run.json`: the recipe as resolved, the arm, the steps in the order of the pipeline with their
directories, and the models with their labels. A step without a manifest is not finished: what would
come from it is left out, and its name stands under `missing`.

Tables are read as streams, and samples are drawn by the smallest content id: ids are digests, so this is a random
sample that is the same in every report of the same run.
"""

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from hornbook.errors import UserError
from hornbook.records import Completion, Document, Dropped, Exercise, Outcome
from hornbook.report.record import (
    Answer,
    BrokenSection,
    DiversityRecord,
    DocumentSample,
    ExerciseSample,
    FilterRecord,
    LossPoint,
    ModelRecord,
    ProblemSample,
    RunDescription,
    RunRecord,
    Score,
    ScoreBin,
    StepRecord,
    TextbookRecord,
    TextbookSample,
)
from hornbook.run.manifest import MANIFEST, read_manifest
from hornbook.run.step import Counts
from hornbook.tables import read_columns, read_rows

SAMPLE_SCAN_ROWS = 200_000  # a sample is drawn from this many rows at most, so that a report of a large run is quick
KEPT_EXERCISES, DROPPED_EXERCISES, TEXTBOOKS, BROKEN_SECTIONS = 6, 6, 4, 4
PASSED_PROBLEMS, FAILED_PROBLEMS = 3, 3  # of each task


def read_run(work: Path, run_file: Path) -> RunDescription:
    """The description of a run whose steps stand in `work`.

    Raises UserError where it is missing or damaged.
    """
    described = _read_json(run_file)
    try:
        return RunDescription(
            name=described["name"],
            arm=described["arm"],
            recipe=described["recipe"],
            steps=tuple((str(step["name"]), work / str(step["directory"])) for step in described["steps"]),
            models={str(name): str(label) for name, label in described["models"].items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{run_file}: not a run description ({error!r}); run the recipe again") from error


def read_scores(run: RunDescription) -> dict[str, dict[str, dict[str, Any]]]:
    """Every score, as `{model: {task: {metric, value, n, low, high, failed}}}`; a model not evaluated has no tasks."""
    directories = dict(run.steps)
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    for model in run.models:
        directory = directories.get(f"eval.{model}")
        finished = directory is not None and (directory / MANIFEST).is_file()
        scores[model] = _read_json(directory / "scores.json") if directory is not None and finished else {}
    return scores


def collect(work: Path, run_file: Path) -> RunRecord:
    """Everything the report of a run says.

    Raises UserError where the run description or a file of a finished step is missing or damaged.
    """
    run = read_run(work, run_file)
    steps = tuple(_step_record(name, where) for name, where in run.steps if (where / MANIFEST).is_file())
    finished = {step.name: step for step in steps}
    return RunRecord(
        description=run,
        steps=steps,
        missing=tuple(name for name, _ in run.steps if name not in finished),
        models=tuple(_model_record(name, run, found, finished) for name, found in read_scores(run).items()),
        filters=tuple(_filter(name, finished.get(name)) for name, _ in run.steps if _family(name) == "filter"),
        exercises=_exercise_samples(finished, work),
        textbooks=tuple(_textbooks(name, finished, work) for name, _ in run.steps if _family(name) == "textbooks"),
        problems=_problem_samples(tuple(run.models), finished),
        diversity=tuple(_diversity(step) for step in steps if step.family == "diversity"),
        failures={step.name: _failures(step) for step in steps if "ledger" in step.timing},
    )


def _family(name: str) -> str:
    return name.split(".")[0]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the recipe first") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); run the recipe again") from error


def _step_record(name: str, directory: Path) -> StepRecord:
    manifest = read_manifest(directory)
    counts = manifest["counts"]
    return StepRecord(
        name=name,
        directory=directory,
        inputs=manifest["inputs"],
        counts=None if counts is None else Counts(**counts),
        facts=manifest["facts"],
        timing=manifest["timing"],
        machine=manifest["machine"],
        version=manifest["version"],
        started=manifest["started"],
        ended=manifest["ended"],
        seconds=manifest["seconds"],
        peak_memory_bytes=manifest["peak_memory_bytes"],
        size_bytes=sum(what["bytes"] for what in manifest["files"].values()),
    )


def _model_record(
    name: str, run: RunDescription, scores: Mapping[str, Mapping[str, Any]], steps: Mapping[str, StepRecord]
) -> ModelRecord:
    trained, evaluated = steps.get(f"train.{name}"), steps.get(f"eval.{name}")
    config = run.recipe["models"][name]
    facts = {} if trained is None else trained.facts
    verdicts: dict[str, Mapping[str, int]] = {}
    for path in sorted(evaluated.directory.glob("outcomes-*.parquet")) if evaluated is not None else ():
        kinds = Counter(str(kind) for (kind,) in read_columns(path, ["outcome"]))
        verdicts[path.stem.removeprefix("outcomes-")] = dict(sorted(kinds.items()))
    return ModelRecord(
        name=name,
        label=run.models[name],
        start=config["start"],
        mixture=config["mixture"],
        scores={task: _score(task, entry) for task, entry in scores.items()},
        losses=() if trained is None else tuple(_losses(trained.directory / "losses.jsonl")),
        parameters=facts.get("parameters"),
        epochs=facts.get("epochs", {}),
        held_out_loss=facts.get("held_out_loss", {}),
        selected_step=facts.get("selected_step"),
        verdicts=verdicts,
    )


def _score(task: str, entry: Mapping[str, Any]) -> Score:
    return Score(
        task=task,
        metric=entry["metric"],
        value=entry["value"],
        n=entry.get("n") or 0,  # what could not be measured has no more than a metric and a reason
        low=entry.get("low"),
        high=entry.get("high"),
        failed=entry.get("failed") or 0,
        reason=entry.get("reason") or "",
    )


def _losses(path: Path) -> Iterator[LossPoint]:
    for step, tokens, loss, rate in read_columns(path, ["step", "tokens", "loss", "learning_rate"]):
        if loss is not None:  # a float16 step that overflowed has none
            yield LossPoint(step, tokens, loss, rate)


def _filter(name: str, step: StepRecord | None) -> FilterRecord:
    """The scores, and the samples the step drew from each point of score, the highest first, kept before dropped."""
    if step is None:
        return FilterRecord(name, (), ())
    bins = tuple(ScoreBin(bin_["from"], bin_["to"], bin_["kept"], bin_["dropped"]) for bin_ in step.facts["scores"])
    samples = (
        DocumentSample(
            low=row["from"],
            high=row["to"],
            kept=row["side"] == "kept",
            score=row["score"],
            source=row["source"],
            text=row["text"],
            characters=row["characters"],
        )
        for row in _read_json(step.directory / "samples.json")
    )
    return FilterRecord(name, bins, tuple(samples))


def _smallest_ids(ids: Iterator[str], number: int) -> set[str]:
    return set(heapq.nsmallest(number, islice(ids, SAMPLE_SCAN_ROWS)))


def _exercise_samples(steps: Mapping[str, StepRecord], work: Path) -> tuple[ExerciseSample, ...]:
    """Exercises that passed, then some that did not: of each reason alike, as far as there are."""
    if "verify" not in steps:
        return ()
    verify = steps["verify"]
    kept_path = verify.directory / "exercises.parquet"
    chosen = _smallest_ids((row[0] for row in read_columns(kept_path, ["id"])), KEPT_EXERCISES)
    passed = [row for row in read_rows(kept_path, Exercise) if row.id in chosen]
    by_reason: dict[str, list[Dropped]] = {}
    for row in read_rows(verify.directory / "dropped.parquet", Dropped):
        of_reason = by_reason.setdefault(row.reason, [])
        if len(of_reason) < DROPPED_EXERCISES:
            of_reason.append(row)
    dropped = {row.id: row for row in _take_in_turn(by_reason, DROPPED_EXERCISES)}
    written = work / verify.inputs["exercises"] / "exercises.parquet"
    failed = [row for row in read_rows(written, Exercise) if row.id in dropped] if dropped else []
    return (
        *(ExerciseSample(row, "", "") for row in sorted(passed, key=lambda row: row.id)),
        *(ExerciseSample(row, dropped[row.id].reason, dropped[row.id].detail) for row in failed),
    )


def _take_in_turn(rows: Mapping[str, list[Dropped]], number: int) -> list[Dropped]:
    """Up to `number` rows: the first of each reason, then the second of each, and so on."""
    longest = max(map(len, rows.values()), default=0)
    turns = [
        of_reason[turn] for turn in range(longest) for _, of_reason in sorted(rows.items()) if turn < len(of_reason)
    ]
    return turns[:number]


def _textbooks(name: str, steps: Mapping[str, StepRecord], work: Path) -> TextbookRecord:
    written, examples = steps.get(name), steps.get(name.replace("textbooks", "examples", 1))
    return TextbookRecord(
        step=name,
        samples=() if written is None else _textbook_samples(written),
        broken=() if examples is None else _broken_sections(examples, work),
    )


def _textbook_samples(textbooks: StepRecord) -> tuple[TextbookSample, ...]:
    path = textbooks.directory / "documents.parquet"
    chosen = _smallest_ids((row[0] for row in read_columns(path, ["id"])), TEXTBOOKS)
    found = sorted((row for row in read_rows(path, Document) if row.id in chosen), key=lambda row: row.id)
    return tuple(TextbookSample(row.source, row.text) for row in found)


def _broken_sections(examples: StepRecord, work: Path) -> tuple[BrokenSection, ...]:
    """Sections whose code did not run, of each outcome alike: the dropped ones, or where none was, those marked."""
    by_outcome: dict[str, list[Dropped]] = {}
    for row in read_rows(examples.directory / "dropped.parquet", Dropped):
        of_outcome = by_outcome.setdefault(row.reason, [])
        if len(of_outcome) < BROKEN_SECTIONS:
            of_outcome.append(row)
    dropped = {row.id: row for row in _take_in_turn(by_outcome, BROKEN_SECTIONS)}
    if dropped:
        written = work / examples.inputs["documents"] / "documents.parquet"
        texts = {row.id: row.text for row in read_rows(written, Document) if row.id in dropped}
        return tuple(
            BrokenSection(row.reason.removeprefix("code "), row.detail, texts[row.id]) for row in dropped.values()
        )
    kept = islice(read_rows(examples.directory / "documents.parquet", Document), SAMPLE_SCAN_ROWS)
    codes = ((json.loads(row.meta).get("code"), row.text) for row in kept)
    broken = (BrokenSection(code, "", text) for code, text in codes if code in ("failed", "timeout"))
    return tuple(islice(broken, BROKEN_SECTIONS))


def _diversity(step: StepRecord) -> DiversityRecord:
    path = step.directory / "diversity.json"
    found = _read_json(path)
    try:
        return DiversityRecord(
            name=step.name.removeprefix("diversity."),
            of_set=found["set"],
            corpus=found["corpus"],
            curve=tuple(found["curve"]),
            coverage=found["coverage"],
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: not the measures of a set ({error!r}); run the recipe again") from error


def _failures(step: StepRecord) -> Mapping[str, int]:
    """How many requests of a step had no usable reply, by reason."""
    told = step.facts.get("failures")
    if told is None:
        path = step.directory / "failed.parquet"
        told = Counter(str(reason) for (reason,) in read_columns(path, ["reason"])) if path.exists() else {}
    return dict(sorted(told.items()))


def _problem_samples(models: tuple[str, ...], steps: Mapping[str, StepRecord]) -> tuple[ProblemSample, ...]:
    """For every task, problems that were solved and problems that were not, each with what every model wrote."""
    directories = {name: steps[f"eval.{name}"].directory for name in models if f"eval.{name}" in steps}
    tasks = dict.fromkeys(
        path.stem.removeprefix("outcomes-")
        for directory in directories.values()
        for path in sorted(directory.glob("outcomes-*.parquet"))
    )
    return tuple(sample for task in tasks for sample in _problems_of(task, directories))


def _problems_of(task: str, directories: Mapping[str, Path]) -> list[ProblemSample]:
    outcomes: dict[str, dict[str, Outcome]] = {}  # by task id and model: the first sample
    for model, directory in directories.items():
        path = directory / f"outcomes-{task}.parquet"
        for row in read_rows(path, Outcome) if path.exists() else ():
            if row.sample == 0:
                outcomes.setdefault(row.task_id, {})[model] = row
    chosen = _choose_problems(outcomes)
    written: dict[tuple[str, str], Completion] = {}
    for model, directory in directories.items():
        path = directory / f"completions-{task}.parquet"
        for completion in read_rows(path, Completion) if path.exists() else ():
            if completion.sample == 0 and completion.task_id in chosen:
                written[completion.task_id, model] = completion
    samples = []
    for task_id in chosen:
        answered = [(model, written[task_id, model]) for model in directories if (task_id, model) in written]
        answers = tuple(
            Answer(model, what.text, outcomes[task_id][model].outcome, outcomes[task_id][model].detail)
            for model, what in answered
        )
        if answers:
            samples.append(ProblemSample(task, task_id, answered[0][1].prompt, answers))
    return samples


def _choose_problems(outcomes: Mapping[str, Mapping[str, Outcome]]) -> list[str]:
    """Problems some model solved, then problems the last model did not, in an order that only the task id decides."""
    shuffled = sorted(outcomes, key=lambda task_id: hashlib.blake2b(task_id.encode("utf-8", "replace")).digest())
    last = {task_id: list(outcomes[task_id].values())[-1].outcome for task_id in shuffled}
    solved = [t for t in shuffled if any(row.outcome == "passed" for row in outcomes[t].values())]
    solved.sort(key=lambda task_id: last[task_id] != "passed")  # stable: those the last model solved come first
    chosen = solved[:PASSED_PROBLEMS]
    for kind in ("failed", "timeout", "error", "unscored"):
        limit = FAILED_PROBLEMS if kind == "failed" else 1
        chosen += [task_id for task_id in shuffled if last[task_id] == kind and task_id not in chosen][:limit]
    return chosen
