"""One file of the corpus as texts, each usable or with the reason why not."""

import ast
import gzip
import io
import json
import os
import re
import textwrap
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from hornbook.corpus.listing import SourceFile
from hornbook.errors import UserError
from hornbook.records import content_id

BATCH_ROWS = 64
# A JSON string may take 6 bytes for one byte of text (\u0041), and a row has other columns: a longer line than this
# many times the largest document is skipped without being held in memory.
LINE_FACTOR = 8
LINE_EXTRA_BYTES = 1 << 20
METADATA_HEADER_BYTES = 1 << 20  # above a distribution's description: some hold the text of a licence
TOPICS_BYTES = 1 << 24  # of the help topics, half a megabyte today
OTHER_FIELD = re.compile(r"^[A-Za-z][A-Za-z-]*:", re.M)  # of metadata, where a field that went over lines has ended
CONTINUATION = re.compile(r"^ {7}\|", re.M)  # how some tools mark the lines of a field that goes on


@dataclass(frozen=True, slots=True)
class Found:
    """One text of a file, or what stood in its place."""

    line: int  # of a JSONL file, or number of a Parquet row or a help topic, from 1; 0 where the file is one text
    id: str  # content_id of the text; where there is no text, of the place
    text: str
    size: int  # bytes of the text in UTF-8
    reason: str  # empty: usable
    detail: str

    def place(self, file: SourceFile) -> str:
        """Where it stands, for a person."""
        return f"{file.name}, line {self.line}" if self.line else file.name


def read_texts(file: SourceFile, max_bytes: int) -> Iterator[Found]:
    """The texts of a file, in order.

    What cannot be used carries one of the reasons `unreadable`, `bad UTF-8`, `bad JSON`, `no text`, `empty` and
    `too long`; nothing is left out in silence.

    Raises UserError where a Parquet file has no text column of that name.
    """
    if file.path.exists() and not file.path.is_file():
        yield _unusable(file, 0, "unreadable", "a pipe or a device, not a file")
    elif file.form == "text":
        yield _read_text(file, max_bytes)
    elif file.form == "description":
        yield _read_description(file, max_bytes)
    elif file.form == "topics":
        yield from _read_topics(file, max_bytes)
    elif file.name.endswith(".parquet"):
        yield from _read_parquet(file, max_bytes)
    else:
        yield from _read_jsonl(file, max_bytes)


