"""The JSON file of an evaluation: every task's score, and every item with its answer."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hornbook.errors import UserError

FORMAT = 1


def is_result(path: Path) -> bool:
    """Whether a path is a file that `evaluate` wrote, by its first characters."""
    if not path.is_file():
        return False
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(40).replace(" ", "").startswith('{\n"format":')


def read_result(path: Path) -> dict[str, Any]:
    """A result that was written. Raises UserError for a file that is none."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: cannot be read ({type(error).__name__}); give a file that `hornbook eval` wrote"
        ) from error
    if not isinstance(result, dict) or result.get("format") != FORMAT or not isinstance(result.get("tasks"), dict):
        raise UserError(f"{path}: not a result of `hornbook eval` (format {FORMAT}); give a file that it wrote")
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
        scratch.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        scratch.replace(out)
    finally:
        scratch.unlink(missing_ok=True)
