"""Code problems as tasks: HumanEval, MBPP, our drill, and phi-1's fifty unconventional problems.

pass@1 of one greedy completion for each problem, judged in the sandbox by the problem's own tests. `humaneval` is asked
under the protocol `paper`, `humaneval:bigcode` under another (see protocols.py).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hornbook import testsets
from hornbook.curate.agreement import rank_correlation
from hornbook.evaluate.code import cut_completion, grade_programs, time_references
from hornbook.evaluate.protocols import PROTOCOLS, Protocol, find_protocol
from hornbook.evaluate.stats import wilson_interval
from hornbook.evaluate.task import Family, Item, Output, Scored, Task, Tools, Write, proportion, spread
from hornbook.records import Problem
from hornbook.run.progress import Progress
from hornbook.sandbox.isolation import Backend
from hornbook.sandbox.programs import Verdict
from hornbook.teacher.grading import HIGHEST_GRADE, Graded, GradeRequest
from hornbook.teacher.request import Answer, Teacher

DEFAULT = "paper"  # the protocol that a task's name leaves out
UNCONVENTIONAL = "unconventional"
DOUBLE_EVERY = 5  # of the unconventional problems, one in so many is graded twice
UNDERSTOOD = 7.0  # the grade from which an answer is taken as right, beside the tests' verdict
NOBODY = "nobody to grade: name a teacher with --teacher"


@dataclass(frozen=True, slots=True)
class CodeTask:
    """A set of code problems under one protocol."""

    testset: str
    protocol: Protocol
    family: Family = "code"
    version: int = 1
    metric: str = "pass@1"

    @property
    def name(self) -> str:
        """The set's; with the protocol's behind it where that is another than `paper`."""
        return self.testset if self.protocol.name == DEFAULT else f"{self.testset}:{self.protocol.name}"

    def problems(self) -> list[Problem]:
        """All that are asked, in the authors' order. Raises UnavailableError."""
        return [problem for problem in testsets.load(self.testset) if problem.task_id not in self.protocol.solved]

    def items(self, limit: int | None) -> Sequence[Item]:
        """One for each problem."""
        asked = self.protocol
        return [
            Item(problem.task_id, Write(asked.prompt(problem), asked.stops, asked.max_new_tokens))
            for _, problem in spread(self.problems(), limit)
        ]

    def data(self) -> str:
        """The checksum of the test set."""
        return testsets.checksum(testsets.load(self.testset))

    def score(self, items: Sequence[Item], outputs: Sequence[Output], tools: Tools) -> Iterator[Scored]:
        """1 where all tests pass. A sandbox that fails, or a reference that fails on this machine, is an error.

        Detail holds the completion as cut, what the sandbox says, how it judged and what shut the program in. Raises
        UnavailableError where programs cannot be run.
        """
        backend = needed_backend(self.name, tools)
        problems = {problem.task_id: problem for problem in self.problems()}
        completions = [cut_completion(_text(output), self.protocol.stops) for output in outputs]
        programs = [
            (problems[item.id], self.protocol.program(_asked(item).prompt, completion))
            for item, completion in zip(items, completions, strict=True)
        ]
        return self._judge(programs, completions, backend, tools)

    def _judge(
        self, programs: Sequence[tuple[Problem, str]], completions: Sequence[str], backend: Backend, tools: Tools
    ) -> Iterator[Scored]:
        with tools.progress.bar(f"{self.name}: references", len(programs), "programs") as bar:
            allowed = time_references([problem for problem, _ in programs], tools.limits, tools.workers, backend)
            bar.advance(len(programs))
        verdicts = grade_programs(programs, allowed, tools.limits, tools.workers, backend)
        yield from score_verdicts(self.name, completions, verdicts, backend, tools.progress)

    def summarize(self, scored: Sequence[Scored], items: Sequence[Item], outputs: Sequence[Output]) -> dict[str, Any]:
        """pass@1, and under which protocol and in which isolation it was found."""
        return summarize_programs(self.metric, scored) | {"protocol": self.protocol.name}


def needed_backend(task: str, tools: Tools) -> Backend:
    """Where programs run. Raises UnavailableError where they cannot."""
    if tools.backend is None:
        raise testsets.UnavailableError(
            f"{task}: programs cannot be run on this machine; `hornbook doctor` says what is missing"
        )
    return tools.backend


