"""How many tokens each training set will hold: measured where a step has been done, else expected from its config."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hornbook.model.config_file import read_config
from hornbook.recipe import BUILTIN, CorpusConfig, PackedSet, Recipe, TeacherConfig

Manifests = Mapping[str, Mapping[str, Any]]  # of the steps that are done, by the name of the step
Certainty = Literal["measured", "at most", "about"]

# Bytes of a token by entries of a byte-level BPE, of code and of text with prose; measured on installed packages and on
# what the built-in teacher writes, for tokenizers trained on such text.
TRAINED_BYTES_PER_TOKEN = {2048: (2.9, 2.6), 16_384: (3.9, 3.4), 50_000: (4.1, 3.5)}
HUB_BYTES_PER_TOKEN = (3.5, 4.3)  # assumed of a tokenizer of the hub, such as CodeGen's
HUB_ENTRIES = 50_295  # CodeGen's, where a tokenizer of the hub is not here yet

BUILTIN_SECTION_BYTES, BUILTIN_EXERCISE_BYTES = 889, 239  # means of 300
SECTION_BYTES = {"code": 1150, "general": 1330}  # what the prompts ask for: 60 to 120 words and a function; 150 to 300
EXERCISE_BYTES = 720  # phi-1's 180M tokens / 879.5K exercises = 205 tokens

# The steps through which a synthetic set passes, the last first: the newest count is the best.
CHAINS: dict[PackedSet, tuple[str, ...]] = {
    "textbooks": ("decontaminate.textbooks", "dedup.textbooks", "examples", "textbooks"),
    "general_textbooks": (
        "decontaminate.general_textbooks",
        "dedup.general_textbooks",
        "examples.general",
        "textbooks.general",
    ),
    "exercises": ("decontaminate.exercises", "dedup.exercises", "verify", "exercises"),
}


class Vocabulary(NamedTuple):
    """The entries of the tokenizer."""

    entries: int
    basis: str


@dataclass(frozen=True, slots=True)
class SetTokens:
    """The tokens of one packed set."""

    name: PackedSet
    tokens: int
    certainty: Certainty
    basis: str


def vocabulary(recipe: Recipe, done: Manifests) -> Vocabulary:
    """How many entries the tokenizer has, or will have."""
    if "tokenizer" in done:
        return Vocabulary(int(done["tokenizer"]["facts"]["vocab_size"]), "measured by the step `tokenizer`")
    if recipe.tokenizer.kind == "trained":
        return Vocabulary(recipe.tokenizer.vocab_size, "tokenizer.vocab_size")
    if (
        recipe.tokenizer.kind == "pretrained"
        and recipe.pretrained is not None
        and Path(recipe.pretrained.model).is_dir()
    ):
        entries = read_config(Path(recipe.pretrained.model)).vocab_size
        return Vocabulary(entries, f"those of {recipe.pretrained.model}")
    rows = recipe.model.padded_vocab_size
    if rows is not None:
        return Vocabulary(min(HUB_ENTRIES, rows), f"CodeGen's; the model has {rows:,} rows whatever it is")
    return Vocabulary(HUB_ENTRIES, "CodeGen's, until the step `tokenizer` is done")


def set_tokens(recipe: Recipe, done: Manifests) -> list[SetTokens]:
    """The tokens of every set that some model is trained on."""
    return [_tokens_of(recipe, name, done) for name in recipe.trained_sets]


def _tokens_of(recipe: Recipe, name: PackedSet, done: Manifests) -> SetTokens:
    if f"pack.{name}" in done:
        tokens = int(done[f"pack.{name}"]["facts"]["tokens"])
        return SetTokens(name, tokens, "measured", f"measured by the step `pack.{name}`")
    size, certainty, basis = _text(recipe, name, done)
    per_token, told = _bytes_per_token(recipe, name, done)
    tokens = math.ceil(size / per_token)
    if tokens > recipe.pack.max_tokens:
        basis = f"cut at pack.max_tokens from {tokens / 1e6:,.0f}M: {basis}"
        return SetTokens(name, recipe.pack.max_tokens, "at most", f"{basis}, {told}")
    return SetTokens(name, tokens, certainty, f"{basis}, {told}")


def _text(recipe: Recipe, name: PackedSet, done: Manifests) -> tuple[float, Certainty, str]:
    """Bytes of text of a set."""
    if name == "raw":
        return _corpus(recipe.corpus, 1.0, "corpus", done)
    if name == "filtered":
        return _corpus(recipe.corpus, recipe.filter.keep_share, "corpus", done)
    if name == "web":
        assert recipe.web is not None  # a mixture names no set the recipe has no section for
        return _corpus(recipe.web.corpus, recipe.web.filter.keep_share, "corpus.web", done)
    count, each, field = _written(recipe, name)
    newest = next((step for step in CHAINS[name] if step in done), None)
    if newest is not None:
        count = int(done[newest]["counts"]["kept"])
        return float(count * each), "about", f"{count:,} texts that the step `{newest}` kept, of {each:,} bytes"
    return float(count * each), "about", f"{field} = {count:,} texts of {each:,} bytes, if none is dropped"


def _corpus(config: CorpusConfig, keep_share: float, step: str, done: Manifests) -> tuple[float, Certainty, str]:
    kept = "" if keep_share == 1 else f" × keep_share {keep_share:g}"
    if step in done:
        size = int(done[step]["facts"]["bytes"])
        basis = f"{size_of_text(size)} that the step `{step}` read{kept}"
    else:
        size = config.sample_bytes
        field = "web.corpus" if step == "corpus.web" else step
        basis = f"{field}.sample_bytes = {size_of_text(size)}{kept}, if the sources hold so much"
    return size * (1 - config.held_out_share) * keep_share, "at most", basis


def size_of_text(size: float) -> str:
    """Bytes in decimal units: 60 MB, 300 GB, 3 TB."""
    unit, power = next(((unit, power) for unit, power in (("TB", 1e12), ("GB", 1e9)) if size >= power), ("MB", 1e6))
    return f"{size / power:,.3g} {unit}"


def _written(recipe: Recipe, name: PackedSet) -> tuple[int, int, str]:
    """Of a synthetic set: how many texts are asked for, how many bytes each may have, and the field that says so."""
    if name == "exercises":
        assert recipe.exercises is not None
        return recipe.exercises.count, exercise_bytes(recipe.exercises.teacher), "exercises.count"
    asked = recipe.textbooks if name == "textbooks" else recipe.general_textbooks
    assert asked is not None
    return asked.count, section_bytes(asked.teacher, asked.about), f"{name}.count"


def section_bytes(teacher: TeacherConfig, about: Literal["code", "general"]) -> int:
    """The length of a textbook section."""
    return BUILTIN_SECTION_BYTES if teacher == BUILTIN else SECTION_BYTES[about]


def exercise_bytes(teacher: TeacherConfig) -> int:
    """The length of an exercise with its solution, as a model reads it: without tests."""
    return BUILTIN_EXERCISE_BYTES if teacher == BUILTIN else EXERCISE_BYTES


def _bytes_per_token(recipe: Recipe, name: PackedSet, done: Manifests) -> tuple[float, str]:
    if "tokenizer" in done:
        measured = done["tokenizer"]["facts"].get("bytes_per_token", {})
        if name in measured:
            return float(measured[name]), f"{measured[name]:.2f} bytes a token, measured"
    kind = 0 if name in ("raw", "filtered", "exercises") else 1
    if recipe.tokenizer.kind != "trained":
        return HUB_BYTES_PER_TOKEN[kind], f"{HUB_BYTES_PER_TOKEN[kind]} bytes a token, assumed"
    found = _between(recipe.tokenizer.vocab_size, kind)
    return found, f"{found:.1f} bytes a token at {recipe.tokenizer.vocab_size:,} entries"


def _between(entries: int, kind: int) -> float:
    """Bytes of a token, straight in the logarithm of the entries between those measured."""
    known = sorted(TRAINED_BYTES_PER_TOKEN)
    entries = min(max(entries, known[0]), known[-1])
    high = next(place for place in known if place >= entries)
    low = max((place for place in known if place <= entries), default=high)
    if low == high:
        return TRAINED_BYTES_PER_TOKEN[low][kind]
    share = math.log(entries / low) / math.log(high / low)
    return TRAINED_BYTES_PER_TOKEN[low][kind] * (1 - share) + TRAINED_BYTES_PER_TOKEN[high][kind] * share
