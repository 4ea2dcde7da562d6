"""`config.json` in the fields of transformers' `PhiForCausalLM`: written, and read with every difference refused."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hornbook.errors import UserError
from hornbook.model.shape import embedding_rows
from hornbook.recipe import ModelConfig

CONFIG = "config.json"
ROTARY_BASE = 10000.0
NORM_EPSILON = 1e-5
INIT_STD = 0.02
ENTRIES = "tokenizer_entries"  # a field of ours: rows of the embedding beyond them stand for no token

# Above these a file describes no model: memory would be asked for before its weights are looked at.
LARGEST = {
    "num_hidden_layers": 1024,
    "hidden_size": 2**17,
    "vocab_size": 2**24,
    ENTRIES: 2**24,
    "max_position_embeddings": 2**20,
}

# What a phi of ours computes, by field: the values that mean the same, and what transformers takes where none is given.
FIXED: dict[str, tuple[tuple[object, ...], object]] = {
    "model_type": (("phi",), None),
    "hidden_act": (("gelu_new", "gelu_pytorch_tanh"), "gelu_new"),
    "layer_norm_eps": ((NORM_EPSILON,), NORM_EPSILON),
    "qk_layernorm": ((False,), False),
    "tie_word_embeddings": ((False,), False),
}


@dataclass(frozen=True, slots=True)
class Described:
    """What a model's config.json says."""

    config: ModelConfig
    vocab_size: int  # entries of the tokenizer; all rows of the embedding where the file does not say
    context: int
    end_of_text: int | None

    @property
    def rows(self) -> int:
        """Of embedding and head."""
        return embedding_rows(self.config, self.vocab_size)


def phi_config(
    config: ModelConfig, vocab_size: int, context: int, end_of_text: int, precision: str = "float32"
) -> dict[str, Any]:
    """The fields of a model whose tokenizer has `vocab_size` entries, and ends documents by the id `end_of_text`."""
    return {
        "architectures": ["PhiForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": end_of_text,
        "embd_pdrop": 0.0,
        "eos_token_id": end_of_text,
        "hidden_act": "gelu_new",
        "hidden_size": config.hidden,
        "initializer_range": INIT_STD,
        "intermediate_size": 4 * config.hidden,
        "layer_norm_eps": NORM_EPSILON,
        "max_position_embeddings": context,
        "model_type": "phi",
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "num_key_value_heads": config.heads,
        "partial_rotary_factor": config.rotary_share,
        "qk_layernorm": False,
        "resid_pdrop": 0.0,
        "rope_theta": ROTARY_BASE,
        "tie_word_embeddings": False,
        ENTRIES: vocab_size,
        "torch_dtype": precision,
        "vocab_size": embedding_rows(config, vocab_size),
    }


def write_config(directory: Path, fields: Mapping[str, Any]) -> None:
    """Write `config.json`."""
    (directory / CONFIG).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def read_config(directory: Path) -> Described:
    """What `config.json` describes, where a phi of ours computes the same.

    Raises UserError where the file is missing or damaged, or describes a network we do not build.
    """
    path = directory / CONFIG
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a phi's configuration ({_line(error)})") from error
    if not isinstance(fields, dict):
        raise UserError(f"{path}: not a phi's configuration (no JSON object)")
    _refuse_others(path, fields)
    rope = fields.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        raise UserError(f"{path}: not a phi's configuration (rope_parameters is no object)")
    for name in ("num_hidden_layers", "hidden_size"):
        _count(path, fields, name)
    rows, context = _count(path, fields, "vocab_size"), _count(path, fields, "max_position_embeddings")
    entries = _count(path, fields, ENTRIES) if ENTRIES in fields else rows
    end_of_text = fields.get("eos_token_id")
    try:
        rotary_share: Any = rope.get("partial_rotary_factor", fields.get("partial_rotary_factor", 0.5))
        config = ModelConfig(
            layers=fields["num_hidden_layers"],
            hidden=fields["hidden_size"],
            heads=fields["num_attention_heads"],
            rotary_share=rotary_share,
            padded_vocab_size=rows if entries != rows else None,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: not a phi's configuration ({where or 'shape'}: {first['msg']})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a phi's configuration ({_line(error)})") from error
    if end_of_text is not None and (type(end_of_text) is not int or not 0 <= end_of_text < entries):
        raise UserError(f"{path}: eos_token_id is {end_of_text!r}, and must be one id of the {entries} entries")
    embedding_rows(config, entries)
    return Described(config, entries, context, end_of_text)


def _count(path: Path, fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int or not 0 < value <= LARGEST[name]:
        raise UserError(f"{path}: not a phi's configuration ({name} is {value!r})")
    return value


def _refuse_others(path: Path, fields: Mapping[str, Any]) -> None:
    """Raise UserError for the first field that makes another network than ours."""
    if fields.get("auto_map"):
        raise UserError(
            f"{path}: `auto_map` names code to run, which hornbook never does; export the model as PhiForCausalLM"
        )
    for name, (same, default) in FIXED.items():
        value = fields.get(name, default)
        if value not in same:
            wanted = " or ".join(json.dumps(each) for each in same)
            raise UserError(f"{path}: {name} is {json.dumps(value)}; a phi of hornbook has {wanted}")
    heads, hidden = fields.get("num_attention_heads"), fields.get("hidden_size")
    if fields.get("num_key_value_heads") not in (None, heads):
        raise UserError(
            f"{path}: num_key_value_heads is {fields['num_key_value_heads']!r} beside {heads!r} heads; a phi of "
            f"hornbook has keys and values for every head"
        )
    inner = fields.get("intermediate_size")
    if type(hidden) is int and inner not in (None, 4 * hidden):
        raise UserError(f"{path}: intermediate_size is {inner!r}; a phi of hornbook has 4 × hidden_size, {4 * hidden}")
    rope = fields.get("rope_parameters") or {}
    base = rope.get("rope_theta") if isinstance(rope, dict) else None
    if (fields.get("rope_theta", ROTARY_BASE) if base is None else base) != ROTARY_BASE:
        raise UserError(f"{path}: rope_theta is not {ROTARY_BASE:g}, with which a phi of hornbook turns")
    scaling = fields.get("rope_scaling") or (rope if isinstance(rope, dict) else None) or {}
    kind = scaling.get("rope_type", scaling.get("type", "default")) if isinstance(scaling, dict) else scaling
    if kind != "default":
        raise UserError(f"{path}: rotary positions are scaled ({kind!r}); a phi of hornbook takes them as they are")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
