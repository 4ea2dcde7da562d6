"""What each step depends on: sections of a recipe, and the seed where it draws at random."""

from typing import Literal

from hornbook.recipe import (
    AnnotateConfig,
    ClassifyConfig,
    CorpusConfig,
    DecontaminateConfig,
    DedupConfig,
    EvaluateConfig,
    ExercisesConfig,
    FilterConfig,
    ModelConfig,
    PackConfig,
    PretrainedConfig,
    Section,
    TextbooksConfig,
    TokenizerConfig,
    TopicsConfig,
    TrainConfig,
    VerifyConfig,
)


class CorpusStep(Section):
    """Config of the step `corpus`."""

    corpus: CorpusConfig
    seed: int


class AnnotateStep(Section):
    """Config of the step `annotate`."""

    annotate: AnnotateConfig
    seed: int


class ClassifyStep(Section):
    """Config of the step `classify`."""

    classify: ClassifyConfig
    seed: int


class ScoreStep(Section):
    """Config of the step `score`: the classifier says it all."""


class FilterStep(Section):
    """Config of the step `filter`; the seed draws the samples a person reads."""

    filter: FilterConfig
    about: Literal["code", "prose"]  # what the documents are, and so what must fall below the cut
    seed: int


class DedupStep(Section):
    """Config of the steps `dedup.*`; the seed draws the permutations."""

    dedup: DedupConfig
    seed: int


class DecontaminateStep(Section):
    """Config of the steps `decontaminate.*`."""

    decontaminate: DecontaminateConfig


class TopicsStep(Section):
    """Config of the step `topics`."""

    topics: TopicsConfig
    seed: int


class TextbooksStep(Section):
    """Config of the step `textbooks`."""

    textbooks: TextbooksConfig
    seed: int


class ExercisesStep(Section):
    """Config of the step `exercises`."""

    exercises: ExercisesConfig
    seed: int


class IndependentTestsStep(Section):
    """Config of the step `independent_tests`."""

    exercises: ExercisesConfig
    seed: int


class VerifyStep(Section):
    """Config of the step `verify`."""

    verify: VerifyConfig
    trusted: bool  # the tests are results of the built-in teacher's references, and no model's code


class ExamplesStep(Section):
    """Config of the step `examples`."""

    verify: VerifyConfig


class DiversityStep(Section):
    """Config of the steps `diversity.*`; the seed draws the samples."""

    seed: int


class TokenizerStep(Section):
    """Config of the step `tokenizer`."""

    tokenizer: TokenizerConfig
    seed: int


class PackStep(Section):
    """Config of the steps `pack.*`; the seed draws the order of the documents."""

    pack: PackConfig
    seed: int


class ImportStep(Section):
    """Config of the step `pretrained`."""

    pretrained: PretrainedConfig


class TrainStep(Section):
    """Config of the steps `train.*`; the seed draws the weights and the order of the sequences."""

    model: ModelConfig
    train: TrainConfig
    sequence_length: int
    seed: int


class EvaluateStep(Section):
    """Config of the steps `eval.*`; the seed draws the resamples of the bootstrap."""

    evaluate: EvaluateConfig
    seed: int
