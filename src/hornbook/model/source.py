"""Where a model that exists already lies, and what it is: a directory in the Hugging Face format, or one of the hub."""

import hashlib
import json
import re
from pathlib import Path

from hornbook.errors import UserError
from hornbook.hub import download, resolve_revision
from hornbook.model.config_file import CONFIG, read_config
from hornbook.model.vocabulary import TOKENIZER_FILES
from hornbook.recipe import HubTokenizer, ModelConfig, PretrainedConfig, TokenizerConfig

HUB = "hf://"
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
INDEX = "model.safetensors.index.json"
SHAPE = ("layers", "hidden", "heads", "rotary_share")
PATTERNS = (CONFIG, INDEX, "*.safetensors", *TOKENIZER_FILES)  # what is read of a model


def fingerprint_model(config: PretrainedConfig, patterns: tuple[str, ...] = PATTERNS) -> str:
    """What the model holds now: its commit on the hub, or a hash over the files of its directory that match the globs.

    Raises UserError as `locate_model` does; of a model of the hub, nothing is fetched.
    """
    if repo := _repository(config):
        return f"{repo}@{resolve_revision(repo, config.revision or '', 'model')}"
    directory = _directory(config)
    whole = hashlib.sha256()
    for name in sorted({path.name for pattern in patterns for path in directory.glob(pattern)}):
        with open(directory / name, "rb") as file:
            whole.update(json.dumps([name, hashlib.file_digest(file, "sha256").hexdigest()]).encode())
    return whole.hexdigest()


def check_shape(pretrained: PretrainedConfig, wanted: ModelConfig, sequence_length: int) -> None:
    """Raise UserError where a recipe's model is of another shape than the model it starts from.

    Reads `config.json` and nothing else: of a model of the hub, that file is fetched.
    """
    repo = _repository(pretrained)
    if repo:
        directory = download(repo, resolve_revision(repo, pretrained.revision or "", "model"), (CONFIG,), "model")
    else:
        directory = _directory(pretrained)
    there = read_config(directory)
    shape, asked = ({name: getattr(model, name) for name in SHAPE} for model in (there.config, wanted))
    if shape != asked or wanted.padded_vocab_size not in (None, there.rows):
        told = ", ".join(f"{name}: {value}" for name, value in (shape | {"padded_vocab_size": there.rows}).items())
        raise UserError(f"model: not the shape of {pretrained.model}; write `model: {{{told}}}`")
    if there.context < sequence_length:
        raise UserError(f"pack.sequence_length: {pretrained.model} reads {there.context} tokens at most, not more")


def fingerprint_tokenizer(config: TokenizerConfig) -> dict[str, str]:
    """The commit of a tokenizer of the hub; nothing for one that other steps make."""
    if isinstance(config, HubTokenizer):
        return {"commit": resolve_revision(config.repo, config.revision, "model")}
    return {}


def locate_model(config: PretrainedConfig, patterns: tuple[str, ...] = PATTERNS) -> Path:
    """The directory of the model's files, fetched from the hub where they are there: those that match the globs.

    Raises UserError where there is none, and where a revision is given for a directory or none for a model of the hub.
    """
    if repo := _repository(config):
        return download(repo, resolve_revision(repo, config.revision or "", "model"), patterns, "model")
    return _directory(config)


def locate_tokenizer(config: HubTokenizer) -> Path:
    """The directory of a tokenizer's files, fetched from the hub."""
    return download(config.repo, resolve_revision(config.repo, config.revision, "model"), TOKENIZER_FILES, "model")


def _repository(config: PretrainedConfig) -> str | None:
    if not config.model.startswith(HUB):
        return None
    repo = config.model.removeprefix(HUB)
    if not REPOSITORY.fullmatch(repo):
        raise UserError(f"pretrained.model: {config.model}: not {HUB}OWNER/NAME")
    if not config.revision:
        raise UserError(f"pretrained.revision: give the commit, tag or branch of {config.model}, such as main")
    return repo


def _directory(config: PretrainedConfig) -> Path:
    directory = Path(config.model)
    if config.revision is not None:
        raise UserError(f"pretrained.revision: {config.model} is a directory and has none; say null")
    if not directory.is_dir():
        raise UserError(
            f"pretrained.model: {config.model}: no such directory; give one with {CONFIG}, or {HUB}OWNER/NAME"
        )
    return directory
