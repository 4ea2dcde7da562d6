"""The tree is the pipeline: a module imports from the lines above it, never from those below (docs/decisions/0001)."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "hornbook"
ORDER = [
    "errors",
    "hub",
    "records",
    "recipe",
    "step_config",
    "recipe_file",
    "tables",
    "setfiles",
    "testsets",
    "rowsets",
    "run",
    "model",
    "sandbox",
    "prompts",
    "teacher",
    "corpus",
    "curate",
    "synthesize",
    "tokens",
    "train",
    "evaluate",
    "report",
    "pipeline",
    "plan",
    "doctor",
    "on_files",
    "why_miss",
    "terminal",
    "terminal_scores",
    "stage_commands",
    "model_commands",
    "evaluation_commands",
    "cli",
]
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.name != "__init__.py")


def place(module):
    return ORDER.index(module.split(".")[1])


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hornbook."):
            yield node.module
        elif isinstance(node, ast.ImportFrom) and node.module == "hornbook":
            yield from (f"hornbook.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("hornbook."))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_point_up(path):
    own = "hornbook." + ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for module in imported(path):
        assert place(module) <= place(own), f"{own} imports {module}, which stands below it"


def test_packages_hold_no_code_in_their_init():
    for path in SOURCE.rglob("__init__.py"):
        assert path.read_text() == "", f"{path} re-exports or runs something"
