"""Grade a file of samples against a code test set: every sample's outcome, and pass@k."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hornbook import testsets
from hornbook.errors import UserError
from hornbook.evaluate.code import grade_programs, time_references
from hornbook.evaluate.samples import Sample, read_samples
from hornbook.evaluate.stats import pass_at_k, wilson_interval
from hornbook.records import GradedSample, Problem
from hornbook.run.progress import Progress
from hornbook.sandbox.isolation import Backend
from hornbook.sandbox.programs import Limits
from hornbook.tables import TableWriter

KEPT_EXAMPLES = 5  # of what is wrong with a file, named in one line


@dataclass(slots=True)
class Survey:
    """What a samples file holds, before anything of it is run."""

    samples: Counter[str] = field(default_factory=Counter)  # of each task
    faults: list[str] = field(default_factory=list)  # the first few
    faulty: int = 0
    repeated: int = 0  # word for word one of the same task before

    @property
    def total(self) -> int:
        """Lines that will be run."""
        return self.samples.total()


def survey_samples(path: Path, problems: dict[str, Problem], testset: str, partial: bool) -> Survey:
    """Read the whole file once. Raises UserError where it holds no sample, or none of some task and not `partial`."""
    survey = Survey()
    seen: set[int] = set()
    for sample in read_samples(path, problems):
        if sample.fault:
            survey.faulty += 1
            if len(survey.faults) < KEPT_EXAMPLES:
                survey.faults.append(f"line {sample.line}: {sample.fault}")
            continue
        survey.samples[sample.task_id] += 1
        key = hash((sample.task_id, sample.source))  # 8 bytes a line, however long the completion
        survey.repeated += key in seen
        seen.add(key)
    if not survey.total:
        wrong = f" ({'; '.join(survey.faults)})" if survey.faults else ""
        raise UserError(
            f"{path}: holds no sample of {testset}{wrong}; each line is a JSON object with `task_id`, such as "
            f"{next(iter(problems))!r}, and `completion` or `solution`"
        )
    missing = [task_id for task_id in problems if task_id not in survey.samples]
    if missing and not partial:
        some = ", ".join(missing[:KEPT_EXAMPLES]) + (", …" if len(missing) > KEPT_EXAMPLES else "")
        wrong = f" (and {survey.faulty} lines are no samples: {'; '.join(survey.faults)})" if survey.faulty else ""
        raise UserError(
            f"{path}: no sample of {len(missing)} of the {len(problems)} tasks of {testset} ({some}){wrong}; add them, "
            "or grade what is there with --partial"
        )
    return survey


def grade_samples(
    path: Path,
    testset: str,
    out: Path,
    ks: Sequence[int],
    partial: bool,
    limits: Limits,
    workers: int,
    backend: Backend,
    progress: Progress,
) -> dict[str, Any]:
    """Run every sample of a file in the sandbox, write its outcome to `out` (JSONL, or Parquet), and summarise.

    One row for each line of the file that is not blank, in order; a line that is no sample is `unscored`. `out` appears
    when it is whole. Raises UserError for a file or test set that cannot be used.
    """
    try:
        problems = {problem.task_id: problem for problem in testsets.load(testset)}
    except testsets.UnavailableError as error:
        raise UserError(str(error)) from error
    survey = survey_samples(path, problems, testset, partial)
    wanted = [problem for problem in problems.values() if problem.task_id in survey.samples]
    outcomes: Counter[str] = Counter(dict.fromkeys(("passed", "failed", "timeout", "error", "unscored"), 0))
    passed: Counter[str] = Counter()
    scored: Counter[str] = Counter()
    with progress.bar("references", len(wanted), "programs") as bar:
        allowed = time_references(wanted, limits, workers, backend)
        bar.advance(len(wanted))
    runnable = ((problems[s.task_id], s.source) for s in read_samples(path, problems) if not s.fault)
    verdicts = grade_programs(runnable, allowed, limits, workers, backend)
    with TableWriter(out, GradedSample) as rows, progress.bar("grade", survey.total, "samples") as bar:
        for sample in _told_apart(read_samples(path, problems)):
            if sample.fault:
                rows.write(_unscored(sample, backend))
                outcomes["unscored"] += 1
                continue
            verdict = next(verdicts)
            outcomes[verdict.outcome] += 1
            if verdict.outcome != "error":
                scored[sample.task_id] += 1
                passed[sample.task_id] += verdict.outcome == "passed"
            rows.write(
                GradedSample(
                    sample.line,
                    sample.task_id,
                    sample.number,
                    verdict.outcome,
                    verdict.detail,
                    verdict.cpu_seconds,
                    verdict.memory_mb,
                    verdict.protocol,
                    backend.name,
                )
            )
            bar.advance(1)
    return {
        "testset": testset,
        "tasks": len(scored),
        "tasks_of_testset": len(problems),
        "samples": survey.total,
        "outcomes": dict(outcomes),
        "timeout_rate": outcomes["timeout"] / survey.total,
        "repeated": survey.repeated,
        "faults": survey.faults,
        "isolation": backend.name,
        "scores": {f"pass@{k}": score_at_k(passed, scored, k) for k in ks},
    }


def _told_apart(samples: Iterator[Sample]) -> Iterator[Sample]:
    """The samples without their programs, which the sandbox's own reading of the file holds."""
    for s in samples:
        yield Sample(s.line, s.task_id, s.number, "", s.fault)


def _unscored(sample: Sample, backend: Backend) -> GradedSample:
    return GradedSample(sample.line, "", 0, "unscored", sample.fault, 0.0, 0.0, "", backend.name)


def score_at_k(passed: Counter[str], scored: Counter[str], k: int) -> dict[str, Any]:
    """pass@k over the tasks, with a 95% interval over tasks; without a value where a task has fewer than k samples."""
    short = sorted(task_id for task_id, n in scored.items() if n < k)
    if short or not scored:
        reason = f"needs {k} samples a task; {short[0]} has {scored[short[0]]}" if short else "nothing was scored"
        return {"value": None, "n": 0, "low": None, "high": None, "reason": reason}
    shares = [pass_at_k(n, passed[task_id], k) for task_id, n in scored.items()]
    low, high = wilson_interval(sum(shares), len(shares))
    return {"value": sum(shares) / len(shares), "n": len(shares), "low": low, "high": high}
