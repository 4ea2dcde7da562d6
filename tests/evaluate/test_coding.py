"""Code tasks from items to scores: references pass, cheaters do not, an error is no zero, grades are grades.

No problem of HumanEval, MBPP (500), its sanitized part (427) or the drill is unsound: all references pass their own
tests, and all pass under every protocol but that of MBPP/342 under two. CI runs a part of that.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import pointbiserialr, spearmanr
from sklearn.metrics import cohen_kappa_score

from hornbook import testsets
from hornbook.evaluate.coding import CODE_TASKS, CodeTask, Unconventional, grade_summary, protocol_table
from hornbook.evaluate.protocols import PROTOCOLS, find_protocol
from hornbook.evaluate.stats import wilson_interval
from hornbook.evaluate.task import Item, Scored, Task, Tools, Write, spread
from hornbook.records import Problem
from hornbook.run.progress import Silent
from hornbook.sandbox.execute import Server, ServerLostError
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import Program, generous_limits
from hornbook.teacher.grading import Graded, GradeRequest
from hornbook.teacher.parsing import TeacherError
from hornbook.teacher.request import Answer, Failure, Request, Teacher, request_id

TOOLS = Tools(choose_backend(), generous_limits(3.0, 1024), 2, None, Silent())
SLOW = "MBPP/123"  # its reference takes 5 s, and passes; no other of MBPP takes 0.1 s
EVERY = 24  # of a set, one problem in so many, where not all are run


def problems_of(testset: str) -> dict[str, Problem]:
    if testset not in testsets.NAMES or testsets.find(testset) is None:
        pytest.skip(f"{testset} is not on this machine")
    return {problem.task_id: problem for problem in testsets.load(testset)}


def write_reference(item: Item, problem: Problem, place: int) -> str:
    """What a model writes that knows the reference, and does not know where to stop: one of the stop strings in turn,
    and what no parser takes."""
    assert isinstance(item.ask, Write)
    begins = "" if item.ask.prompt.endswith("\n") else "\n"
    return begins + problem.reference + item.ask.stops[place % len(item.ask.stops)] + " other(:"


def scored_references(task: Task, items: Sequence[Item], workers: int) -> dict[str, Scored]:
    problems = problems_of(task.name.partition(":")[0])
    outputs = [write_reference(item, problems[item.id], place) for place, item in enumerate(items)]
    scored = task.score(items, outputs, replace(TOOLS, workers=workers))
    return dict(zip([item.id for item in items], scored, strict=True))


def test_a_model_that_writes_the_references_passes() -> None:
    problems_of("humaneval")
    task = CODE_TASKS["humaneval:bigcode"]
    items = task.items(None)
    scored = scored_references(task, items, 2)
    summary = task.summarize(list(scored.values()), items, [])
    assert (summary["value"], summary["n"], summary["failed"], summary["timeouts"]) == (1.0, 164, 0, 0)
    assert (summary["protocol"], summary["isolation"]) == ("bigcode", choose_backend().name)


@pytest.mark.parametrize("part", range(len(PROTOCOLS["mbpp"])))
def test_so_do_all_of_mbpp_each_under_one_protocol(part: int) -> None:
    problems_of("mbpp")
    protocols = list(PROTOCOLS["mbpp"])
    name = "mbpp" if part == 0 else f"mbpp:{protocols[part]}"
    items = [item for item in CODE_TASKS[name].items(None)[part :: len(protocols)] if item.id != SLOW]
    scored = scored_references(CODE_TASKS[name], items, 2)
    unsolved = {id_: row.outcome for id_, row in scored.items() if row.outcome != "passed"}
    assert (len(scored), unsolved) == (124 if part == 0 else 125, {})


@pytest.mark.parametrize("name", [name for name in CODE_TASKS if name != "humaneval:bigcode" and "mbpp:" not in name])
def test_and_some_of_every_other_protocol_and_set(name: str) -> None:
    problems_of(name.partition(":")[0])
    scored = scored_references(CODE_TASKS[name], CODE_TASKS[name].items(None)[::EVERY], 1)
    assert [row.detail["verdict"] for row in scored.values() if row.outcome != "passed"] == []


@pytest.mark.parametrize("name", ["mbpp", "mbpp:bigcode"])
def test_one_reference_is_cut_short_by_the_stops(name: str) -> None:
    """It defines a class after an import, where an answer ends."""
    problems_of("mbpp")
    items = [item for item in CODE_TASKS[name].items(None) if item.id in ("MBPP/341", "MBPP/342")]
    scored = scored_references(CODE_TASKS[name], items, 1)
    assert {id_: row.outcome for id_, row in scored.items()} == {"MBPP/341": "passed", "MBPP/342": "failed"}


CHEATS = [
    "import os\nos._exit(0)",
    "raise SystemExit(0)",
    "print('passed')\nprint('OK')",
    "class Same:\n    __eq__ = __ge__ = __le__ = lambda *_: True\n    __bool__ = lambda _: True\nreturn Same()",
    "pass",
]
INSTEAD = ["import os\nos._exit(0)\n", "raise SystemExit(0)\n", "print('passed')\n", "\0", ""]  # of any function


@pytest.mark.parametrize("name", ["humaneval", "mbpp:lm-eval"])
def test_no_cheat_scores(name: str) -> None:
    problems = problems_of(name.partition(":")[0])
    asked, outputs = list[Item](), list[str]()
    for item in CODE_TASKS[name].items(3):
        for cheat in CHEATS:
            body = "".join(f"\n    {line}" for line in cheat.splitlines())
            whole = f"def {problems[item.id].entry_point}(*_):{body}\n[DONE]"
            outputs.append(body if name == "humaneval" else whole)
        outputs += INSTEAD
        asked += [item] * (len(CHEATS) + len(INSTEAD))
    scored = list(CODE_TASKS[name].score(asked, outputs, TOOLS))
    assert [(row.outcome, row.score) for row in scored] == [("failed", 0.0)] * 30


def test_outcomes_have_their_detail_and_errors_are_no_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = list(testsets.load("drill")[:4])
    problems[2] = replace(problems[2], reference="    raise SystemError('this machine')\n")
    monkeypatch.setattr(testsets, "load", lambda name: tuple(problems))
    task = CODE_TASKS["drill"]
    items = task.items(None)
    outputs = [f"\n{problems[0].reference}\nprint(1)", "\n    while True: pass", "\n    return 1", "\n    return ["]
    scored = list(task.score(items, outputs, replace(TOOLS, limits=generous_limits(1.0, 512))))
    assert [(row.outcome, row.score) for row in scored] == [
        ("passed", 1.0), ("timeout", 0.0), ("error", None), ("failed", 0.0)]  # fmt: skip
    assert [row.detail["completion"] for row in scored] == [f"\n{problems[0].reference}", *outputs[1:]]
    assert scored[1].detail["verdict"] == "CPU time over 1 s"
    assert scored[2].detail["verdict"] == "the reference failed on this machine: test 1: SystemError: this machine"
    assert "SyntaxError" in scored[3].detail["verdict"]
    summary = task.summarize(scored, items, outputs)
    assert (summary["value"], summary["n"], summary["failed"], summary["timeouts"]) == (1 / 3, 3, 1, 1)


def test_a_sandbox_that_dies_is_an_error_and_none_at_all_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = Server.reply

    def lost(server: Server, program: Program) -> Any:
        if "the end" in program.source:
            raise ServerLostError("the sandbox died")
        return reply(server, program)

    monkeypatch.setattr(Server, "reply", lost)
    task = CODE_TASKS["drill"]
    items = task.items(3)
    scored = list(task.score(items, ["\n    return 1", "\n    return 'the end'", "\n    return 1"], TOOLS))
    assert [(row.outcome, row.score) for row in scored] == [("failed", 0.0), ("error", None), ("failed", 0.0)]
    assert scored[1].detail["verdict"] == "the sandbox died, twice"
    summary = task.summarize(scored, items, [])
    assert (summary["value"], summary["n"], summary["failed"]) == (0.0, 2, 1)
    nothing = task.summarize(scored[1:2], items[1:2], [])
    assert (nothing["value"], nothing["n"], nothing["failed"], nothing["timeouts"]) == (None, 0, 1, 0)
    with pytest.raises(testsets.UnavailableError, match="drill: programs cannot be run on this machine"):
        task.score(items, [""] * 3, replace(TOOLS, backend=None))  # at once, not when the first score is taken
    assert list(task.score([], [], TOOLS)) == []


def test_names_families_and_limits() -> None:
    assert list(CODE_TASKS) == [
        "humaneval", "humaneval:openai", "humaneval:bigcode", "humaneval:evalplus", "humaneval:lm-eval",
        "mbpp", "mbpp:bigcode", "mbpp:evalplus", "mbpp:lm-eval",
        "mbpp-sanitized", "mbpp-sanitized:bigcode", "mbpp-sanitized:evalplus", "mbpp-sanitized:lm-eval",
        "drill", "unconventional",
    ]  # fmt: skip
    assert {name: task.family for name, task in CODE_TASKS.items() if task.family != "code"} == {
        "unconventional": "unconventional problems"
    }
    task = CodeTask("drill", find_protocol("drill", "paper"))
    assert task.items(3) == [item for _, item in spread(task.items(None), 3)]
    assert task.items(0) == []
    assert task.data() == testsets.checksum(testsets.load("drill"))


class Grader:
    """Grades by the rule it is given; None: it has nothing of use to say."""

    name = "a stub"

    def __init__(self, rule: Any) -> None:
        self.rule, self.rehearsed, self.asked = rule, 0, list[GradeRequest]()

    def rehearse(self, requests: Iterable[Request[Any]], total: int) -> None:
        self.rehearsed = total

    def answers(self, requests: Iterable[Request[Any]]) -> Iterator[Answer[Any]]:
        for request in requests:
            assert isinstance(request, GradeRequest)
            self.asked.append(request)
            grade, failure = self.rule(request), Failure("unparsed", "no JSON", "Well")
            value = None if grade is None else Graded(grade, f"worth {grade:g}")
            yield Answer(request_id(request), value, failure if grade is None else None)

    def note(self) -> str:
        return "$0"

    def ledger(self) -> Mapping[str, Any]:
        return {}


PROBLEMS = testsets.load("drill")[:11]
RIGHT = {0, 1, 2, 5, 6}  # of the eleven, those the student solves


@pytest.fixture
def unconventional(monkeypatch: pytest.MonkeyPatch) -> Unconventional:
    monkeypatch.setattr(testsets, "load", lambda name: PROBLEMS)
    return Unconventional()


def answer(place: int) -> str:
    return f"\n{PROBLEMS[place].reference}\n# on" if place in RIGHT else "\n    return None"


def scores(task: Task, teacher: Teacher | None) -> tuple[list[Scored], dict[str, Any]]:
    items = task.items(None)
    outputs = [answer(place) for place in range(len(items))]
    scored = list(task.score(items, outputs, replace(TOOLS, teacher=teacher)))
    return scored, task.summarize(scored, items, outputs)


def test_without_a_teacher_there_are_tests_and_no_understanding(unconventional: Unconventional) -> None:
    _, summary = scores(unconventional, None)
    assert (summary["value"], summary["n"], summary["metric"]) == (5 / 11, 11, "pass@1")
    understanding = summary["understanding"]
    assert understanding["value"] is None
    assert understanding["reason"] == "nobody to grade: name a teacher with --teacher"


def test_a_teacher_grades_every_answer_and_a_fifth_twice(unconventional: Unconventional) -> None:
    def rule(request: GradeRequest) -> float | None:
        place = next(i for i, problem in enumerate(PROBLEMS) if problem.prompt == request.problem)
        if place in (3, 10):
            return None
        return (9.0 if place in RIGHT else 2.0) - 3.0 * request.number

    grader = Grader(rule)
    scored, summary = scores(unconventional, grader)
    assert grader.rehearsed == 14
    assert [(request.problem, request.number) for request in grader.asked] == [
        (PROBLEMS[place].prompt, number) for place in range(11) for number in range(2 if place in (0, 5, 10) else 1)
    ]
    assert [request.answer for request in grader.asked if request.number] == [
        PROBLEMS[0].reference.rstrip("\n"), PROBLEMS[5].reference.rstrip("\n"), "    return None"]  # fmt: skip
    assert [row.score for row in scored] == [float(place in RIGHT) for place in range(11)]
    first = scored[0].detail
    assert (first["grade"], first["assessment"], first["second_grade"], first["teacher"]) == (
        9.0, "worth 9", 6.0, "a stub")  # fmt: skip
    assert (scored[3].detail["grade"], scored[3].detail["grade_failure"]) == (None, "unparsed: no JSON")
    assert "second_grade" not in scored[3].detail
    assert summary["value"] == 5 / 11
    low, high = wilson_interval((5 * 9 + 4 * 2) / 10, 9)
    assert summary["understanding"] == {
        "metric": "understanding", "teacher": "a stub",
        "value": pytest.approx(53 / 90), "n": 9, "low": low, "high": high, "failed": 2,
    }  # fmt: skip
    assert summary["double_graded"] == {
        "n": 2, "failed": 1, "mean_absolute_difference": 3.0, "same": 0.0, "rank_correlation": None}  # fmt: skip
    assert summary["agreement"] == {
        "n": 9, "threshold": 7.0, "same": 1.0, "kappa": 1.0, "point_biserial": pytest.approx(1.0)}  # fmt: skip


def test_a_teacher_that_says_nothing_of_use_gives_no_zeros(unconventional: Unconventional) -> None:
    _, summary = scores(unconventional, Grader(lambda request: None))
    understanding = summary["understanding"]
    assert (understanding["value"], understanding["n"], understanding["failed"]) == (None, 0, 11)
    assert summary["double_graded"]["failed"] == 3
    assert summary["agreement"] == {"n": 0, "threshold": 7.0, "same": None, "kappa": None, "point_biserial": None}
    assert summary["value"] == 5 / 11


def test_a_teacher_that_gives_up_is_not_silenced(unconventional: Unconventional) -> None:
    def rule(request: GradeRequest) -> float:
        raise TeacherError("no reply", "the endpoint is gone")

    with pytest.raises(TeacherError, match="the endpoint is gone"):
        scores(unconventional, Grader(rule))


@pytest.mark.parametrize("seed", range(5))
def test_agreement_is_that_of_other_implementations(seed: int) -> None:
    draw = np.random.default_rng(seed)
    passed = draw.integers(0, 2, 50).astype(float)
    grades = np.clip(np.round(passed * 4 + draw.normal(4, 2, 50)), 0, 10)
    second = np.clip(grades + draw.integers(-1, 2, 50), 0, 10)
    rows = [
        (float(p), {"grade": float(g), "second_grade": float(s), "teacher": "t"})
        for p, g, s in zip(passed, grades, second, strict=True)
    ]
    summary = grade_summary([*rows, (None, {"grade": 3.0, "teacher": "t"}), (0.0, {"grade": None, "teacher": "t"})])
    found = summary["agreement"]
    assert found["n"] == 50
    assert found["kappa"] == pytest.approx(cohen_kappa_score(passed == 1, grades >= 7))
    assert found["point_biserial"] == pytest.approx(pointbiserialr(passed, grades).statistic)
    double = summary["double_graded"]
    assert double["rank_correlation"] == pytest.approx(spearmanr(grades, second).statistic)
    assert double["mean_absolute_difference"] == pytest.approx(np.mean(np.abs(grades - second)))
    understanding = summary["understanding"]  # the sandbox's error took nothing from the grade
    assert (understanding["n"], understanding["failed"]) == (51, 1)
    assert understanding["value"] == pytest.approx((grades.sum() + 3) / 510)


def test_protocols_stand_beside_paper() -> None:
    def summary(value: float | None) -> dict[str, Any]:
        return {"metric": "pass@1", "value": value, "n": 164, "low": 0.0, "high": 1.0, "failed": 0}

    table = protocol_table(
        {"humaneval": summary(0.5), "humaneval:openai": summary(0.375), "mbpp:bigcode": summary(0.5)}
    )
    assert [(row["testset"], row["protocol"], row["difference"]) for row in table] == [
        ("humaneval", "paper", 0.0), ("humaneval", "openai", -0.125), ("mbpp", "bigcode", None)]  # fmt: skip
