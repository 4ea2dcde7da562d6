"""What the papers say the same training took, beside this plan at the speed their own figures imply."""

from dataclasses import dataclass
from typing import Literal

from hornbook.model.shape import flops_per_token
from hornbook.plan.gpus import PHI_1_TERAFLOPS
from hornbook.plan.sets import Vocabulary
from hornbook.plan.training import ModelCost
from hornbook.recipe import PRESETS, ModelConfig, Recipe, TrainConfig

A100_PEAK = 312.0  # TFLOP/s
CREDIBLE_SHARE = 0.65  # of the peak; the papers' other runs stand at 37% to 49%


@dataclass(frozen=True, slots=True)
class Published:
    """One training run of the papers: what tells it, and what it is said to have taken."""

    name: str
    preset: Literal["phi-1", "phi-1-small"]  # phi-1.5 has the shape of phi-1
    schedule: Literal["linear", "constant"]
    learning_rate: float
    batch_sequences: int
    web: bool  # its mixture holds filtered web text
    tokens: float
    hours: float  # A100 hours
    source: str


PUBLISHED = (
    Published("phi-1-base", "phi-1", "linear", 1e-3, 1024, False, 50.3e9, 770, "phi-1, Figure 2.1"),
    Published("phi-1", "phi-1", "linear", 1e-4, 256, False, 3.15e9, 56, "phi-1, section 2.3: 7 hours on 8 A100"),
    Published("phi-1-small-base", "phi-1-small", "linear", 1e-3, 1024, False, 26e9, 135, "phi-1, Figure 2.1"),
    Published("phi-1.5", "phi-1", "constant", 2e-4, 2048, False, 150e9, 1500, "phi-1.5, Table 1"),
    Published("phi-1.5-web", "phi-1", "constant", 2e-4, 2048, True, 300e9, 3000, "phi-1.5, Table 1"),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model of the recipe beside the run it repeats."""

    model: str
    paper: str
    source: str
    paper_tokens: float
    paper_hours: float
    implied_teraflops: float  # of an A100, from the paper's tokens and hours
    implied_share: float  # of its peak
    tokens: int
    hours: float  # A100 hours of this plan at phi-1's own 154 TFLOP/s
    note: str


def comparisons(recipe: Recipe, words: Vocabulary, models: list[ModelCost]) -> list[Comparison]:
    """The models whose shape and hyperparameters are those of a run of the papers."""
    cost_per_token = flops_per_token(recipe.model, words.entries, recipe.pack.sequence_length)
    found = []
    for model in models:
        paper = _repeated(recipe.model, recipe.models[model.name])
        if paper is None:
            continue
        implied = paper.tokens * cost_per_token / paper.hours / 3600 / 1e12
        hours = model.flops / (PHI_1_TERAFLOPS * 1e12) / 3600
        found.append(
            Comparison(
                model=model.name,
                paper=paper.name,
                source=paper.source,
                paper_tokens=paper.tokens,
                paper_hours=paper.hours,
                implied_teraflops=implied,
                implied_share=implied / A100_PEAK,
                tokens=model.tokens,
                hours=hours,
                note=_note(paper, implied, model.tokens, hours),
            )
        )
    return found


def _repeated(shape: ModelConfig, train: TrainConfig) -> Published | None:
    share = train.mixture.get("web", 0.0) / sum(train.mixture.values())
    for paper in PUBLISHED:
        same_shape = shape == ModelConfig.model_validate(PRESETS[paper.preset])
        same_run = (paper.schedule, paper.learning_rate, paper.batch_sequences) == (
            train.schedule,
            train.learning_rate,
            train.batch_sequences,
        )
        # phi-1.5-web-only, the one run without hours, reads web text for the most part.
        if same_shape and same_run and paper.web == (share > 0) and share <= 0.5:
            return paper
    return None


def _note(paper: Published, implied: float, tokens: int, hours: float) -> str:
    """What the paper says, whether it can be, and what to expect."""
    share = implied / A100_PEAK
    said = f"{paper.hours:,.0f} A100 hours for {paper.tokens / 1e9:,.3g}B tokens ({paper.source})"
    expected = f"{hours:,.0f} hours for {tokens / 1e9:,.3g}B tokens at phi-1's {PHI_1_TERAFLOPS:.0f} TFLOP/s"
    if share <= CREDIBLE_SHARE:
        return f"{said}, {implied:,.0f} TFLOP/s or {share:.0%} of the peak; here {expected}"
    card = ""
    if paper.name == "phi-1.5":
        card = "; its model card says 32 GPUs for 8 days, 6,144"
    usual = f"{PHI_1_TERAFLOPS / A100_PEAK:.0%}"
    return (
        f"{said} would need {implied:,.0f} TFLOP/s, {share:.0%} of an A100's peak, where phi-1's own figures imply "
        f"{usual}: expect {expected}{card}"
    )