def score_verdicts(
    task: str, completions: Sequence[str], verdicts: Iterable[Verdict], backend: Backend, progress: Progress
) -> Iterator[Scored]:
    """What programs are worth, with the completion as cut, what the sandbox says, how it judged and what shut it in."""
    with progress.bar(f"{task}: programs", len(completions), "programs") as bar:
        for completion, verdict in zip(completions, verdicts, strict=True):
            detail = {
                "completion": completion,
                "verdict": verdict.detail,
                "judged": verdict.protocol,
                "isolation": backend.name,
            }
            score = None if verdict.outcome == "error" else float(verdict.outcome == "passed")
            bar.advance(1)
            yield Scored(verdict.outcome, score, detail)


def summarize_programs(metric: str, scored: Sequence[Scored]) -> dict[str, Any]:
    """The share that passed, how many ran out of time, and what shut them in."""
    isolation = next((row.detail["isolation"] for row in scored if "isolation" in row.detail), None)
    timeouts = sum(row.outcome == "timeout" for row in scored)
    return proportion(metric, scored) | {"timeouts": timeouts, "isolation": isolation}


class Unconventional:
    """Problems that no training set is likely to hold (phi-1, section 4), judged by tests and graded by a teacher.

    The paper has GPT-4's grade and no tests. Here the score is the tests'; the grade, out of 10, stands beside it where
    a teacher is named, and how far the two agree. One problem in five is graded twice, as a measure of the teacher.
    """

    name = UNCONVENTIONAL
    family: Family = "unconventional problems"
    version = 1
    metric = "pass@1"

    def __init__(self) -> None:
        self._code = CodeTask(UNCONVENTIONAL, find_protocol(UNCONVENTIONAL, DEFAULT))

    def items(self, limit: int | None) -> Sequence[Item]:
        """One for each problem."""
        return self._code.items(limit)

    def data(self) -> str:
        """The checksum of the test set."""
        return self._code.data()

    def score(self, items: Sequence[Item], outputs: Sequence[Output], tools: Tools) -> Iterator[Scored]:
        """The tests' score; with a teacher, detail has `grade` (null where it gave none of use, and why), `assessment`,
        and of every fifth problem `second_grade` also. Raises UserError where the teacher's budget is reached.
        """
        judged = self._code.score(items, outputs, tools)
        return judged if tools.teacher is None else self._grade(items, list(judged), tools.teacher, tools.progress)

    def _grade(
        self, items: Sequence[Item], judged: Sequence[Scored], teacher: Teacher, progress: Progress
    ) -> Iterator[Scored]:
        problems = self._code.problems()
        places = {problem.task_id: place for place, problem in enumerate(problems)}
        times = [2 if places[item.id] % DOUBLE_EVERY == 0 else 1 for item in items]
        requests = [
            GradeRequest(problems[places[item.id]].prompt, row.detail["completion"].strip("\r\n"), number)
            for item, row, often in zip(items, judged, times, strict=True)
            for number in range(often)
        ]
        teacher.rehearse(requests, len(requests))
        answers = teacher.answers(requests)
        with progress.bar(f"{self.name}: grades by {teacher.name}", len(requests), "grades") as bar:
            for row, often in zip(judged, times, strict=True):
                detail = row.detail | {"teacher": teacher.name}
                for name in ("grade", "second_grade")[:often]:
                    detail |= _grade_detail(name, next(answers))
                    bar.advance(1, teacher.note())
                yield replace(row, detail=detail)

    def summarize(self, scored: Sequence[Scored], items: Sequence[Item], outputs: Sequence[Output]) -> dict[str, Any]:
        """pass@1 of the tests; `understanding`, the mean grade as a share of 10; what double grades say of the teacher
        (`double_graded`), and what tests and grades say of each other (`agreement`)."""
        return self._code.summarize(scored, items, outputs) | grade_summary([(row.score, row.detail) for row in scored])


def grade_summary(rows: Sequence[tuple[float | None, Mapping[str, Any]]]) -> dict[str, Any]:
    """What grades say, from the tests' score of each answer and its detail. A failed grade is in no mean."""
    graded = [(score, detail) for score, detail in rows if "grade" in detail]
    if not graded:
        nothing = {"metric": "understanding", "value": None, "n": 0, "low": None, "high": None, "failed": 0}
        return {"understanding": nothing | {"reason": NOBODY if rows else "there is no item"}}
    return {
        "understanding": _understanding([detail for _, detail in graded]),
        "double_graded": _double_graded([detail for _, detail in graded]),
        "agreement": _agreement([(s, d["grade"]) for s, d in graded if s is not None and d["grade"] is not None]),
    }


