"""What a recipe will cost before it runs: tokens, hours, memory, disk, and what its teachers ask for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hornbook.errors import UserError
from hornbook.pipeline import Run, build_run
from hornbook.plan.disk import DiskUse, disk_uses
from hornbook.plan.gpus import GPU
from hornbook.plan.papers import Comparison, comparisons
from hornbook.plan.sets import SetTokens, Vocabulary, set_tokens, vocabulary
from hornbook.plan.teacher import TeacherCost, teacher_costs
from hornbook.plan.training import Fit, Hours, ModelCost, device_hours, fits, hours_on, model_costs, training_step
from hornbook.recipe import Recipe
from hornbook.recipe_file import RecipeFile
from hornbook.run.engine import state_of
from hornbook.run.fingerprint import directory_name
from hornbook.run.manifest import read_manifest

MEASURED_TOKENS = 2**11  # of a batch that is timed on a CPU: a second or two of a small model
MEASURED_DEVICE_TOKENS = 2**17  # on a GPU
MEASURED_STEPS = 3


@dataclass(frozen=True, slots=True)
class Forecast:
    """All figures of a plan, each part with what it stands on."""

    vocabulary: Vocabulary
    sets: list[SetTokens]
    models: list[ModelCost]
    hours: list[Hours]
    memory: list[Fit]
    disk: list[DiskUse]
    teacher: list[TeacherCost]
    max_usd: float | None  # the cap on what all teachers of a run may cost
    papers: list[Comparison]


def plan_run(
    recipe_file: RecipeFile, arm: str | None, overrides: Iterable[str], work: Path
) -> tuple[Recipe, Run | None, str]:
    """A recipe and its steps; where these need a hub that does not answer, None and why: what they cost is known all
    the same.

    Raises UserError for a bad recipe, and for its own files where they cannot be read.
    """
    changes = list(overrides)
    recipe = recipe_file.resolve(arm, changes)
    try:
        return recipe, build_run(recipe_file, arm, changes, work), ""
    except UserError as error:
        if not _asks_hub(recipe):
            raise
        return recipe, None, str(error)


def _asks_hub(recipe: Recipe) -> bool:
    corpora = [recipe.corpus] if recipe.web is None else [recipe.corpus, recipe.web.corpus]
    hub_sources = any(source.kind == "hub" for corpus in corpora for source in corpus.sources)
    hub_model = recipe.pretrained is not None and recipe.pretrained.model.startswith("hf://")
    return hub_sources or hub_model or recipe.tokenizer.kind == "hub"


def manifests(work: Path, run: Run) -> dict[str, Mapping[str, Any]]:
    """The manifests of the steps of a run that are done, by the name of the step."""
    return {
        step.name: read_manifest(work / directory_name(step)) for step in run.steps if state_of(work, step) == "done"
    }


def forecast(
    recipe: Recipe,
    done: Mapping[str, Mapping[str, Any]],
    gpus: Sequence[GPU],
    processes: int,
    mfu: float | None,
) -> Forecast:
    """Everything that follows from the recipe and from the steps that are done.

    Raises UserError where a model has fewer sequences a step than there are processes.
    """
    for name, train in recipe.models.items():
        if train.batch_sequences < processes:
            raise UserError(
                f"--gpus {processes}: models.{name}.batch_sequences is {train.batch_sequences}, and each GPU needs a "
                f"sequence of its own; give at most {train.batch_sequences}"
            )
    words, sets = vocabulary(recipe, done), set_tokens(recipe, done)
    trained = frozenset(name for name in recipe.models if f"train.{name}" in done)
    models = model_costs(recipe, sets, words, trained)
    return Forecast(
        vocabulary=words,
        sets=sets,
        models=models,
        hours=hours_on(gpus, models, recipe.machine, processes, mfu),
        memory=fits(recipe, words, gpus, processes),
        disk=disk_uses(recipe, sets, words, models),
        teacher=teacher_costs(recipe, done),
        max_usd=recipe.machine.teacher.max_usd,
        papers=comparisons(recipe, words, models),
    )


def with_measured_hours(recipe: Recipe, found: Forecast) -> Forecast:
    """The same with the hours on this machine's own device, from a few steps of the model with the largest batch,
    trained on it now. Raises UserError as training does."""
    from hornbook.train.device import pick_device
    from hornbook.train.speed import measure

    train = max(recipe.models.values(), key=lambda train: train.batch_sequences)
    tokens = MEASURED_TOKENS if pick_device(recipe.machine).type == "cpu" else MEASURED_DEVICE_TOKENS
    sequences = min(train.batch_sequences, max(1, tokens // recipe.pack.sequence_length))
    config = training_step(recipe, train.model_copy(update={"batch_sequences": sequences}))
    speed = measure(config, found.vocabulary.entries, recipe.machine, MEASURED_STEPS)
    basis = (
        f"{speed.tokens_per_second:,.0f} tokens/s, measured now in {MEASURED_STEPS} steps of {sequences} sequences "
        f"({speed.precision}, micro-batch {speed.micro_batch})"
    )
    device = "this CPU" if speed.device == "cpu" else f"this {speed.device}"
    here = device_hours(device, speed.teraflops, None, basis, found.models, 1)
    return replace(found, hours=[*found.hours, here])
