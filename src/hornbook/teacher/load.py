"""From a teacher's name in a recipe to the teacher."""

from hornbook.prompts.load import read_prompt
from hornbook.recipe import BUILTIN, TeacherConfig
from hornbook.run.step import Workspace
from hornbook.run.workers import cpu_quota
from hornbook.teacher.builtin.teacher import BuiltinTeacher
from hornbook.teacher.request import TeacherContext


def load_teacher(config: TeacherConfig, work: Workspace, step: str) -> TeacherContext:
    """The teacher for one step of one run; a context manager.

    Raises UserError where there is no key, no price, or no journal to be had.
    """
    if config == BUILTIN:
        return BuiltinTeacher(work.machine.workers or cpu_quota())
    from hornbook.teacher.llm import LanguageModelTeacher  # half a second of imports that the offline way spares

    return LanguageModelTeacher(config, work, step)


def sent_prompts(config: TeacherConfig, *names: str) -> dict[str, str]:
    """The prompts that a step sends to its teacher, for its record; the built-in one is sent none."""
    return {} if config == BUILTIN else {name: read_prompt(name) for name in names}
