"""The frozen evaluation sets: the one definition of "the test set".

A set is its problems, not a file: the checksum is taken over the canonical JSON of the problems, so that the authors'
JSONL and the Hugging Face hub's Parquet of the same content agree, and a changed byte in either is noticed.

How prompt, completion and tests are put together (`Problem.protocol`):

- `humaneval`: prompt + completion, then the authors' test module, then `check(entry_point)`.
- `mbpp`: the prompt is a module docstring of the task's text and its three asserts, one a line (as InCoder
  was asked; without the asserts the function's name could only be guessed). prompt + completion, then
  the set-up code where there is any, then the asserts. CR LF line ends stay as the authors have them.
- `mbpp-sanitized`: as `mbpp`, of the 427 tasks its authors looked through by hand; the imports of a test come first.
- `drill`: prompt + completion, then the asserts. Held-out compositions of the grammar our exercises come from.
- `unconventional`: the same; 50 problems of this project, unlike what its generator makes (phi-1, section 4).
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hornbook import setfiles
from hornbook.errors import UserError
from hornbook.records import Problem
from hornbook.setfiles import Row, SetFiles, UnavailableError


@dataclass(frozen=True, slots=True)
class Source(SetFiles):
    """Where the rows of a set are found and how a row becomes a problem."""

    problem: Callable[[Row], Problem]
    wanted: Callable[[Row], bool]
    checksum: str  # see checksum()


def humaneval_problem(row: Row) -> Problem:
    """A row of openai/human-eval."""
    tests = (row["test"], f"check({row['entry_point']})")
    return Problem(
        row["task_id"], row["prompt"], row["entry_point"], row["canonical_solution"], tests, protocol="humaneval"
    )


def mbpp_problem(row: Row) -> Problem:
    """A row of google-research/mbpp."""
    asserts = "\n".join(row["test_list"])
    setup = (row["test_setup_code"],) if row["test_setup_code"] else ()
    return Problem(
        task_id=f"MBPP/{row['task_id']}",
        prompt=f'"""\n{row["text"]}\n{asserts}\n"""\n',
        entry_point=entry_point_of(row["code"], row["test_list"][0]),
        reference=row["code"],
        tests=(*setup, *row["test_list"]),
        protocol="mbpp",
    )


def sanitized_problem(row: Row) -> Problem:
    """A row of the sanitized subset of google-research/mbpp: the same form, other names."""
    return mbpp_problem({**row, "text": row["prompt"], "test_setup_code": "\n".join(row["test_imports"])})


def entry_point_of(code: str, test: str) -> str:
    """The first function or class of `code` that `test` names. By pattern: some of the code warns when parsed."""
    defined = {match[1] for match in re.finditer(r"^(?:def|class)\s+(\w+)", code, re.MULTILINE)}
    return next(match[0] for match in re.finditer(r"\w+", test) if match[0] in defined)


def drill_problem(row: Row) -> Problem:
    """A row of our own file, in the fields of Problem."""
    return Problem(**{**row, "tests": tuple(row["tests"])})


HUMANEVAL_FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")
MBPP_FIELDS = ("task_id", "text", "code", "test_setup_code", "test_list")
SANITIZED_FIELDS = ("task_id", "prompt", "code", "test_imports", "test_list")
DRILL_FIELDS = ("task_id", "prompt", "entry_point", "reference", "tests", "protocol")

SOURCES = {
    "humaneval": Source(
        file="humaneval/HumanEval.jsonl.gz",
        repository="openai/openai_humaneval",
        revision="7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
        hub_files=("openai_humaneval/test-00000-of-00001.parquet",),
        fields=HUMANEVAL_FIELDS,
        problem=humaneval_problem,
        wanted=lambda row: True,
        checksum="b4e9c088dcc07486b39b44f243a900aa1487eaa9fa3e369728453af49a760531",
    ),
    "mbpp": Source(
        file="mbpp/mbpp.jsonl.gz",
        repository="google-research-datasets/mbpp",
        revision="4bb6404fdc6cacfda99d4ac4205087b89d32030c",
        hub_files=("full/test-00000-of-00001.parquet",),
        fields=MBPP_FIELDS,
        problem=mbpp_problem,
        wanted=lambda row: bool(11 <= row["task_id"] <= 510),  # the authors' test split
        checksum="825f665d67926103f3c50a656fba6c16db3ca8a9661cb9766eef708e6b3234ed",
    ),
    "mbpp-sanitized": Source(
        file="mbpp/sanitized-mbpp.json.gz",
        repository="google-research-datasets/mbpp",
        revision="4bb6404fdc6cacfda99d4ac4205087b89d32030c",
        hub_files=tuple(
            f"sanitized/{split}-00000-of-00001.parquet" for split in ("train", "test", "validation", "prompt")
        ),
        fields=SANITIZED_FIELDS,
        problem=sanitized_problem,
        wanted=lambda row: True,  # all 427: no model of ours is trained on any of them
        checksum="fb77eaab98c16f97b68289fa839e4382a2471784e1fe942b137cf41ab94df9d8",
    ),
    "drill": Source(
        file="drill.jsonl.gz",
        repository="",
        revision="",
        hub_files=(),
        fields=DRILL_FIELDS,
        problem=drill_problem,
        wanted=lambda row: True,
        checksum="de2e65cf1609c7d3a6b6b5efbb45c232e69e0a87b5c53073925142a175f55c71",
    ),
    "unconventional": Source(
        file="unconventional.jsonl",
        repository="",
        revision="",
        hub_files=(),
        fields=DRILL_FIELDS,
        problem=drill_problem,
        wanted=lambda row: True,
        checksum="76c078ee9a733f102356c043ddf1592b14781d07f28f3d00e92bbe0420dba7cc",
    ),
}
NAMES = tuple(SOURCES)

__all__ = ["NAMES", "SOURCES", "UnavailableError", "checksum", "checksum_here", "find", "load"]


def load(name: str) -> tuple[Problem, ...]:
    """The problems of a set, in the authors' order, from this machine or else from the hub.

    Raises UnavailableError where it is in neither place, UserError where the file found holds something else.
    """
    path = find(name) or setfiles.fetch(name, SOURCES[name], lambda partial: _load_file(name, partial))
    return _load_file(name, path)


def find(name: str) -> Path | None:
    """The file that holds a set on this machine."""
    return setfiles.find(name, SOURCES[name])


def checksum_here(name: str) -> str | None:
    """The checksum of a set found on this machine, checked; None where it is not here. Fetches nothing."""
    path = find(name)
    return checksum(_load_file(name, path)) if path else None


def checksum(problems: Iterable[Problem]) -> str:
    """SHA-256 of the problems as JSON arrays, one a line, in ASCII."""
    digest = hashlib.sha256()
    for p in problems:
        row = [p.task_id, p.prompt, p.entry_point, p.reference, p.tests, p.protocol]
        digest.update(json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n")
    return digest.hexdigest()


def _load_file(name: str, path: Path) -> tuple[Problem, ...]:
    source = SOURCES[name]
    try:
        rows = [row for row in setfiles.read_rows(path, source.fields) if source.wanted(row)]
        if "mbpp" in name:  # the hub's splits, one behind the other, are not in the authors' order
            rows.sort(key=lambda row: int(row["task_id"]))
        problems = tuple(source.problem(row) for row in rows)
    except (OSError, EOFError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise UserError(f"{path}: not the test set {name} ({error}); put the original file in its place") from error
    found = checksum(problems)
    if found != source.checksum:
        raise UserError(
            f"{path}: {len(problems)} problems with checksum {found[:12]}, not those of the frozen test set {name} "
            f"({source.checksum[:12]}); put the original file in its place"
        )
    return problems
