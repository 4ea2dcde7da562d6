"""Read and write tables of rows: the one place that knows Parquet, JSONL and Daft.

A table is one Parquet file, or JSONL where its name ends in `.jsonl`. Rows stream in both directions in batches of
`BATCH_ROWS`, so a table may be larger than memory. Files are written beside their name and renamed when whole.
"""

import dataclasses
import json
import os
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from hornbook.errors import UserError

if TYPE_CHECKING:
    import daft

R = TypeVar("R")

BATCH_ROWS = 1024
COLUMN_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def schema_of(row_type: type) -> pa.Schema:
    """The columns of a row class, in the order of its fields."""
    hints = typing.get_type_hints(row_type)
    return pa.schema([(field.name, _column_type(hints[field.name])) for field in dataclasses.fields(row_type)])


def _column_type(hint: Any) -> pa.DataType:
    if hint in COLUMN_TYPES:
        return COLUMN_TYPES[hint]
    if typing.get_origin(hint) is typing.Literal:
        return pa.string()
    if hint == tuple[str, ...]:
        return pa.list_(pa.string())
    raise TypeError(f"a row field of type {hint} has no column type")


class TableWriter(Generic[R]):
    """Writes rows of one class to a file that appears under its name only when it is whole.

    The same rows give the same bytes. Use as a context manager; an exception leaves nothing behind, save one of the
    type `whole_after`: rows that say why the work was stopped are whole when it is.
    """

    def __init__(self, path: Path, row_type: type[R], whole_after: type[BaseException] | None = None) -> None:
        self.path = path
        self._whole_after = whole_after
        self.rows = 0
        self._schema = schema_of(row_type)
        self._fields = self._schema.names
        self._columns: list[list[Any]] = [[] for _ in self._fields]
        self._partial = path.with_name(path.name + ".writing")

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.suffix == ".jsonl":
            self._lines = open(self._partial, "w", encoding="utf-8")
        else:
            self._parquet = pq.ParquetWriter(self._partial, self._schema, compression="zstd")
        return self

    def write(self, row: R) -> None:
        """Add one row."""
        for column, name in zip(self._columns, self._fields, strict=True):
            value = getattr(row, name)
            column.append(list(value) if isinstance(value, tuple) else value)
        self.rows += 1
        if len(self._columns[0]) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._columns[0]:
            return
        if self.path.suffix == ".jsonl":
            for values in zip(*self._columns, strict=True):
                row = dict(zip(self._fields, values, strict=True))
                self._lines.write(json.dumps(row, ensure_ascii=False) + "\n")
        else:
            arrays = [pa.array(c, t) for c, t in zip(self._columns, self._schema.types, strict=True)]
            self._parquet.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._columns = [[] for _ in self._fields]

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        whole = kind is None or (self._whole_after is not None and issubclass(kind, self._whole_after))
        try:
            try:
                if whole:
                    self._flush()
            finally:
                (self._lines if self.path.suffix == ".jsonl" else self._parquet).close()
            if whole:
                self._partial.replace(self.path)
        finally:  # a row that cannot be encoded, or a full disk, may show only here
            self._partial.unlink(missing_ok=True)


def write_rows(path: Path, row_type: type[R], rows: Iterable[R]) -> int:
    """Write a whole table; gives the number of rows."""
    with TableWriter(path, row_type) as writer:
        for row in rows:
            writer.write(row)
    return writer.rows


def read_rows(path: Path, row_type: type[R]) -> Iterator[R]:
    """The rows of a table, in order. Columns the class does not have are left out.

    Raises UserError where the file is missing, is no table, or lacks a column.
    """
    names = [field.name for field in dataclasses.fields(row_type)]  # type: ignore[arg-type]
    for values in read_columns(path, names):
        yield row_type(*(tuple(v) if isinstance(v, list) else v for v in values))


def read_columns(path: Path, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    """The named columns of a table, row by row, without loading the others."""
    if not path.exists():
        raise UserError(f"{path}: no such table")
    if path.suffix == ".jsonl":
        yield from _read_jsonl(path, columns)
        return
    try:
        parquet = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from error
    with parquet:
        for name in columns:
            if name not in parquet.schema_arrow.names:
                have = ", ".join(parquet.schema_arrow.names)
                raise UserError(f"{path}: has no column `{name}`; it has {have}")
        try:
            for batch in parquet.iter_batches(BATCH_ROWS, columns=columns):
                yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path}: a damaged Parquet file ({str(error).splitlines()[0]})") from error


def _read_jsonl(path: Path, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                yield tuple(row[name] for name in columns)
            except (ValueError, TypeError) as error:  # no JSON, no UTF-8, no object
                raise UserError(f"{path}, line {number}: not a JSON object ({error})") from error
            except KeyError as error:
                raise UserError(f"{path}, line {number}: has no field {error}") from error


def column_names(path: Path) -> list[str]:
    """The columns of a Parquet table."""
    return list(pq.read_schema(path).names)


def count_rows(path: Path) -> int:
    """The number of rows of a Parquet table, from its footer."""
    return int(pq.read_metadata(path).num_rows)


def frame(*paths: Path) -> "daft.DataFrame":
    """A lazy Daft frame over Parquet tables of one schema, with Daft's telemetry and its own progress bars off."""
    os.environ["DO_NOT_TRACK"] = "1"  # Daft reports usage unless this stands before its import
    os.environ["DAFT_PROGRESS_BAR"] = "0"
    os.environ["DAFT_SHOW_QUERY_ID"] = "0"  # a line for every query, on a terminal
    import daft

    return daft.read_parquet([str(path) for path in paths])
