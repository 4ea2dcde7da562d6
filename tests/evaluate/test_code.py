"""The published example, the prompt trap, and errors that are no zeros."""

import gzip
import json
from pathlib import Path

import pytest

from hornbook.evaluate.code import (
    STOPS,
    complete_problems,
    cut_completion,
    grade_completions,
    score_outcomes,
    trim_prompt,
    unavailable,
)
from hornbook.evaluate.stats import pass_at_k
from hornbook.records import Completion, Outcome, OutcomeKind, Problem
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import Limits, generous_limits

# openai/human-eval, data/example_problem.jsonl and example_samples.jsonl
PROBLEM = Problem(
    "test/0",
    "def return1():\n",
    "return1",
    "    return 1",
    ("def check(candidate):\n    assert candidate() == 1", "check(return1)"),
    "humaneval",
)
SAMPLES = [
    "    import subprocess\n    subprocess.check_output('rm -rf tmp')",
    "    import time\n    time.sleep(10)\n    return 1",
    "    return input('enter a number')",
    "    return 1",
    "  return 1",
    "\treturn 1",
]


def test_the_published_example_scores_as_published() -> None:
    completions = [Completion("test/0", i, PROBLEM.prompt, text, text) for i, text in enumerate(SAMPLES)]
    limits = Limits(cpu_seconds=3.0, memory_mb=512, wall_seconds=3.0)  # the wall clock of that package
    graded = grade_completions([PROBLEM] * 6, completions, limits, 2, choose_backend())
    outcomes = [outcome.outcome for outcome in graded]
    assert outcomes == ["failed", "timeout", "failed", "passed", "passed", "passed"]
    assert pass_at_k(6, outcomes.count("passed"), 1) == 0.4999999999999999


def test_no_prompt_ends_in_white_space_and_the_program_is_whole() -> None:
    """A model that copies the reference from the trimmed prompt on must pass."""
    problem = Problem("d/0", 'def f(x):\n    """Twice."""\n', "f", "    return 2 * x\n", ("assert f(2) == 4",), "drill")

    def model(prompts: object) -> list[str]:
        assert prompts == ['def f(x):\n    """Twice."""']
        return ["\n    return 2 * x\n\n\ndef g(:"]

    completions = complete_problems([problem], model)
    assert completions == [
        Completion("d/0", 0, 'def f(x):\n    """Twice."""', "\n    return 2 * x\n\n\ndef g(:", "\n    return 2 * x\n\n")
    ]
    graded = grade_completions([problem], completions, generous_limits(1.0, 256), 1, choose_backend())
    assert [outcome.outcome for outcome in graded] == ["passed"]


@pytest.mark.parametrize("prompt", ["a\n", "a\n    ", "a \t\r\n", "a"])
def test_trimming_takes_all_white_space_at_the_end(prompt: str) -> None:
    assert trim_prompt(prompt) == "a"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("\n    return 1\n\ndef g():\n", "\n    return 1\n"),
        ("\n    return 1\nprint(f())\nclass A:", "\n    return 1"),
        ("\n    # why\n    if x:\n        import math\nif", "\n    # why\n    if x:\n        import math"),
        ("\n    return 1<|endoftext|>import os", "\n    return 1"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_completion_ends_where_the_function_does(raw: str, text: str) -> None:
    assert cut_completion(raw, STOPS) == text


def test_the_stops_cut_no_reference() -> None:
    path = Path(__file__).parents[3] / "shared" / "benchmarks" / "humaneval" / "HumanEval.jsonl.gz"
    if not path.is_file():
        pytest.skip("humaneval is not on this machine")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        references = [json.loads(line)["canonical_solution"] for line in lines]
    assert [r for r in references if cut_completion(r, STOPS) != r] == []


def test_errors_are_outside_n_and_counted() -> None:
    kinds: dict[OutcomeKind, int] = {"passed": 3, "failed": 4, "timeout": 1, "error": 2}
    score = score_outcomes(Outcome(f"{kind}/{i}", 0, kind, "") for kind, times in kinds.items() for i in range(times))
    assert (score["value"], score["n"], score["failed"], score["timeouts"]) == (3 / 8, 8, 2, 1)
    assert score["low"] < 3 / 8 < score["high"]


def test_nothing_but_errors_is_no_score() -> None:
    score = score_outcomes([Outcome("a", 0, "error", "")])
    assert score["value"] is None
    assert score["failed"] == 1
    assert unavailable("pass@1", "no network")["value"] is None
