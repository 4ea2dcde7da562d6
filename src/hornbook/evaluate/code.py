"""pass@1, greedy: complete each prompt, cut the completion, run it with the problem's tests in the sandbox."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from hornbook.evaluate.stats import wilson_interval
from hornbook.records import Completion, Outcome, Problem
from hornbook.sandbox.execute import run_programs
from hornbook.sandbox.isolation import Backend
from hornbook.sandbox.programs import Limits, Program

# Where a completion ends: the field's list (Codex, section 2.1; the bigcode harness), that is, at the first line that
# belongs to the function no more. A class to complete has its own `class` line in the prompt.
STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\nassert", "\nimport", "\nfrom", "<|endoftext|>")

Generate = Callable[[Sequence[str]], list[str]]  # prompts → completions


def trim_prompt(prompt: str) -> str:
    """Without trailing white space, as the field does.

    In training the white space before a word is part of that word's token, so after a prompt that ends in a newline a
    model sees what it never saw, and stops at once.
    """
    return prompt.rstrip()


def cut_completion(raw: str, stops: Iterable[str]) -> str:
    """The completion up to the first stop string."""
    return raw[: min((at for stop in stops if (at := raw.find(stop)) >= 0), default=len(raw))]


def complete_problems(problems: Sequence[Problem], generate: Generate) -> list[Completion]:
    """One completion per problem, in order."""
    prompts = [trim_prompt(problem.prompt) for problem in problems]
    return [
        Completion(problem.task_id, 0, prompt, raw, cut_completion(raw, STOPS))
        for problem, prompt, raw in zip(problems, prompts, generate(prompts), strict=True)
    ]


def grade_completions(
    problems: Sequence[Problem], completions: Sequence[Completion], limits: Limits, workers: int, backend: Backend
) -> Iterator[Outcome]:
    """What became of each completion when it ran with its problem's tests."""
    programs = (
        Program(problem.task_id, completion.prompt + completion.text + "\n", problem.tests)
        for problem, completion in zip(problems, completions, strict=True)
    )
    for verdict in run_programs(programs, limits, workers, backend):
        yield Outcome(verdict.id, 0, verdict.outcome, verdict.detail)


def score_outcomes(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """pass@1 of one sample per problem with its Wilson interval. Errors are ours: outside n, and counted."""
    kinds = Counter(outcome.outcome for outcome in outcomes)
    failed = kinds.pop("error", 0)
    n, passed = kinds.total(), kinds["passed"]
    if n == 0:
        return unavailable("pass@1", "every program ended in an error of the sandbox") | {"failed": failed}
    low, high = wilson_interval(passed, n)
    timeouts = kinds["timeout"]
    return {
        "metric": "pass@1",
        "value": passed / n,
        "n": n,
        "low": low,
        "high": high,
        "failed": failed,
        "passed": passed,
        "timeouts": timeouts,
    }


def unavailable(metric: str, reason: str) -> dict[str, Any]:
    """A score that could not be measured: no value, and why."""
    return {"metric": metric, "value": None, "n": 0, "low": None, "high": None, "failed": 0, "reason": reason}
