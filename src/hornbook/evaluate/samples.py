"""Samples of a model in the field's format: JSON lines with a task id and a completion or a whole solution."""

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hornbook.errors import UserError
from hornbook.records import Problem

LINE_BYTES = 32 << 20  # a longer line is no sample


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of the file: a program for a task, or why it is none."""

    line: int
    task_id: str
    number: int  # of the samples of this task, from 0
    source: str
    fault: str = ""


def read_samples(path: Path, problems: Mapping[str, Problem]) -> Iterator[Sample]:
    """The lines of a samples file (`.jsonl`, `.jsonl.gz`), one at a time; blank lines are passed over.

    `completion` goes behind the problem's prompt, as the field's tools have it; `solution` is a program by itself. A
    line that is no sample comes with its fault, so that no other line is lost with it. Raises UserError where the file
    cannot be read.
    """
    known = {_plain_id(task_id): task_id for task_id in problems}
    counts: dict[str, int] = {}
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as lines:
            number = 0
            while line := lines.readline(LINE_BYTES + 1):
                number += 1
                if len(line) > LINE_BYTES:
                    while line and not line.endswith(b"\n"):
                        line = lines.readline(LINE_BYTES)
                    yield Sample(number, "", 0, "", f"longer than {LINE_BYTES >> 20} MB")
                    continue
                if not line.strip():
                    continue
                sample = _parse(number, line, known, problems)
                if sample.fault:
                    yield sample
                    continue
                count = counts.get(sample.task_id, 0)
                counts[sample.task_id] = count + 1
                yield Sample(number, sample.task_id, count, sample.source)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error}); give a file of JSON lines") from error


def _parse(number: int, line: bytes, known: Mapping[str, str], problems: Mapping[str, Problem]) -> Sample:
    def fault(why: str) -> Sample:
        return Sample(number, "", 0, "", why)

    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return fault(f"not JSON ({error})")
    if not isinstance(row, dict):
        return fault("not a JSON object")
    if "task_id" not in row:
        return fault("has no field `task_id`")
    task_id = known.get(_plain_id(row["task_id"]))
    if task_id is None:
        return fault(f"the test set has no task {row['task_id']!r}"[:200])
    written = [name for name in ("completion", "solution") if isinstance(row.get(name), str)]
    if len(written) != 1:
        return fault(
            "has both a `completion` and a `solution`" if written else "has no text `completion` or `solution`"
        )
    text = row[written[0]]
    return Sample(number, task_id, 0, problems[task_id].prompt + text + "\n" if written[0] == "completion" else text)


def _plain_id(task_id: object) -> str:
    """A task id without what tools write differently: `Mbpp/11`, `MBPP/11` and 11 are one."""
    text = str(task_id).lower()
    return re.sub(r"^mbpp/", "", text)
