"""The teacher that needs no model, no key and no network: rules and a grammar, deterministic."""

from hornbook.teacher.builtin.grammar import exercise, family_of
from hornbook.teacher.builtin.lessons import AUDIENCES
from hornbook.teacher.builtin.rate import rate_document
from hornbook.teacher.builtin.textbook import STYLES, write_section
from hornbook.teacher.request import ExerciseRequest, Rated, RateRequest, TeacherError, TextbookRequest, WrittenExercise

DISPLAY_NAME = "builtin (offline rules, not an LLM)"


class BuiltinTeacher:
    """Rates by reading the syntax tree, writes from a grammar of small Python tasks."""

    name = DISPLAY_NAME

    def rate(self, request: RateRequest) -> Rated:
        """The rules' score of the document."""
        return rate_document(request.document)

    def write_textbook(self, request: TextbookRequest) -> str:
        """A section composed from the grammar. Raises TeacherError for a topic, audience or style it does not know."""
        family = family_of(request.topic)
        if family is None:
            raise TeacherError(f"the built-in teacher knows no topic `{request.topic}`")
        if request.audience not in AUDIENCES or request.style not in STYLES:
            raise TeacherError(f"the built-in teacher does not write for `{request.audience}` in `{request.style}`")
        return write_section(family, request.audience, request.style, request.seed)

    def write_exercise(self, request: ExerciseRequest) -> WrittenExercise:
        """An exercise composed from the grammar. Raises TeacherError for a topic it does not know, or a difficulty."""
        family = family_of(request.topic)
        if family is None:
            raise TeacherError(f"the built-in teacher knows no topic `{request.topic}`")
        if request.difficulty is not None:
            raise TeacherError("the built-in teacher knows no grades of difficulty")
        if request.name is not None and not request.name.isidentifier():
            raise TeacherError(f"`{request.name}` is no name of a function")
        return exercise(family, request.seed, request.name).exercise
