"""The rows that flow between stages: frozen, typed, without behaviour.

Each class is the schema of one table (`tables.py` derives the Parquet columns from the fields). Allowed field types are
`str`, `int`, `float`, `bool` and `tuple[str, ...]`.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

OutcomeKind = Literal["passed", "failed", "timeout", "error", "unscored"]


def content_id(text: str) -> str:
    """The stable id of a text: the first 128 bits of its BLAKE2b digest, as 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Document:
    """A text of the corpus, or a synthetic textbook section."""

    id: str  # content_id(text)
    text: str
    source: str  # the package, file or generator it came from
    meta: str  # a JSON object


@dataclass(frozen=True, slots=True)
class ScoredDocument:
    """A document with the classifier's estimate of its educational value, in 0 to 5."""

    id: str
    text: str
    source: str
    meta: str
    score: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that left the flow, and why."""

    id: str
    step: str
    reason: str  # one of a few fixed words of the step, so that counts by reason mean something
    detail: str  # free text: where, how much, against what


@dataclass(frozen=True, slots=True)
class Failed:
    """A row for which a teacher gave nothing of use: an error, never a judgement."""

    id: str  # of the row; of the request where there is no row yet
    step: str
    reason: str  # a fixed word: no reply, rejected, refused, cut off, empty, unparsed, wrong schema, …
    detail: str
    raw: str  # the reply as it came
    request: str  # id of the request


@dataclass(frozen=True, slots=True)
class Topic:
    """A node of a tree of topics."""

    id: str  # content_id of the path
    title: str
    path: str  # titles from the root to this node, joined by ` > `
    level: int  # 0: a root
    origin: str  # `seed`, or the teacher that proposed it
    request: str  # id of the request; empty for a seed


@dataclass(frozen=True, slots=True)
class TestSet:
    """Tests for an exercise written without sight of its solution."""

    id: str  # of the exercise
    number: int  # 1 for the first set beside the exercise's own
    tests: tuple[str, ...]
    request: str

    __test__ = False  # the name is ours, not pytest's


@dataclass(frozen=True, slots=True)
class Rating:
    """A teacher's rating of one document (phi-1, section 2.1)."""

    id: str
    score: float  # 0 to 5
    rationale: str
    teacher: str
    request: str  # id of the request


@dataclass(frozen=True, slots=True)
class PlacedRating:
    """A rating of a document in a user's own files."""

    path: str
    line: int  # of a JSONL file or row of a Parquet file, from 1; 0 where the file is one document
    id: str
    score: float
    rationale: str
    teacher: str
    request: str


@dataclass(frozen=True, slots=True)
class Exercise:
    """A function to complete and how to check it (phi-1, section 2.2: CodeExercises)."""

    id: str  # content_id(prompt + solution)
    topic: str
    name: str  # of the function or class to complete
    prompt: str  # imports, signature and docstring; ends in a newline
    solution: str  # the indented body; prompt + solution is a runnable program
    tests: tuple[str, ...]  # assert statements; never trained on
    request: str  # id of the request


@dataclass(frozen=True, slots=True)
class Problem:
    """One item of a code test set."""

    task_id: str
    prompt: str
    entry_point: str
    reference: str  # a completion of `prompt` that passes
    tests: tuple[str, ...]  # statements run after the program, in order
    protocol: str  # how prompt, completion and tests are put together; see testsets.py


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one sample of one problem. `error` is ours and never counts as wrong."""

    task_id: str
    sample: int
    outcome: OutcomeKind
    detail: str
    protocol: str = "values"  # or `objects`: the tests held objects of the program's own classes


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote for one sample of one problem: raw, and as cut at the stop strings."""

    task_id: str
    sample: int
    prompt: str
    raw: str
    text: str


@dataclass(frozen=True, slots=True)
class GradedSample:
    """What became of one line of a file of samples."""

    line: int  # of the file, from 1
    task_id: str
    sample: int  # of the samples of this task, from 0
    outcome: OutcomeKind
    detail: str
    cpu_seconds: float  # of the program, without its tests
    memory_mb: float  # at its peak
    protocol: str  # `values`: plain data crossed to the tests; `objects`: also objects of the program's own classes
    isolation: str  # what shut the program in
