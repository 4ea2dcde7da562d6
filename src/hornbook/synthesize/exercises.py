"""CodeExercises: functions to complete from their docstrings, with solution and tests (phi-1, section 2.2)."""

from functools import partial

from hornbook.records import Exercise, content_id
from hornbook.run.step import Inputs, Result, Workspace
from hornbook.step_config import ExercisesStep
from hornbook.synthesize.sampling import exercise_requests, exercises_in_reach, read_topics
from hornbook.synthesize.soundness import docstring_claims, flaw_of
from hornbook.synthesize.writing import Commission, Written, write_distinct
from hornbook.teacher.load import sent_prompts
from hornbook.teacher.request import Answer, Request, WrittenExercise

STEP = "exercises"


def write_exercises(config: ExercisesStep, inputs: Inputs, work: Workspace) -> Result:
    """Have the teacher write `count` exercises that differ in id and in prompt.

    Writes exercises.parquet (Exercise), dropped.parquet (reasons `duplicate`, `trivial`, `contradiction`) and
    failed.parquet (Failed). Topics are those of `inputs["topics"]`, where there is such an input; else the teacher's
    own. The teacher's solutions are not trusted here: the step `verify` runs them.
    """
    asked = config.exercises
    topics = read_topics(inputs.get("topics"))
    commission = Commission(
        step=STEP,
        table="exercises.parquet",
        row_type=Exercise,
        unit="exercises",
        teacher=asked.teacher,
        count=asked.count,
        failure_limit=asked.failure_limit,
        request=partial(exercise_requests(asked.teacher, topics), config.seed),
        written=judge,
    )
    facts = {"prompts": sent_prompts(asked.teacher, "exercise"), "in_reach": exercises_in_reach(asked.teacher, topics)}
    return write_distinct(commission, work, facts)


def judge(request: Request[WrittenExercise], answer: Answer[WrittenExercise]) -> Written[Exercise]:
    """The row of an exercise, and what is wrong with it, if it can be read."""
    made = answer.value
    assert made is not None  # answers without a value never come here
    tests = tuple(dict.fromkeys((*made.tests, *docstring_claims(made.prompt, made.name))))
    row = Exercise(
        content_id(made.prompt + made.solution),
        made.topic,
        made.name,
        made.prompt,
        made.solution,
        tests,
        answer.request,
    )
    reason, detail = flaw_of(made.prompt, made.solution, tests)
    return Written(row, row.id, made.topic, (content_id(row.prompt),), reason, detail)
