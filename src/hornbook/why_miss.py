"""Why a run would ask a teacher again: its steps are tried from the journal alone, and the first miss is explained."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from hornbook.errors import Paused, UserError
from hornbook.pipeline import Run
from hornbook.recipe import BUILTIN, MachineConfig
from hornbook.run.engine import state_of
from hornbook.run.fingerprint import directory_name
from hornbook.run.progress import Silent
from hornbook.run.step import Step, StepFunction, Workspace

SECTIONS = {"independent_tests": "exercises"}  # of the recipe, where they are not called as the step
ASKING = ("annotate", "topics", "textbooks", "exercises", "independent_tests")


def explain(run: Run, work: Path, name: str | None) -> Iterator[tuple[str, str]]:
    """Each step that asks a teacher (or the one of that name), and what the journal has for it.

    Nothing is sent and nothing is kept. Raises UserError where no step of that name asks a teacher.
    """
    asking = [step for step in run.steps if step.name in ASKING and name in (None, step.name)]
    if not asking:
        raise UserError(f"--step {name}: no step of that name asks a teacher; the steps: {', '.join(ASKING)}")
    for step in asking:
        yield step.name, _explain(step, work, run)


def _explain(step: Step, work: Path, run: Run) -> str:
    if state_of(work, step) == "done":
        return "is done: asks nothing"
    if getattr(run.recipe, SECTIONS.get(step.name, step.name)).teacher == BUILTIN:
        return "has the built-in teacher: asks nobody"
    waiting = [source.name for source in step.inputs.values() if state_of(work, source) != "done"]
    if waiting:
        return f"cannot be told before {', '.join(waiting)} is done"
    machine = run.recipe.machine
    offline = machine.teacher.model_copy(update={"offline": True, "batch_file": None})
    module, name = step.function.split(":")
    function = cast(StepFunction, getattr(import_module(module), name))
    inputs = {key: work / directory_name(source) for key, source in step.inputs.items()}
    with TemporaryDirectory(prefix="hornbook-") as scratch:
        place = Workspace(Path(scratch), _with(machine, offline), Silent(), work, run.name)
        try:
            function(step.config, inputs, place)
        except (UserError, Paused) as told:
            return str(told)
    return "every reply is in the journal: asks nothing"


def _with(machine: MachineConfig, teacher: object) -> MachineConfig:
    return machine.model_copy(update={"teacher": teacher})
