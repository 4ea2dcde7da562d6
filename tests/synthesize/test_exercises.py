"""The exercises step: as many distinct exercises as asked, whatever the number of workers."""

import pytest

from hornbook.errors import UserError
from hornbook.recipe import ExercisesConfig, ExercisesStep, MachineConfig
from hornbook.records import Dropped, Exercise, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.synthesize.exercises import write_chunk, write_exercises
from hornbook.synthesize.topics import TOPICS, exercise_request
from hornbook.synthesize.writing import Chunk, Written, write_distinct
from hornbook.tables import TableWriter, read_rows
from hornbook.teacher.load import load_teacher
from hornbook.teacher.request import request_id


def run(directory, count, workers=1, teacher="builtin", seed=3):
    config = ExercisesStep(exercises=ExercisesConfig(teacher=teacher, count=count), seed=seed)
    return write_exercises(config, {}, Workspace(directory, MachineConfig(workers=workers), Silent()))


def test_writes_what_was_asked(tmp_path):
    result = run(tmp_path, 400)
    rows = list(read_rows(tmp_path / "exercises.parquet", Exercise))
    assert len(rows) == 400
    assert len({row.id for row in rows}) == len({row.prompt for row in rows}) == 400
    assert result.counts.balanced()
    assert result.counts.kept == 400
    assert len(list(read_rows(tmp_path / "dropped.parquet", Dropped))) == result.counts.dropped["duplicate"]
    assert result.facts["teacher"] == "builtin (offline rules, not an LLM)"
    assert result.facts["distinct"] == result.facts["requested"] == 400
    assert sum(result.facts["topics"].values()) == 400
    for number, row in enumerate(rows[:50]):
        assert row.id == content_id(row.prompt + row.solution)
        assert row.request == request_id(exercise_request(3, number))
        assert load_teacher("builtin").write_exercise(exercise_request(3, number)).solution == row.solution


def test_output_does_not_depend_on_the_workers(tmp_path):
    for workers in (1, 2):
        (tmp_path / str(workers)).mkdir()
        run(tmp_path / str(workers), 300, workers)
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


def test_unknown_teacher(tmp_path):
    with pytest.raises(UserError, match="oracle"):
        run(tmp_path, 10, teacher="oracle")


def test_any_range_of_the_stream_can_be_written_alone():
    whole = write_chunk(Chunk("builtin", 9, 0, 30))
    assert write_chunk(Chunk("builtin", 9, 10, 20)) == whole[10:20]


def stutter(chunk):
    """A teacher that fails at every fifth request and repeats itself every seven."""
    return [
        Written(None, content_id(f"request {number}"), "t", failure="no answer")
        if number % 5 == 0
        else Written(Dropped(content_id(f"{number % 7}"), "", "", ""), content_id(f"{number % 7}"), "t")
        for number in range(chunk.start, chunk.stop)
    ]


class Nowhere:
    def advance(self, amount=1, note=""):
        pass


def write_stutter(directory, count):
    with (
        TableWriter(directory / "kept.parquet", Dropped) as kept,
        TableWriter(directory / "dropped.parquet", Dropped) as dropped,
        TableWriter(directory / "failed.parquet", Dropped) as failed,
    ):
        return write_distinct(stutter, "stutter", 0, count, 1, (kept, dropped, failed), "exercises", Nowhere())


def test_repeats_are_dropped_and_failures_are_counted(tmp_path):
    # Requests 1 2 3 4 (new) 5 (failed) 6 (new) 7 (new: 0): six texts; 8 repeats 1, and so on.
    tally = write_stutter(tmp_path, 6)
    assert (tally.asked, tally.kept, tally.duplicates, tally.failed) == (8, 6, 0, 2)
    assert [row.detail for row in read_rows(tmp_path / "failed.parquet", Dropped)] == ["no answer", "no answer"]


def test_a_teacher_that_repeats_itself_is_stopped(tmp_path):
    with pytest.raises(UserError, match="wrote 7 distinct texts of 8"):
        write_stutter(tmp_path, 8)


def test_topics_come_in_proportion():
    asked = [exercise_request(1, number).topic for number in range(4000)]
    assert set(asked) == set(TOPICS)
    assert asked.count("lists of integers") > 4 * asked.count("the lengths of words")
