"""From a teacher's name in a recipe to the teacher."""

from collections.abc import Callable

from hornbook.errors import UserError
from hornbook.teacher.builtin.teacher import BuiltinTeacher
from hornbook.teacher.request import Teacher

TEACHERS: dict[str, Callable[[], Teacher]] = {"builtin": BuiltinTeacher}


def load_teacher(name: str) -> Teacher:
    """The teacher of that name. Raises UserError for a name that is none."""
    if name not in TEACHERS:
        raise UserError(f"teacher `{name}` is not known; the known teachers are: {', '.join(TEACHERS)}")
    return TEACHERS[name]()
