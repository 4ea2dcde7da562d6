"""Models in the Hugging Face format, in and out: others' phis to train on from, and ours for others' tools.

Both ways go tensor by tensor, so that a model needs its room in memory once at most.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer

from hornbook.errors import UserError
from hornbook.model.card import model_card
from hornbook.model.config_file import CONFIG, Described, phi_config, read_config, write_config
from hornbook.model.shape import parameter_count
from hornbook.model.source import INDEX, fingerprint_model, locate_model
from hornbook.model.transformer import Phi
from hornbook.model.vocabulary import END_OF_TEXT, TOKENIZER, end_of_text, entries, load_tokenizer, read_foreign
from hornbook.model.weights_file import WEIGHTS, Shape, Stored, open_weights, write_weights
from hornbook.recipe import PretrainedConfig
from hornbook.run.step import Inputs, Result, Workspace
from hornbook.step_config import ImportStep

BUFFERS = "rotary_emb.inv_freq"  # older files hold these tables, which follow from the configuration


def import_model(config: ImportStep, inputs: Inputs, work: Workspace) -> Result:
    """Take in the model of `pretrained`: writes `model.safetensors` (float32), `config.json` and `tokenizer.json`.

    Raises UserError as `take_in` does.
    """
    source = locate_model(config.pretrained)
    described = take_in(source, work.directory)
    shape = described.config
    facts = {
        "model": config.pretrained.model,
        "revision": config.pretrained.revision,
        "files": fingerprint_model(config.pretrained),
        "parameters": parameter_count(shape, described.vocab_size),
        "vocab_size": described.vocab_size,
        "context": described.context,
        **shape.model_dump(),
    }
    return Result(facts=facts)


def import_directory(config: PretrainedConfig, out: Path) -> Described:
    """The same into a new directory `out`, which is there whole or not at all."""
    with _new_directory(out) as writing:
        return take_in(locate_model(config), writing)


def take_in(source: Path, target: Path) -> Described:
    """Write a model in transformers' format of `PhiForCausalLM` as one of ours; `target` is a directory.

    Raises UserError where files are missing or damaged, weights are pickled, the configuration describes another
    network, a tensor is missing, of another shape, of no use here or not finite, and where the tokenizer has more
    entries than the embedding has rows.
    """
    tokenizer = read_foreign(source)
    described = _with_tokenizer(source, read_config(source), tokenizer)
    shapes, stored = _shapes(described), open_weights(source)
    _compare(stored, shapes)
    write_weights(target / WEIGHTS, shapes, torch.float32, stored.tensor)
    tokenizer.save(str(target / TOKENIZER))
    ending = end_of_text(tokenizer)
    write_config(target, phi_config(described.config, described.vocab_size, described.context, ending))
    return described


def load_pretrained(source: Path) -> tuple[Phi, Tokenizer]:
    """The model of a directory in transformers' format, ours or another's, and its tokenizer; in evaluation mode on the
    CPU, float32.

    Raises UserError as `take_in` does.
    """
    tokenizer = read_foreign(source)
    described = _with_tokenizer(source, read_config(source), tokenizer)
    shapes, stored = _shapes(described), open_weights(source)
    _compare(stored, shapes)
    phi = Phi(described.config, described.vocab_size, described.context)
    with torch.no_grad():
        for name, parameter in phi.named_parameters():
            parameter.copy_(stored.tensor(name))
    return phi.eval(), tokenizer


def export_directory(model: Path, out: Path, dtype: torch.dtype, shard_bytes: int) -> list[Path]:
    """Write a model of ours as a new directory that `AutoModelForCausalLM` and `AutoTokenizer` load without code of
    its own; gives its files, in order.

    Weights of more than `shard_bytes` are cut into shards. Raises UserError where `out` is there already, the model is
    not whole, or a weight does not fit the precision.
    """
    described, tokenizer = read_config(model), load_tokenizer(model)
    shapes, stored = _shapes(described), open_weights(model)
    _compare(stored, shapes)
    ending = end_of_text(tokenizer)
    with _new_directory(out) as writing:
        _write_shards(writing, shapes, dtype, shard_bytes, stored)
        precision = str(dtype).removeprefix("torch.")
        write_config(writing, phi_config(described.config, described.vocab_size, described.context, ending, precision))
        special = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), END_OF_TEXT)
        _write_json(
            writing / "generation_config.json",
            {"bos_token_id": ending, "do_sample": False, "eos_token_id": ending, "pad_token_id": ending},
        )
        _write_json(
            writing / "tokenizer_config.json",
            {
                "add_prefix_space": False,
                **special,
                "clean_up_tokenization_spaces": False,
                "model_max_length": described.context,
                "tokenizer_class": "PreTrainedTokenizerFast",
            },
        )
        _write_json(writing / "special_tokens_map.json", special)
        shutil.copyfile(model / TOKENIZER, writing / TOKENIZER)
        (writing / "README.md").write_text(model_card(model, described, out.resolve().name), encoding="utf-8")
    return sorted(out.iterdir())


def _with_tokenizer(source: Path, described: Described, tokenizer: Tokenizer) -> Described:
    """The description with the number of the tokenizer's entries, beyond which rows are padding."""
    rows, count, ending = described.rows, entries(tokenizer), end_of_text(tokenizer)
    if count > rows:
        raise UserError(
            f"{source / CONFIG}: vocab_size is {rows}, and the tokenizer beside it has {count} entries; they do not "
            f"belong together"
        )
    if described.end_of_text not in (None, ending):
        raise UserError(
            f"{source / CONFIG}: eos_token_id is {described.end_of_text}, and {END_OF_TEXT} of its tokenizer {ending}; "
            f"mend the one that is wrong"
        )
    shape = described.config.model_copy(update={"padded_vocab_size": rows if rows > count else None})
    return replace(described, config=shape, vocab_size=count)


