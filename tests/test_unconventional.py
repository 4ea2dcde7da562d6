"""The fifty unconventional problems: whether they can be solved, whether their tests bite, whether they are new."""

import ast
import json
import textwrap
from importlib.resources import files
from pathlib import Path

import pytest

from hornbook import testsets
from hornbook.curate.overlap import NgramIndex
from hornbook.evaluate.code import program_of
from hornbook.records import Problem
from hornbook.sandbox.execute import run_programs
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import Program, Verdict, generous_limits


def read_problems() -> list[Problem]:
    lines = (files("hornbook") / "data" / "unconventional.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [Problem(**{**row, "tests": tuple(row["tests"])}) for row in rows]


def read_wrong() -> list[dict[str, str]]:
    """Near misses, by hand: `old` is text of the reference that stands there once, `new` what replaces it."""
    lines = Path(__file__).with_name("wrong_unconventional.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


PROBLEMS = read_problems()
CHECKSUM = "76c078ee9a733f102356c043ddf1592b14781d07f28f3d00e92bbe0420dba7cc"


def judge(programs: list[Program]) -> list[Verdict]:
    return list(run_programs(programs, generous_limits(1.0, 256), 2, choose_backend()))


def test_the_set_is_frozen_and_well_formed() -> None:
    assert testsets.checksum(PROBLEMS) == CHECKSUM
    assert [p.task_id for p in PROBLEMS] == [f"unconventional/{number}" for number in range(1, 51)]
    assert len({p.entry_point for p in PROBLEMS}) == 50
    for p in PROBLEMS:
        assert p.protocol == "unconventional"
        assert p.prompt.endswith('"""\n'), p.task_id
        assert max(map(len, (p.prompt + p.reference).splitlines())) <= 120, p.task_id
        assert 5 <= len(p.tests) == len(set(p.tests)) <= 8, p.task_id
        assert all(isinstance(ast.parse(test).body[0], ast.Assert) for test in p.tests), p.task_id
        defined = ast.parse(p.prompt + p.reference).body[-1]
        assert isinstance(defined, ast.FunctionDef | ast.ClassDef)
        assert defined.name == p.entry_point
        assert ast.get_docstring(defined)


def test_no_prompt_shows_a_test() -> None:
    for p in PROBLEMS:
        calls = [node for test in p.tests for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Call)]
        assert not [ast.unparse(call) for call in calls if ast.unparse(call) in p.prompt], p.task_id


def test_every_reference_passes_in_the_sandbox_at_once() -> None:
    verdicts = judge([program_of(p, p.prompt + p.reference) for p in PROBLEMS])
    assert [v for v in verdicts if v.outcome != "passed"] == []


@pytest.mark.parametrize("body", ["pass", "return None", "return 0", 'return ""', "return []"])
def test_nothing_passes_for_nothing(body: str) -> None:
    kept = [p for p in PROBLEMS if body == "pass" or "class " not in p.prompt]
    verdicts = judge([program_of(p, p.prompt + textwrap.indent(body, "    ") + "\n") for p in kept])
    assert [v.id for v in verdicts if v.outcome != "failed"] == []


def test_every_near_miss_fails() -> None:
    problems = {p.task_id: p for p in PROBLEMS}
    wrong = read_wrong()
    assert {row["task_id"] for row in wrong} == set(problems)
    programs = []
    for number, row in enumerate(wrong):
        problem = problems[row["task_id"]]
        assert problem.reference.count(row["old"]) == 1, row
        source = problem.prompt + problem.reference.replace(row["old"], row["new"])
        compile(source, row["task_id"], "exec")
        programs.append(program_of(problem, source, id_=str(number)))
    verdicts = judge(programs)
    assert [wrong[int(v.id)] for v in verdicts if v.outcome not in ("failed", "timeout")] == []


@pytest.mark.parametrize("name", ["humaneval", "mbpp", "mbpp-sanitized", "drill"])
def test_nothing_is_taken_from_another_set(name: str) -> None:
    if testsets.find(name) is None:
        pytest.skip(f"{name} is not on this machine")
    others = testsets.load(name)
    assert not {p.entry_point for p in others} & {p.entry_point for p in PROBLEMS}
    index = NgramIndex(((p.task_id, text) for p in others for text in (p.prompt, p.reference, *p.tests)), n=13)
    shared = {p.task_id: index.overlaps("\n".join((p.prompt, p.reference, *p.tests))) for p in PROBLEMS}
    assert {task_id: overlaps for task_id, overlaps in shared.items() if overlaps} == {}
