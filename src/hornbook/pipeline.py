"""A recipe as a list of steps: the one file that knows every stage.

Steps name their functions as text, so that planning a run imports no stage. The figure of docs/pipeline.md is this file
drawn.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from hornbook import rowsets, testsets
from hornbook.corpus.fingerprint import fingerprint_sources
from hornbook.errors import UserError
from hornbook.model.source import check_shape, fingerprint_model, fingerprint_tokenizer
from hornbook.prompts.load import prompt_id
from hornbook.recipe import (
    BUILTIN,
    ExercisesConfig,
    PackedSet,
    PretrainedTokenizer,
    Recipe,
    TeacherConfig,
    TextbooksConfig,
    TrainedTokenizer,
    WebConfig,
)
from hornbook.recipe_file import RecipeFile, to_yaml
from hornbook.records import content_id
from hornbook.run.engine import in_order
from hornbook.run.fingerprint import directory_name
from hornbook.run.step import Step
from hornbook.step_config import (
    AnnotateStep,
    ClassifyStep,
    CorpusStep,
    DecontaminateStep,
    DedupStep,
    DiversityStep,
    EvaluateStep,
    ExamplesStep,
    ExercisesStep,
    FilterStep,
    ImportStep,
    IndependentTestsStep,
    PackStep,
    ScoreStep,
    TextbooksStep,
    TokenizerStep,
    TopicsStep,
    TrainStep,
    VerifyStep,
)
from hornbook.teacher.request import prompt_of_rating, prompt_of_section

TESTSETS_OF: dict[str, tuple[str, ...]] = {  # of tasks that are not named as what they are asked from
    "mmlu": ("mmlu", "mmlu_dev"),
    "gsm8k_code": ("gsm8k",),
    "gsm8k_text": ("gsm8k",),
    "bits_humaneval": ("humaneval",),
    "bits_mbpp": ("mbpp",),
    "bits_held_out": (),
}
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

    Raises UserError for a bad recipe and for a source that does not exist or holds nothing.
    """
    recipe = recipe_file.resolve(arm, list(overrides))
    name = f"{recipe.name}.{arm}" if arm else recipe.name
    return Run(name, arm, recipe, tuple(in_order(wire(recipe, work))))


def wire(recipe: Recipe, work: Path) -> list[Step]:
    """The last steps of a recipe; all others hang on them by their inputs, and what none of them needs is no step."""
    corpora = _corpora(recipe, work)
    written = _written(recipe, corpora)
    pretrained = _pretrained(recipe)
    sets = {name: _training_set(recipe, name, corpora, written) for name in recipe.trained_sets}
    tokenizer = _tokenizer(recipe, sets, pretrained)
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
    trained = dict(pretrained)
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
        trained[name] = Step(f"train.{name}", "hornbook.train.loop:train_model", 2, config, inputs, resumable=True)
    evaluated = [
        Step(
            f"eval.{name}",
            "hornbook.evaluate.evaluate:evaluate_model",
            4,
            EvaluateStep(evaluate=recipe.evaluate, seed=recipe.seed),
            {"model": trained[name], "corpus": corpora["corpus"]},
            content=_testsets_content(
                name for task in recipe.evaluate.tasks for name in TESTSETS_OF.get(task, (task,))
            ),
        )
        for name in recipe.models
    ]
    diversity = [_diversity(recipe, name, corpora, written[name]) for name in recipe.trained_sets if name in written]
    return [*diversity, *evaluated]


def _corpora(recipe: Recipe, work: Path) -> dict[str, Step]:
    """The real texts, before any filter: `corpus`, and `web` where the recipe has it."""
    asked = {"corpus": ("", recipe.corpus)}
    if recipe.web is not None:
        asked["web"] = (".web", recipe.web.corpus)
    return {
        name: Step(
            f"corpus{suffix}",
            "hornbook.corpus.sources:read_corpus",
            1,
            CorpusStep(corpus=config, seed=recipe.seed),
            # Each remembers its own files: one that both wrote would forget the other's at every run.
            content={"sources": fingerprint_sources(config, work / f"fingerprints{suffix}.json")},
        )
        for name, (suffix, config) in asked.items()
    }


