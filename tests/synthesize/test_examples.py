"""The code of sections is run: what fails is dropped or marked, and says why."""

import json

import pytest

from hornbook.recipe import MachineConfig, VerifyConfig
from hornbook.records import Document, Dropped, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.step_config import ExamplesStep
from hornbook.synthesize.examples import program_in, run_examples
from hornbook.tables import read_rows, write_rows

SECTIONS = {
    "runs": "# A\n\nText.\n\n```python\ndef f(x):\n    return x\n```\n\nMore.\n\n```python\nprint(f(2))\n```\n",
    "fails": "# B\n\n```python\nprint(undefined)\n```\n",
    "loops": "# C\n\n```py\nwhile True:\n    pass\n```\n",
    "prose": "# D\n\nNothing to run: `1/0` and\n\n```text\n1/0\n```\n",
    "session": "# E\n\n```python\n>>> x = 3\n>>> x / 1\n3.0\n```\n",
    "bad session": "# F\n\n```\n>>> 1/0\n```\n",
}


def run(directory, failing):
    directory.mkdir()
    (directory / "in").mkdir()
    (directory / "out").mkdir()
    rows = [
        Document(content_id(text), text, "textbook", json.dumps({"topic": name})) for name, text in SECTIONS.items()
    ]
    write_rows(directory / "in" / "documents.parquet", Document, rows)
    limits = VerifyConfig(cpu_seconds=1.0, memory_mb=256, failure_limit=0.0, failing_sections=failing)
    work = Workspace(directory / "out", MachineConfig(workers=1), Silent(), directory, "test")
    result = run_examples(ExamplesStep(verify=limits), {"documents": directory / "in"}, work)
    assert result.counts.balanced()
    kept = {
        json.loads(r.meta)["topic"]: json.loads(r.meta)["code"]
        for r in read_rows(directory / "out/documents.parquet", Document)
    }
    dropped = {row.id: (row.reason, row.detail) for row in read_rows(directory / "out/dropped.parquet", Dropped)}
    return (
        result,
        kept,
        {name: dropped[content_id(text)] for name, text in SECTIONS.items() if content_id(text) in dropped},
    )


def test_sections_whose_code_fails_are_dropped(tmp_path):
    result, kept, dropped = run(tmp_path / "run", "drop")
    assert kept == {"runs": "ran", "prose": "none", "session": "ran"}
    assert dropped == {
        "fails": ("code failed", "program: NameError: name 'undefined' is not defined"),
        "loops": ("code timeout", "CPU time over 1 s"),
        "bad session": ("code failed", "program: ZeroDivisionError: division by zero"),
    }
    assert result.facts["code"] == {"failed": 2, "none": 1, "ran": 2, "timeout": 1}


def test_or_marked(tmp_path):
    result, kept, dropped = run(tmp_path / "run", "mark")
    assert kept == {
        "runs": "ran",
        "fails": "failed",
        "loops": "timeout",
        "prose": "none",
        "session": "ran",
        "bad session": "failed",
    }
    assert dropped == {}
    assert result.counts.kept == 6


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("```python\na\n```", "a\n"),
        ("~~~py\na\n~~~", "a\n"),
        ("````python\n```\na\n````", "```\na\n"),
        ("```js\na\n```", ""),
        ("```python\nunclosed", ""),
        ("    ```python\n    a\n", ""),
        ("```python title=x\na\n```\n```python\nb\n```", "a\n\nb\n"),
        ("`" * 500_000, ""),
        ("```x\n" * 200_000, ""),
    ],
)
def test_blocks(text, program):
    assert program_in(text) == program
