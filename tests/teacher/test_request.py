"""Requests render to the texts a teacher would be sent, and answers come from known teachers only."""

import pytest

from hornbook.errors import UserError
from hornbook.teacher.load import load_teacher
from hornbook.teacher.request import ExerciseRequest, RateRequest, TeacherError, TextbookRequest, request_id

TOPIC = "lists of integers"
REQUESTS = (
    RateRequest("print('$money {braces}')", "some package"),
    TextbookRequest(TOPIC, "a retired engineer", "two examples", 7),
    ExerciseRequest(TOPIC, 7, name="add_up", difficulty="hard"),
)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: type(r).__name__)
def test_every_field_stands_in_the_prompt(request_):
    prompt = request_.render()
    for field in type(request_).__dataclass_fields__:
        assert str(getattr(request_, field)) in prompt


def test_ids_tell_requests_apart():
    ids = {request_id(ExerciseRequest(TOPIC, seed)) for seed in range(50)}
    assert len(ids) == 50
    assert request_id(ExerciseRequest(TOPIC, 1)) == request_id(ExerciseRequest(TOPIC, 1))


def test_unknown_teacher_is_refused_with_the_known_names():
    with pytest.raises(UserError, match=r"`gpt-9` is not known; .* builtin"):
        load_teacher("gpt-9")


def test_builtin_says_what_it_is():
    assert load_teacher("builtin").name == "builtin (offline rules, not an LLM)"


def test_builtin_uses_the_name_it_is_given():
    written = load_teacher("builtin").write_exercise(ExerciseRequest(TOPIC, 3, name="frobnicate"))
    assert written.name == "frobnicate"
    assert "def frobnicate(" in written.prompt
    assert all("frobnicate(" in test for test in written.tests)


@pytest.mark.parametrize(
    "request_",
    [
        ExerciseRequest("quantum chess", 1),
        ExerciseRequest(TOPIC, 1, name="two words"),
        ExerciseRequest(TOPIC, 1, difficulty="hard"),
        TextbookRequest("quantum chess", "a retired engineer", "two examples", 1),
        TextbookRequest(TOPIC, "a cat", "two examples", 1),
        TextbookRequest(TOPIC, "a retired engineer", "sonnet", 1),
    ],
)
def test_builtin_refuses_what_it_does_not_know(request_):
    teacher = load_teacher("builtin")
    write = teacher.write_exercise if isinstance(request_, ExerciseRequest) else teacher.write_textbook
    with pytest.raises(TeacherError):
        write(request_)