def _written(recipe: Recipe, corpora: Mapping[str, Step]) -> dict[PackedSet, Step]:
    """The synthetic sets, as far as the recipe has them, each with its code checked by running it."""
    steps: dict[PackedSet, Step] = {}
    if recipe.textbooks is not None:
        steps["textbooks"] = _textbooks(recipe, recipe.textbooks, "", corpora)
    if recipe.general_textbooks is not None:
        steps["general_textbooks"] = _textbooks(recipe, recipe.general_textbooks, ".general", corpora)
    if recipe.exercises is not None:
        steps["exercises"] = _exercises(recipe, recipe.exercises)
    return steps


def _training_set(
    recipe: Recipe, name: PackedSet, corpora: Mapping[str, Step], written: Mapping[PackedSet, Step]
) -> Step:
    """A set a model may be trained on, decontaminated, and deduplicated too where it is no raw text."""
    if name == "raw":
        return _clean(recipe, name, corpora["corpus"])
    if name == "filtered":
        documents = _filtered(recipe, recipe, "", corpora["corpus"])
    elif name == "web":
        assert recipe.web is not None  # a mixture names no set the recipe has no section for
        documents = _filtered(recipe, recipe.web, ".web", corpora["web"])
    else:
        documents = written[name]
    return _clean(recipe, name, _distinct(recipe, name, documents))


def _filtered(recipe: Recipe, part: Recipe | WebConfig, suffix: str, corpus: Step) -> Step:
    """The best documents of a corpus by a classifier that learnt a teacher's ratings; `suffix` ends the names of the
    steps."""
    ratings = Step(
        f"annotate{suffix}",
        "hornbook.curate.annotate:annotate_documents",
        2,
        AnnotateStep(annotate=part.annotate, seed=recipe.seed),
        {"corpus": corpus},
        content=_sent(part.annotate.teacher, prompt_of_rating(part.annotate.about)),
        failure_limit=part.annotate.failure_limit,
    )
    classifier = Step(
        f"classify{suffix}",
        "hornbook.curate.classify:train_classifier",
        2,
        ClassifyStep(classify=part.classify, seed=recipe.seed),
        {"corpus": corpus, "ratings": ratings},
    )
    scored = Step(
        f"score{suffix}",
        "hornbook.curate.classify:score_documents",
        2,
        ScoreStep(),
        {"corpus": corpus, "classifier": classifier},
    )
    return Step(
        f"filter{suffix}",
        "hornbook.curate.filter:filter_documents",
        1,
        FilterStep(filter=part.filter, about=part.annotate.about, seed=recipe.seed),
        {"scored": scored, "classifier": classifier},
    )


def _topics(recipe: Recipe) -> dict[str, Step]:
    """The step that grows a tree of topics, as an input, where the recipe asks for one."""
    if recipe.topics is None:
        return {}
    grown = Step(
        "topics",
        "hornbook.synthesize.topic_tree:grow_topics",
        1,
        TopicsStep(topics=recipe.topics, seed=recipe.seed),
        content={**_sent(recipe.topics.teacher, "topics"), **_data("taxonomy")},
        failure_limit=recipe.topics.failure_limit,
    )
    return {"topics": grown}


def _textbooks(recipe: Recipe, asked: TextbooksConfig, suffix: str, corpora: Mapping[str, Step]) -> Step:
    """The sections, with examples that run; `suffix` ends the names of the steps."""
    inputs = _topics(recipe) if asked.about == "general" else {}
    if asked.extracts is not None:
        inputs["extracts"] = corpora[asked.extracts.of]
    prompt = prompt_of_section(asked.about, asked.extracts is not None)
    own = "taxonomy" if asked.about == "general" else "curriculum"
    written = Step(
        f"textbooks{suffix}",
        "hornbook.synthesize.textbooks:write_textbooks",
        2,
        TextbooksStep(textbooks=asked, seed=recipe.seed),
        inputs,
        content=_sent(asked.teacher, prompt, "words", own),
        failure_limit=asked.failure_limit,
    )
    return Step(
        f"examples{suffix}",
        "hornbook.synthesize.examples:run_examples",
        1,
        ExamplesStep(verify=recipe.verify),
        {"documents": written},
        failure_limit=recipe.verify.failure_limit,
    )


