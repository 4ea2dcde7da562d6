"""Programs a model wrote: where a completion ends, and how a problem's tests judge it in the sandbox."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from hornbook.records import Problem
from hornbook.sandbox.execute import run_programs
from hornbook.sandbox.isolation import Backend
from hornbook.sandbox.programs import Limits, Program, Verdict, generous_limits, needs_objects

# Where a completion ends: the field's list (Codex, section 2.1; the bigcode harness), that is, at the first line that
# belongs to the function no more. A class to complete has its own `class` line in the prompt.
STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\nassert", "\nimport", "\nfrom", "<|endoftext|>")

REFERENCE_FACTOR = 10.0  # how much slower than the reference a solution may be


def trim_prompt(prompt: str) -> str:
    """Without trailing white space, as the field does.

    In training the white space before a word is part of that word's token, so after a prompt that ends in a newline a
    model sees what it never saw, and stops at once.
    """
    return prompt.rstrip()


def cut_completion(raw: str, stops: Iterable[str]) -> str:
    """The completion up to the first stop string."""
    return raw[: min((at for stop in stops if (at := raw.find(stop)) >= 0), default=len(raw))]


def program_of(problem: Problem, source: str, cpu_seconds: float | None = None, id_: str = "") -> Program:
    """A whole program, to be judged by the tests of a problem."""
    return Program(
        id=id_ or problem.task_id,
        source=source,
        tests=problem.tests,
        context=problem.prompt,
        entry_point=problem.entry_point,
        objects=needs_objects(problem.prompt + problem.reference, problem.tests),
        trusted=True,
        cpu_seconds=cpu_seconds,
    )


def time_references(
    problems: Iterable[Problem], limits: Limits, workers: int, backend: Backend
) -> dict[str, float | Verdict]:
    """The CPU limit of each problem on this machine, in seconds; the verdict where its own reference fails here.

    A problem's limit is `REFERENCE_FACTOR` times what its reference needs, and no less than that of `limits`, which the
    references are held to themselves, `REFERENCE_FACTOR` times over.
    """
    generous = generous_limits(REFERENCE_FACTOR * limits.cpu_seconds, limits.memory_mb)
    programs = (program_of(problem, problem.prompt + problem.reference) for problem in problems)
    return {
        verdict.id: max(limits.cpu_seconds, REFERENCE_FACTOR * verdict.cpu_seconds)
        if verdict.outcome == "passed"
        else verdict
        for verdict in run_programs(programs, generous, workers, backend)
    }


def grade_programs(
    programs: Iterable[tuple[Problem, str]],
    allowed: Mapping[str, float | Verdict],
    limits: Limits,
    workers: int,
    backend: Backend,
) -> Iterator[Verdict]:
    """The verdict on each program, in order, within the CPU time `time_references` allows its problem.

    Where a problem's own reference fails on this machine nothing can be said of other programs: their verdict is
    `error`.
    """
    untestable: deque[str | None] = deque()  # of the programs under way, why each cannot be judged

    def judged() -> Iterator[Program]:
        for problem, source in programs:
            cpu_seconds = allowed[problem.task_id]
            if isinstance(cpu_seconds, Verdict):
                untestable.append(f"the reference {cpu_seconds.outcome} on this machine: {cpu_seconds.detail}")
                yield Program(problem.task_id, "", (), trusted=True)
            else:
                untestable.append(None)
                yield program_of(problem, source, cpu_seconds)

    for verdict in run_programs(judged(), limits, workers, backend):
        why = untestable.popleft()
        yield verdict if why is None else replace(verdict, outcome="error", detail=why)


def unavailable(metric: str, reason: str) -> dict[str, Any]:
    """A score that could not be measured: no value, and why."""
    return {"metric": metric, "value": None, "n": 0, "low": None, "high": None, "failed": 0, "reason": reason}
