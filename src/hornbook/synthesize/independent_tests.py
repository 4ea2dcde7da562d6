"""Further tests for every exercise, written from its signature and docstring alone: a teacher's tests can be wrong too,
and independent ones seldom err alike. The step `verify` lets the sets vote."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hornbook.errors import UserError
from hornbook.records import Exercise, Failed, TestSet
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.step_config import IndependentTestsStep
from hornbook.tables import TableWriter, count_rows, read_rows
from hornbook.teacher.limit import check_failures
from hornbook.teacher.load import load_teacher, sent_prompts
from hornbook.teacher.request import TestsRequest

STEP = "independent_tests"


def write_independent_tests(config: IndependentTestsStep, inputs: Inputs, work: Workspace) -> Result:
    """Have the teacher write `test_sets - 1` sets for each exercise of `inputs["exercises"]`.

    Writes test_sets.parquet (TestSet, in the order of the exercises) and failed.parquet (Failed; id: the exercise).
    """
    path = inputs["exercises"] / "exercises.parquet"
    others = config.exercises.test_sets - 1
    total, failures = others * count_rows(path), Counter[str]()
    with load_teacher(config.exercises.teacher, work, STEP) as teacher:
        teacher.rehearse((request for _, request in _requests(path, others)), total)
        with (
            TableWriter(work.directory / "test_sets.parquet", TestSet) as kept,
            TableWriter(work.directory / "failed.parquet", Failed, whole_after=UserError) as failed,
            work.progress.bar(STEP, total, "sets of tests") as bar,
        ):
            # The table is read twice, so that no exercise waits in memory for its tests.
            answers = teacher.answers(request for _, request in _requests(path, others))
            for (identity, request), answer in zip(_requests(path, others), answers, strict=True):
                if answer.value is not None:
                    kept.write(TestSet(identity, request.number, answer.value, answer.request))
                elif answer.failure is not None:
                    what = answer.failure
                    failed.write(Failed(identity, STEP, what.reason, what.detail, what.raw, answer.request))
                    failures[what.reason] += 1
                    check_failures(failures, config.exercises.failure_limit, total, "sets of tests")
                bar.advance(1, teacher.note())
        ledger = teacher.ledger()
    facts = {
        "teacher": teacher.name,
        "prompts": sent_prompts(config.exercises.teacher, "tests"),
        "sets_per_exercise": others,
        "failures": dict(sorted(failures.items())),
    }
    return Result(Counts(total, kept.rows, failed=failures.total()), facts, {"ledger": ledger} if ledger else {})


def _requests(path: Path, others: int) -> Iterator[tuple[str, TestsRequest]]:
    for exercise in read_rows(path, Exercise):
        for number in range(1, others + 1):
            yield exercise.id, TestsRequest(exercise.name, exercise.prompt, number)
