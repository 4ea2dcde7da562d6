"""The teacher that needs no model, no key and no network: rules and a grammar, deterministic."""

from hornbook.teacher.builtin.rate import rate_document
from hornbook.teacher.request import ExerciseRequest, Rated, RateRequest, TeacherError, TextbookRequest, WrittenExercise

DISPLAY_NAME = "builtin (offline rules, not an LLM)"


class BuiltinTeacher:
    """Rates by reading the syntax tree, writes from a grammar of small Python tasks."""

    name = DISPLAY_NAME

    def rate(self, request: RateRequest) -> Rated:
        """The rules' score of the document."""
        return rate_document(request.document)

    def write_textbook(self, request: TextbookRequest) -> str:
        """A section composed from the grammar."""
        raise TeacherError("the grammar is not written yet")

    def write_exercise(self, request: ExerciseRequest) -> WrittenExercise:
        """An exercise composed from the grammar."""
        raise TeacherError("the grammar is not written yet")
