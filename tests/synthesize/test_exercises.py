"""The exercises step: as many distinct exercises as asked, whatever the number of workers."""

import pytest

from hornbook.errors import UserError
from hornbook.recipe import ExercisesConfig, LanguageModel, MachineConfig
from hornbook.records import Dropped, Exercise, Failed, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.step_config import ExercisesStep
from hornbook.synthesize.exercises import write_exercises
from hornbook.synthesize.sampling import BUILTIN_TOPICS, exercise_requests
from hornbook.synthesize.writing import Commission, Written, write_distinct
from hornbook.tables import read_rows
from hornbook.teacher.builtin.teacher import BuiltinTeacher, answer
from hornbook.teacher.request import Answer, ExerciseRequest, Failure, request_id

REQUEST = exercise_requests("builtin", ())
MODEL = LanguageModel(model="openai:m", temperature=None, top_p=None, max_tokens=10)


def place(directory, workers=1):
    return Workspace(directory, MachineConfig(workers=workers), Silent(), directory, "test")


def run(directory, count, workers=1, seed=3):
    asked = ExercisesConfig(teacher="builtin", count=count, test_sets=1, failure_limit=0.0)
    return write_exercises(ExercisesStep(exercises=asked, seed=seed), {}, place(directory, workers))


def test_writes_what_was_asked(tmp_path):
    result = run(tmp_path, 400)
    rows = list(read_rows(tmp_path / "exercises.parquet", Exercise))
    assert len(rows) == 400
    assert len({row.id for row in rows}) == len({row.prompt for row in rows}) == 400
    assert result.counts.balanced()
    assert result.counts.kept == 400
    assert len(list(read_rows(tmp_path / "dropped.parquet", Dropped))) == sum(result.counts.dropped.values())
    assert result.facts["teacher"] == "builtin (offline rules, not an LLM)"
    assert result.facts["distinct"] == result.facts["requested"] == 400
    assert sum(result.facts["topics"].values()) == 400
    by_request = {row.request: row for row in rows}
    for number in range(50):
        request = REQUEST(3, number)
        if request_id(request) in by_request:
            row = by_request[request_id(request)]
            assert row.id == content_id(row.prompt + row.solution)
            assert answer(request).value.solution == row.solution


def test_output_does_not_depend_on_the_workers(tmp_path):
    for workers in (1, 2):
        (tmp_path / str(workers)).mkdir()
        run(tmp_path / str(workers), 700, workers)  # more than one process answers alone
    for name in ("exercises.parquet", "dropped.parquet", "failed.parquet"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_seeds_differ(tmp_path):
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        run(tmp_path / str(seed), 100, seed=seed)
    one, two = (
        {row.prompt for row in read_rows(tmp_path / str(seed) / "exercises.parquet", Exercise)} for seed in (1, 2)
    )
    assert len(one & two) < 5


class Stutter(BuiltinTeacher):
    """Fails at every fifth request and repeats itself every seven."""

    asked = 0

    def answers(self, requests):
        for request in requests:
            self.asked += 1
            number = request.seed
            if number % 5 == 0:
                yield Answer(content_id(f"request {number}"), None, Failure("unparsed", "no answer", "hm"))
            else:
                yield Answer(content_id(f"request {number}"), str(number % 7))


def write_stutter(directory, count, monkeypatch, failure_limit=1.0):
    teacher = Stutter(1)
    monkeypatch.setattr("hornbook.synthesize.writing.load_teacher", lambda config, work, step: teacher)
    commission = Commission(
        step="exercises",
        table="kept.parquet",
        row_type=Dropped,
        unit="texts",
        teacher="builtin",
        count=count,
        failure_limit=failure_limit,
        request=lambda number: ExerciseRequest("t", number),
        written=lambda request, got: Written(Dropped(content_id(got.value), "", "", ""), content_id(got.value), "t"),
    )
    return teacher, write_distinct(commission, place(directory), {})


def test_repeats_are_dropped_failures_are_rows_and_nothing_is_asked_in_vain(tmp_path, monkeypatch):
    # Requests 0 (failed) 1 2 3 4 (new) 5 (failed) 6 (new) 7 (new: 0): six texts.
    teacher, result = write_stutter(tmp_path, 6, monkeypatch)
    assert (result.counts.read, result.counts.kept, dict(result.counts.dropped), result.counts.failed) == (8, 6, {}, 2)
    assert teacher.asked == 8
    assert [(row.reason, row.detail, row.raw) for row in read_rows(tmp_path / "failed.parquet", Failed)] == [
        ("unparsed", "no answer", "hm")
    ] * 2


def test_a_teacher_that_repeats_itself_is_stopped(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="wrote 7 wanted texts of 8"):
        write_stutter(tmp_path, 8, monkeypatch)


def test_too_many_failures_stop_the_step(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"of 201 requests failed \(unparsed 41\), more than the limit of 10.0%"):
        write_stutter(tmp_path, 10_000, monkeypatch, failure_limit=0.1)


def test_topics_come_in_proportion():
    asked = [REQUEST(1, number).topic for number in range(4000)]
    assert set(asked) == set(BUILTIN_TOPICS)
    assert asked.count("lists of integers") > 4 * asked.count("the lengths of words")


def test_requests_to_a_model_hardly_ever_repeat():
    """Of a million, all were distinct (13 s)."""
    request_of = exercise_requests(MODEL, ())
    count = 100_000
    seen = {(r.topic, r.name, r.difficulty, r.words) for r in (request_of(1, number) for number in range(count))}
    assert len(seen) >= count - 50
