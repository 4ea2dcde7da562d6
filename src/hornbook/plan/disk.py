"""What a run leaves on disk, by kind, at most."""

from collections.abc import Sequence
from dataclasses import dataclass

from hornbook.plan.sets import CHAINS, SetTokens, Vocabulary, exercise_bytes, section_bytes
from hornbook.plan.training import ModelCost
from hornbook.recipe import CorpusConfig, FilterConfig, Recipe

STATE_BYTES = 12  # of a parameter in a checkpoint: float32 weight and two moments
WEIGHT_BYTES = 4
COPIES_OF_KEPT = 3  # what is kept passes through the tables of filter, dedup and decontaminate
COMPRESSED = 0.4  # of the text is left in Parquet: prose; of code 0.25


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes of one kind of file."""

    what: str
    bytes: int
    basis: str


def disk_uses(
    recipe: Recipe, sets: Sequence[SetTokens], words: Vocabulary, models: Sequence[ModelCost]
) -> list[DiskUse]:
    """All kinds, the corpus first."""
    names = {each.name for each in sets}
    corpora = [("corpus", recipe.corpus, recipe.filter if "filtered" in names else None, "raw" in names)]
    if recipe.web is not None:
        corpora.append(("web", recipe.web.corpus, recipe.web.filter if "web" in names else None, False))
    uses = [_corpus(*each) for each in corpora]
    if written := _written_bytes(recipe):
        basis = f"each text in {len(CHAINS['textbooks'])} tables, compressed to {COMPRESSED:.0%}"
        uses.append(DiskUse("synthetic texts", round(written * COMPRESSED), basis))
    width = 2 if words.entries <= 2**16 else 4
    tokens = sum(each.tokens for each in sets)
    uses.append(DiskUse("packed tokens", tokens * width, f"{width} bytes a token, and the same again while packing"))
    largest = max((model.parameters for model in models), default=0)
    best = any(train.select == "best" for train in recipe.models.values())
    state = largest * (2 * STATE_BYTES + (WEIGHT_BYTES if best else 0))
    basis = f"{STATE_BYTES} bytes a parameter, two while one is written" + (", the best one's weights" if best else "")
    uses.append(DiskUse("checkpoints", state, f"{basis}; removed when a model is done"))
    weights = sum(model.parameters for model in models) * WEIGHT_BYTES
    uses.append(
        DiskUse("models", weights, f"{len(models)} of {WEIGHT_BYTES} bytes a parameter; an export the same again")
    )
    return uses


def _corpus(name: str, corpus: CorpusConfig, kept: FilterConfig | None, raw: bool) -> DiskUse:
    """The corpus, its decontaminated copy, its scored copy, and the copies of what is kept."""
    copies = 1.0 + raw + (0 if kept is None else 1 + COPIES_OF_KEPT * kept.keep_share)
    size = round(corpus.sample_bytes * copies * COMPRESSED)
    basis = f"sample_bytes × {copies:.2f} for its copies, compressed to {COMPRESSED:.0%}; the hub's own files beside it"
    return DiskUse(f"{name}, scored and filtered", size, basis)


def _written_bytes(recipe: Recipe) -> int:
    total = 0
    for asked in (recipe.textbooks, recipe.general_textbooks):
        if asked is not None:
            total += asked.count * section_bytes(asked.teacher, asked.about)
    if recipe.exercises is not None:
        total += recipe.exercises.count * 2 * exercise_bytes(recipe.exercises.teacher)  # its tests beside it
    return total * len(CHAINS["textbooks"])