def _exercises(recipe: Recipe, asked: ExercisesConfig) -> Step:
    """The exercises whose solutions pass their tests."""
    exercises = Step(
        "exercises",
        "hornbook.synthesize.exercises:write_exercises",
        2,
        ExercisesStep(exercises=asked, seed=recipe.seed),
        content=_sent(asked.teacher, "exercise", "words", "curriculum"),
        failure_limit=asked.failure_limit,
    )
    inputs = {"exercises": exercises}
    if asked.test_sets > 1:
        inputs["independent_tests"] = Step(
            "independent_tests",
            "hornbook.synthesize.independent_tests:write_independent_tests",
            1,
            IndependentTestsStep(exercises=asked, seed=recipe.seed),
            {"exercises": exercises},
            content=_sent(asked.teacher, "tests"),
            failure_limit=asked.failure_limit,
        )
    return Step(
        "verify",
        "hornbook.synthesize.verify:verify_exercises",
        4,
        VerifyStep(verify=recipe.verify, trusted=asked.teacher == BUILTIN),
        inputs,
        failure_limit=recipe.verify.failure_limit,
    )


def _diversity(recipe: Recipe, name: PackedSet, corpora: Mapping[str, Step], written: Step) -> Step:
    """How diverse a synthetic set is as it was written, beside the real texts that are most like it."""
    like = "web" if name == "general_textbooks" and "web" in corpora else "corpus"
    return Step(
        f"diversity.{name}",
        "hornbook.synthesize.diversity:measure_diversity",
        1,
        DiversityStep(seed=recipe.seed),
        {"corpus": corpora[like], "set": written},
    )


def _pretrained(recipe: Recipe) -> dict[str, Step]:
    """The step that takes in a model that exists already, where the recipe has one."""
    if recipe.pretrained is None:
        return {}
    if any(train.start == "pretrained" for train in recipe.models.values()):
        check_shape(recipe.pretrained, recipe.model, recipe.pack.sequence_length)
    step = Step(
        "pretrained",
        "hornbook.model.pretrained:import_model",
        1,
        ImportStep(pretrained=recipe.pretrained),
        content={"files": fingerprint_model(recipe.pretrained)},
    )
    return {"pretrained": step}


def _tokenizer(recipe: Recipe, sets: Mapping[PackedSet, Step], pretrained: Mapping[str, Step]) -> Step:
    """The tokenizer, which is trained on what models are trained on, or is there already."""
    inputs: Mapping[str, Step] = {}
    if isinstance(recipe.tokenizer, TrainedTokenizer):
        inputs = {str(name): step for name, step in sets.items()}
    elif isinstance(recipe.tokenizer, PretrainedTokenizer):
        inputs = pretrained
    return Step(
        "tokenizer",
        "hornbook.tokens.tokenizer:train_tokenizer",
        1,
        TokenizerStep(tokenizer=recipe.tokenizer, seed=recipe.seed),
        inputs,
        content=fingerprint_tokenizer(recipe.tokenizer),
    )


def _sent(teacher: TeacherConfig, prompt: str, *data: str) -> dict[str, str]:
    """What a language model is sent: the prompt, and the lists its fields are drawn from. The built-in one is sent
    nothing."""
    return {} if teacher == BUILTIN else {"prompt": prompt_id(prompt), **_data(*data)}


def _data(*names: str) -> dict[str, str]:
    return {
        name: content_id((files("hornbook") / "data" / f"{name}.yaml").read_text(encoding="utf-8")) for name in names
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
    found = {name: testsets if name in testsets.NAMES else rowsets for name in sorted(set(names))}
    return {name: place.checksum_here(name) or "unavailable" for name, place in found.items()}


def _start_order(recipe: Recipe) -> list[str]:
    """The models, each after the one it starts from."""
    ordered: list[str] = []
    while len(ordered) < len(recipe.models):
        ordered += [
            name
            for name, train in recipe.models.items()
            if name not in ordered and (train.start in ("scratch", "pretrained") or train.start in ordered)
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