def _read_text(file: SourceFile, max_bytes: int) -> Found:
    try:
        with open(file.path, "rb") as stream:
            data = stream.read(max_bytes + 1)
            size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        return _unusable(file, 0, "unreadable", str(error.strerror))
    if len(data) > max_bytes:
        return _unusable(file, 0, "too long", f"{size} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _unusable(file, 0, "bad UTF-8", f"byte 0x{data[error.start]:02x} at {error.start}")
    if "\r" in text:  # line ends as Python's own text files give them
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _judge(file, 0, text.removeprefix("\ufeff"), max_bytes)


def _read_description(file: SourceFile, max_bytes: int) -> Found:
    """The long description of a distribution: what follows the header of its metadata; in old ones, a field of it."""
    found = _read_text(file, max_bytes + METADATA_HEADER_BYTES)
    if found.reason:
        return found
    header, _, text = found.text.partition("\n\n")
    if not text.strip():
        field = header.partition("\nDescription:")[2]
        end = OTHER_FIELD.search(field)
        first, _, rest = field[: end.start() if end else None].partition("\n")
        text = f"{first.strip()}\n{textwrap.dedent(CONTINUATION.sub('', rest))}"
    return _judge(file, 0, f"{text.strip()}\n", max_bytes)


def _read_topics(file: SourceFile, max_bytes: int) -> Iterator[Found]:
    """The texts of `topics = {name: text, …}`, a Python file that is read and not run."""
    whole = _read_text(file, TOPICS_BYTES)
    if whole.reason:
        yield whole
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in its strings
            assigned = next(node.value for node in ast.parse(whole.text).body if isinstance(node, ast.Assign))
        topics = ast.literal_eval(assigned)
        texts = [str(text) for text in topics.values()]
    except (SyntaxError, ValueError, AttributeError, StopIteration) as error:
        yield _unusable(file, 0, "unreadable", f"not a dictionary of topics ({type(error).__name__})")
        return
    for number, text in enumerate(texts, 1):
        yield _judge(file, number, text, max_bytes)


def _read_jsonl(file: SourceFile, max_bytes: int) -> Iterator[Found]:
    limit = LINE_FACTOR * max_bytes + LINE_EXTRA_BYTES
    number = 0
    try:
        with open_lines(file.path) as stream:
            while line := stream.readline(limit):
                number += 1
                if len(line) == limit and not line.endswith(b"\n"):
                    while (rest := stream.readline(limit)) and not rest.endswith(b"\n"):
                        pass
                    yield _unusable(file, number, "too long", f"a line of more than {limit} bytes")
                elif line.strip():
                    yield _read_line(file, number, line, max_bytes)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        yield _unusable(file, number + 1, "unreadable", f"from here on: {error}")


def open_lines(path: Path) -> BinaryIO:
    """The bytes of a file of lines, decompressed where its name ends in `.gz` or `.zst`."""
    if path.name.endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if path.name.endswith(".zst"):
        return io.BufferedReader(zstandard.open(path, "rb"))
    return open(path, "rb")


def _read_line(file: SourceFile, number: int, line: bytes, max_bytes: int) -> Found:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return _unusable(file, number, "bad UTF-8", f"byte 0x{line[error.start]:02x} at {error.start} of the line")
    except (ValueError, RecursionError) as error:
        return _unusable(file, number, "bad JSON", str(error))
    if not isinstance(row, dict):
        return _unusable(file, number, "bad JSON", f"a {type(row).__name__}, not an object")
    text = row.get(file.text_column)
    if not isinstance(text, str):
        return _unusable(file, number, "no text", _no_text(file, row))
    return _judge(file, number, text, max_bytes)


def _no_text(file: SourceFile, row: dict[str, object]) -> str:
    if file.text_column in row:
        return f"`{file.text_column}` is a {type(row[file.text_column]).__name__}, not text"
    names = ", ".join(row)[:200].encode("utf-8", "backslashreplace").decode()
    return f"no `{file.text_column}`; the row has {names}"


def _read_parquet(file: SourceFile, max_bytes: int) -> Iterator[Found]:
    number = 0
    try:
        with pq.ParquetFile(file.path) as parquet:
            schema = parquet.schema_arrow
            kind = schema.field(file.text_column).type if file.text_column in schema.names else None
            if kind not in (pa.string(), pa.large_string()):
                columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
                raise UserError(f"{file.path}: has no text column `{file.text_column}`; it has {columns}")
            for batch in parquet.iter_batches(BATCH_ROWS, columns=[file.text_column]):
                for text in batch.column(0).to_pylist():
                    number += 1
                    if text is None:
                        yield _unusable(file, number, "no text", f"null in `{file.text_column}`")
                    else:
                        yield _judge(file, number, text, max_bytes)
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        yield _unusable(file, number + 1, "unreadable", f"from here on: {str(error).splitlines()[0]}")


def _judge(file: SourceFile, line: int, text: str, max_bytes: int) -> Found:
    if not text.strip():
        return _unusable(file, line, "empty", "")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:  # JSON can escape half of a surrogate pair, which no UTF-8 can hold
        return _unusable(file, line, "bad UTF-8", f"a lone surrogate at {error.start}")
    if size > max_bytes:
        return _unusable(file, line, "too long", f"{size} bytes")
    return Found(line, content_id(text), text, size, "", "")


def _unusable(file: SourceFile, line: int, reason: str, detail: str) -> Found:
    return Found(line, content_id(f"{file.source}\n{file.name}\n{line}"), "", 0, reason, detail)
