"""The JSON file of an evaluation: every task's score, and every item with its answer."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hornbook.errors import UserError

FORMAT = 1


class _Strict(BaseModel):
    """Nothing is read as what it is not: no text as a number, no NaN."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Model(_Strict):
    name: str
    engine: str
    precision: str
    device: str


class _Item(_Strict):
    id: str
    prompt_hash: str
    outcome: str
    score: float | None
    output: str | list[tuple[float | None, int, bool]] | None = ""


class _Beside(_Strict):
    value: float | None
    low: float | None
    high: float | None


class _Task(_Strict):
    metric: str
    family: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    failed: int
    version: int
    reason: str = ""
    prompts_cut: int = 0
    acc_norm: _Beside | None = None
    f1: _Beside | None = None
    understanding: _Beside | None = None
    items: list[_Item] = []

    @field_validator("items")
    @classmethod
    def _once(cls, items: list[_Item]) -> list[_Item]:
        twice = [key for key, count in Counter((item.id, item.prompt_hash) for item in items).items() if count > 1]
        if twice:
            raise ValueError(f"item {twice[0][0][:80]!r} stands twice")
        return items


class _Result(_Strict):
    """What is relied on of a file; tasks add fields of their own."""

    format: Literal[1]
    model: _Model
    limit: Annotated[int, Field(ge=1)] | None
    tasks: dict[str, _Task]


def is_result(path: Path) -> bool:
    """Whether a path is a file that `evaluate` wrote, by its first characters."""
    if not path.is_file():
        return False
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(40).replace(" ", "").startswith('{\n"format":')


def read_result(path: Path) -> dict[str, Any]:
    """A result that was written. Raises UserError for a file that is none."""
    try:
        text = path.read_text(encoding="utf-8")
        _Result.model_validate_json(text)
        result: dict[str, Any] = json.loads(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path}: {where}: {first['msg']}; give a file that `hornbook eval` wrote") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: cannot be read ({type(error).__name__}); give a file that `hornbook eval` wrote"
        ) from error
    return result


def without_items(result: Mapping[str, Any]) -> dict[str, Any]:
    """The scores alone."""
    short = {name: {k: v for k, v in task.items() if k != "items"} for name, task in result["tasks"].items()}
    return {**result, "tasks": short}


def write_result(result: Mapping[str, Any], out: Path) -> None:
    """Write a result whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        scratch.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        scratch.replace(out)
    except OSError as error:
        raise UserError(f"{out}: {error.strerror}; mend that, and the same command goes on") from error
    finally:
        scratch.unlink(missing_ok=True)


def difference(row: Any, owner: dict[str, Any]) -> str:
    """The first field, by its path, in which the first line of a file differs from what it should be."""
    if not isinstance(row, dict):
        return "its first line says nothing"
    for key in [*owner, *(key for key in row if key not in owner)]:
        one, other = row.get(key), owner.get(key)
        if one != other:
            if isinstance(one, dict) and isinstance(other, dict):
                return f"{key}.{difference(one, other)}"
            return f"{key} {one!r} there, {other!r} here"
    return ""