def _shapes(described: Described) -> dict[str, Shape]:
    """Every parameter of the model and its shape."""
    with torch.device("meta"):
        phi = Phi(described.config, described.vocab_size, 1)
    return {name: tuple(parameter.shape) for name, parameter in phi.named_parameters()}


def _compare(stored: Stored, shapes: dict[str, Shape]) -> None:
    """Raise UserError for the first tensor that is missing, of another shape, or of no use to a phi."""
    where = stored.directory
    for name, shape in shapes.items():
        if name not in stored.files:
            raise UserError(f"{where}: its weights hold no {name}; this is no whole PhiForCausalLM of its {CONFIG}")
        if (found := stored.shape(name)) != shape:
            raise UserError(f"{where}: {name} is {found}, and must be {shape} by its {CONFIG}")
    for name in stored.files:
        if name not in shapes and not name.endswith(BUFFERS):
            raise UserError(f"{where}: its weights hold {name}, which a phi of its {CONFIG} does not have")


def _write_shards(directory: Path, shapes: dict[str, Shape], dtype: torch.dtype, limit: int, stored: Stored) -> None:
    sizes = {name: torch.empty((), dtype=dtype).element_size() * torch.Size(shapes[name]).numel() for name in shapes}
    shards = list(_cut(sizes, limit))
    if len(shards) == 1:
        write_weights(directory / WEIGHTS, shapes, dtype, stored.tensor)
        return
    files: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_weights(directory / file, {name: shapes[name] for name in names}, dtype, stored.tensor)
        files |= dict.fromkeys(names, file)
    _write_json(directory / INDEX, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": files})


def _cut(sizes: dict[str, int], limit: int) -> Iterator[list[str]]:
    """Names in order, in lists of `limit` bytes at most; a tensor above it stands alone."""
    names: list[str] = []
    size = 0
    for name, own in sizes.items():
        if names and size + own > limit:
            yield names
            names, size = [], 0
        names.append(name)
        size += own
    yield names


def _write_json(path: Path, fields: object) -> None:
    path.write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def _new_directory(out: Path) -> Iterator[Path]:
    """A directory to write into, which gets the name `out` when the block ends well and is removed when it does not."""
    if out.exists():
        raise UserError(f"--out {out}: is there already; name a new directory")
    out.parent.mkdir(parents=True, exist_ok=True)
    writing = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        writing.chmod(0o755)
        yield writing
        writing.rename(out)
    finally:
        shutil.rmtree(writing, ignore_errors=True)
