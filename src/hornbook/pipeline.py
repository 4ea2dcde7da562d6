"""A recipe as a list of steps: the one file that knows every stage.

Steps name their functions as text, so that planning a run imports no stage. The figure of docs/pipeline.md is this file
drawn.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hornbook import testsets
from hornbook.corpus.fingerprint import fingerprint_sources
from hornbook.errors import UserError
from hornbook.prompts.load import prompt_id
from hornbook.recipe import (
    AnnotateStep,
    ClassifyStep,
    CorpusStep,
    DecontaminateStep,
    DedupStep,
    EvaluateStep,
    ExercisesStep,
    FilterStep,
    PackStep,
    Recipe,
    ScoreStep,
    TextbooksStep,
    TokenizerStep,
    TrainStep,
    VerifyStep,
)
from hornbook.recipe_file import RecipeFile, to_yaml
from hornbook.run.engine import in_order
from hornbook.run.fingerprint import directory_name
from hornbook.run.step import Step
from hornbook.teacher.load import load_teacher

RUNS = "runs"  # below the work directory: one folder a run, with its record, its resolved recipe and its report


@dataclass(frozen=True, slots=True)
class Run:
    """A recipe (or an arm of it) and the steps that carry it out, inputs first."""

    name: str  # of the recipe, with `.arm` behind it where one was chosen
    arm: str | None
    recipe: Recipe
    steps: tuple[Step, ...]

    def until(self, name: str) -> list[Step]:
        """The steps of that name, as targets.

        Raises UserError for a name no step has.
        """
        targets = [step for step in self.steps if step.name == name or step.name.startswith(name + ".")]
        if not targets:
            raise UserError(f"--until {name}: no step of that name; the steps: {', '.join(s.name for s in self.steps)}")
        return targets


def build_run(recipe_file: RecipeFile, arm: str | None, overrides: Iterable[str], work: Path) -> Run:
    """The run of a recipe file: its fields checked, its sources fingerprinted, its steps wired.

    Raises UserError for a bad recipe, a source that does not exist or holds nothing, and a teacher that is none.
    """
    recipe = recipe_file.resolve(arm, list(overrides))
    for section in ("annotate", "textbooks", "exercises"):
        try:
            load_teacher(getattr(recipe, section).teacher)
        except UserError as error:
            raise UserError(f"{recipe_file.path}: {section}.teacher: {error}") from error
    name = f"{recipe.name}.{arm}" if arm else recipe.name
    return Run(name, arm, recipe, tuple(in_order(wire(recipe, work))))


def wire(recipe: Recipe, work: Path) -> list[Step]:
    """The last steps of a recipe; all others hang on them by their inputs."""
    sets = _training_sets(recipe, work)
    corpus = sets.pop("corpus")
    tokenizer = Step(
        "tokenizer",
        "hornbook.tokens.tokenizer:train_tokenizer",
        1,
        TokenizerStep(tokenizer=recipe.tokenizer, seed=recipe.seed),
        sets,
    )
    packed = {
        name: Step(
            f"pack.{name}",
            "hornbook.tokens.pack:pack_set",
            1,
            PackStep(pack=recipe.pack, seed=recipe.seed),
            {"documents": documents, "tokenizer": tokenizer},
        )
        for name, documents in sets.items()
    }
    trained: dict[str, Step] = {}
    for name in _start_order(recipe):
        train = recipe.models[name]
        inputs: dict[str, Step] = {part: packed[part] for part, share in train.mixture.items() if share > 0}
        inputs["tokenizer"] = tokenizer
        if train.start != "scratch":
            inputs["start"] = trained[train.start]
        # The label is what a person reads under a bar: changing it must not train again.
        unlabelled = train.model_copy(update={"label": name})
        config = TrainStep(
            model=recipe.model, train=unlabelled, sequence_length=recipe.pack.sequence_length, seed=recipe.seed
        )
        trained[name] = Step(f"train.{name}", "hornbook.train.loop:train_model", 1, config, inputs, resumable=True)
    return [
        Step(
            f"eval.{name}",
            "hornbook.evaluate.evaluate:evaluate_model",
            3,
            EvaluateStep(evaluate=recipe.evaluate, seed=recipe.seed),
            {"model": trained[name], "corpus": corpus},
            content=_testsets_content(["humaneval", "mbpp", "drill"]),
        )
        for name in recipe.models
    ]


def _training_sets(recipe: Recipe, work: Path) -> dict[str, Step]:
    """The corpus, and the four sets a model may be trained on, each deduplicated and decontaminated."""
    seed = recipe.seed
    corpus = Step(
        "corpus",
        "hornbook.corpus.sources:read_corpus",
        1,
        CorpusStep(corpus=recipe.corpus, seed=seed),
        content={"sources": fingerprint_sources(recipe.corpus, work / "fingerprints.json")},
    )
    ratings = Step(
        "annotate",
        "hornbook.curate.annotate:annotate_documents",
        1,
        AnnotateStep(annotate=recipe.annotate, seed=seed),
        {"corpus": corpus},
        content={"prompt": prompt_id("rate")},
        failure_limit=recipe.annotate.failure_limit,
    )
    classifier = Step(
        "classify",
        "hornbook.curate.classify:train_classifier",
        1,
        ClassifyStep(classify=recipe.classify, seed=seed),
        {"corpus": corpus, "ratings": ratings},
    )
    scored = Step(
        "score",
        "hornbook.curate.classify:score_documents",
        1,
        ScoreStep(),
        {"corpus": corpus, "classifier": classifier},
    )
    filtered = Step(
        "filter",
        "hornbook.curate.filter:filter_documents",
        1,
        FilterStep(filter=recipe.filter, seed=seed),
        {"scored": scored, "classifier": classifier},
    )
    textbooks = Step(
        "textbooks",
        "hornbook.synthesize.textbooks:write_textbooks",
        1,
        TextbooksStep(textbooks=recipe.textbooks, seed=seed),
        content={"prompt": prompt_id("textbook")},
    )
    exercises = Step(
        "exercises",
        "hornbook.synthesize.exercises:write_exercises",
        1,
        ExercisesStep(exercises=recipe.exercises, seed=seed),
        content={"prompt": prompt_id("exercise")},
    )
    verified = Step(
        "verify",
        "hornbook.synthesize.verify:verify_exercises",
        3,
        VerifyStep(verify=recipe.verify, teacher=recipe.exercises.teacher),
        {"exercises": exercises},
        failure_limit=recipe.verify.failure_limit,
    )
    return {
        "corpus": corpus,
        "raw": _clean(recipe, "raw", corpus),
        "filtered": _clean(recipe, "filtered", _distinct(recipe, "filtered", filtered)),
        "textbooks": _clean(recipe, "textbooks", _distinct(recipe, "textbooks", textbooks)),
        "exercises": _clean(recipe, "exercises", _distinct(recipe, "exercises", verified)),
    }


def _distinct(recipe: Recipe, name: str, documents: Step) -> Step:
    config = DedupStep(dedup=recipe.dedup, seed=recipe.seed)
    return Step(f"dedup.{name}", "hornbook.curate.dedup:dedup_documents", 1, config, {"documents": documents})


def _clean(recipe: Recipe, name: str, documents: Step) -> Step:
    return Step(
        f"decontaminate.{name}",
        "hornbook.curate.decontaminate:decontaminate_documents",
        1,
        DecontaminateStep(decontaminate=recipe.decontaminate),
        {"documents": documents},
        content=_testsets_content(recipe.decontaminate.testsets),
    )


def _testsets_content(names: Iterable[str]) -> Mapping[str, str]:
    """What each test set holds here, so that a set that appears later rebuilds what was measured without it."""
    return {name: testsets.checksum_here(name) or "unavailable" for name in names}


def _start_order(recipe: Recipe) -> list[str]:
    """The models, each after the one it starts from."""
    ordered: list[str] = []
    while len(ordered) < len(recipe.models):
        ordered += [
            name
            for name, train in recipe.models.items()
            if name not in ordered and (train.start == "scratch" or train.start in ordered)
        ]
    return ordered


def run_directory(work: Path, run: Run) -> Path:
    """Where the record, the resolved recipe and the report of a run stand."""
    return work / RUNS / run.name


def save_run(work: Path, run: Run) -> Path:
    """Write `run.json` and `recipe.yaml`; gives the path of `run.json`."""
    directory = run_directory(work, run)
    directory.mkdir(parents=True, exist_ok=True)
    record = {
        "name": run.name,
        "arm": run.arm,
        "recipe": run.recipe.model_dump(mode="json"),
        "steps": [{"name": step.name, "directory": directory_name(step)} for step in run.steps],
        "models": {name: train.label for name, train in run.recipe.models.items()},
    }
    for name, text in (("recipe.yaml", to_yaml(run.recipe)), ("run.json", json.dumps(record, indent=1) + "\n")):
        partial = directory / f"{name}.writing"
        partial.write_text(text, encoding="utf-8")
        partial.replace(directory / name)
    return directory / "run.json"