def _understanding(details: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of the first grades as a share of the highest, with the interval of a proportion: wider than it need be,
    since grades vary less than zeros and tens of the same mean."""
    grades = [detail["grade"] for detail in details if detail["grade"] is not None]
    found = {"metric": "understanding", "teacher": details[0]["teacher"]}
    failed = {"failed": len(details) - len(grades)}
    if not grades:
        nothing = {"value": None, "n": 0, "low": None, "high": None, "reason": "no grade was of use"}
        return found | nothing | failed
    total = sum(grades) / HIGHEST_GRADE
    low, high = wilson_interval(total, len(grades))
    return found | {"value": total / len(grades), "n": len(grades), "low": low, "high": high} | failed


def _double_graded(details: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How far two grades of the same answer lie apart; `failed` counts answers of which one or both are missing."""
    asked = [(d["grade"], d["second_grade"]) for d in details if "second_grade" in d]
    pairs = np.array([pair for pair in asked if None not in pair], float).reshape(-1, 2)
    first, second = pairs[:, 0], pairs[:, 1]
    return {
        "n": len(pairs),
        "failed": len(asked) - len(pairs),
        "mean_absolute_difference": float(np.abs(first - second).mean()) if len(pairs) else None,
        "same": float((first == second).mean()) if len(pairs) else None,
        "rank_correlation": rank_correlation(first, second),
    }


def _agreement(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """How far the tests' verdict and the grade agree: by the share of answers on which "passed" and "graded 7 or more"
    are both so or both not, by Cohen's kappa of the two, and by the point-biserial correlation of verdict and grade.
    What is undefined, since one side never varies, is null."""
    table = np.array(pairs, float).reshape(-1, 2)
    passed, understood = table[:, 0] == 1, table[:, 1] >= UNDERSTOOD
    n = len(table)
    same = float((passed == understood).mean()) if n else None
    kappa = correlation = None
    if same is not None:
        p, u = float(passed.mean()), float(understood.mean())
        by_chance = p * u + (1 - p) * (1 - u)
        kappa = (same - by_chance) / (1 - by_chance) if by_chance < 1 else None
        varies = 0 < p < 1 and float(np.ptp(table[:, 1])) > 0
        correlation = float(np.corrcoef(passed.astype(float), table[:, 1])[0, 1]) if varies else None
    return {"n": n, "threshold": UNDERSTOOD, "same": same, "kappa": kappa, "point_biserial": correlation}


def _grade_detail(name: str, answer: Answer[Graded]) -> dict[str, Any]:
    """A grade as a row keeps it: the first with its assessment, any that failed with the reason."""
    if answer.value is None:
        failure = answer.failure
        return {name: None, f"{name}_failure": f"{failure.reason}: {failure.detail}" if failure else "no reply"}
    return {name: answer.value.score} | ({"assessment": answer.value.assessment} if name == "grade" else {})


def _asked(item: Item) -> Write:
    assert isinstance(item.ask, Write)
    return item.ask


def _text(output: Output) -> str:
    assert isinstance(output, str)
    return output


CODE_TASKS: dict[str, Task] = {
    task.name: task
    for testset, protocols in PROTOCOLS.items()
    for protocol in protocols.values()
    for task in ([Unconventional()] if testset == UNCONVENTIONAL else [CodeTask(testset, protocol)])
}


def protocol_table(summaries: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each protocol makes of the same model, from the summaries of code tasks by task name: a row for each, with
    the difference from `paper` on the same set, null where either has no value."""
    rows: list[dict[str, Any]] = []
    for name, summary in summaries.items():
        testset, _, protocol = name.partition(":")
        value, paper = summary["value"], summaries.get(testset, {}).get("value")
        difference = None if value is None or paper is None else value - paper
        about = {key: summary[key] for key in ("value", "n", "low", "high")}
        rows.append({"testset": testset, "protocol": protocol or DEFAULT} | about | {"difference": difference})
    return rows
