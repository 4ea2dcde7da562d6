"""Identities: the same description always gives the same hash, and what has no stable description is refused."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from hornbook.run.step import Step

IDENTITY_DIGITS = 12  # of a directory's name: 48 bits, a collision in a million steps is a chance of 1 in 500


def encode(value: Any, place: str = "config") -> Any:
    """A JSON value that describes `value` and nothing else.

    Raises TypeError for a value with no stable encoding (sets, paths, functions, NaN), naming its place.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{place}: {value} has no stable encoding")
        return {"float": repr(value)}  # 1.0 and 1 are different configurations of the same field only by type
    if isinstance(value, BaseModel):
        return {name: encode(getattr(value, name), f"{place}.{name}") for name in type(value).model_fields}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{place}: the key {key!r} is no string, so it has no stable encoding")
        return {key: encode(value[key], f"{place}.{key}") for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [encode(item, f"{place}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"{place}: a {type(value).__name__} has no stable encoding")


def decode(value: Any) -> Any:
    """What `encode` was given, as JSON has it: to be read by a person."""
    if isinstance(value, dict):
        return float(value["float"]) if set(value) == {"float"} else {key: decode(one) for key, one in value.items()}
    return [decode(item) for item in value] if isinstance(value, list) else value


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of an encoded value, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def identity(step: Step) -> str:
    """The identity of a step: its name, function, version, config, content and the identities of its inputs."""
    return digest(
        {
            "name": step.name,
            "function": step.function,
            "version": step.version,
            "config": encode(step.config),
            "content": encode(step.content, "content"),
            "inputs": {name: identity(source) for name, source in sorted(step.inputs.items())},
        }
    )


def directory_name(step: Step) -> str:
    """Where the step's output stands below the work directory."""
    return f"{step.name}-{identity(step)[:IDENTITY_DIGITS]}"
