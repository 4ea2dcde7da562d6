"""The published example, and where prompts and completions end."""

import gzip
import json
from pathlib import Path

import pytest

from hornbook.evaluate.code import STOPS, cut_completion, grade_programs, time_references, trim_prompt, unavailable
from hornbook.evaluate.stats import pass_at_k
from hornbook.records import Problem
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import Limits

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
    programs = [(PROBLEM, PROBLEM.prompt + text + "\n") for text in SAMPLES]
    limits = Limits(cpu_seconds=3.0, memory_mb=512, wall_seconds=3.0)  # the wall clock of that package
    backend = choose_backend()
    allowed = time_references([PROBLEM], limits, 2, backend)
    outcomes = [verdict.outcome for verdict in grade_programs(programs, allowed, limits, 2, backend)]
    assert outcomes == ["failed", "timeout", "failed", "passed", "passed", "passed"]
    assert pass_at_k(6, outcomes.count("passed"), 1) == 0.4999999999999999


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


def test_what_cannot_be_measured_has_no_value() -> None:
    assert unavailable("pass@1", "no network")["value"] is None
