"""CodeExercises: functions to complete from their docstrings, with solution and tests (phi-1, section 2.2)."""

from hornbook.recipe import ExercisesStep
from hornbook.records import Dropped, Exercise, content_id
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.run.workers import cpu_quota
from hornbook.synthesize.topics import exercise_request, exercises_in_reach
from hornbook.synthesize.writing import Chunk, Written, write_distinct
from hornbook.tables import TableWriter
from hornbook.teacher.load import load_teacher
from hornbook.teacher.request import TeacherError, request_id

STEP = "exercises"


def write_exercises(config: ExercisesStep, inputs: Inputs, work: Workspace) -> Result:
    """Have the teacher write `count` exercises that differ in id and in prompt.

    Writes exercises.parquet (Exercise), dropped.parquet (reason `duplicate`) and failed.parquet (requests the teacher
    could not answer). The teacher's solutions are not trusted here: the step `verify` runs them.
    """
    asked = config.exercises
    with (
        TableWriter(work.directory / "exercises.parquet", Exercise) as kept,
        TableWriter(work.directory / "dropped.parquet", Dropped) as dropped,
        TableWriter(work.directory / "failed.parquet", Dropped) as failed,
        work.progress.bar(STEP, asked.count, "exercises") as bar,
    ):
        workers = work.machine.workers or cpu_quota()
        tables = (kept, dropped, failed)
        tally = write_distinct(write_chunk, asked.teacher, config.seed, asked.count, workers, tables, STEP, bar)
    facts = {
        "teacher": load_teacher(asked.teacher).name,
        "requested": asked.count,
        "asked": tally.asked,
        "distinct": tally.kept,
        "in_reach": exercises_in_reach(),
        "topics": dict(sorted(tally.topics.items())),
    }
    return Result(Counts(tally.asked, tally.kept, {"duplicate": tally.duplicates}, tally.failed), facts)


def write_chunk(chunk: Chunk) -> list[Written[Exercise]]:
    """The exercises of a range of requests, in order."""
    teacher = load_teacher(chunk.teacher)
    written = []
    for number in range(chunk.start, chunk.stop):
        request = exercise_request(chunk.seed, number)
        asked = request_id(request)
        try:
            answer = teacher.write_exercise(request)
        except TeacherError as error:
            written.append(Written[Exercise](None, asked, request.topic, failure=str(error)))
            continue
        row = Exercise(
            content_id(answer.prompt + answer.solution),
            answer.topic, answer.name, answer.prompt, answer.solution, answer.tests, asked,
        )  # fmt: skip
        written.append(Written(row, row.id, request.topic, (content_id(row.prompt),)))
    return written
