"""Tables against plain Python rows: what goes in comes out, whole or not at all."""

import dataclasses
import json
from typing import Literal

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbook.errors import UserError
from hornbook.records import Document, Exercise
from hornbook.tables import (
    BATCH_ROWS,
    TableWriter,
    column_names,
    count_rows,
    frame,
    read_columns,
    read_rows,
    schema_of,
    write_rows,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    name: str
    number: int
    share: float
    sure: bool
    parts: tuple[str, ...]
    kind: Literal["a", "b"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SAMPLES = st.builds(
    Sample,
    name=TEXT,
    number=st.integers(-(2**63), 2**63 - 1),
    share=st.floats(allow_nan=False),
    sure=st.booleans(),
    parts=st.lists(TEXT, max_size=3).map(tuple),
    kind=st.sampled_from(["a", "b"]),
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(SAMPLES, max_size=8), suffix=st.sampled_from(["parquet", "jsonl"]))
def test_rows_come_back_as_they_were(tmp_path_factory, rows, suffix):
    path = tmp_path_factory.mktemp("table") / f"rows.{suffix}"
    assert write_rows(path, Sample, rows) == len(rows)
    assert list(read_rows(path, Sample)) == rows


def documents(count):
    return [Document(f"{n:032x}", f"text {n}\u2028\r\n", "here", "{}") for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 1, 2 * BATCH_ROWS])
def test_batch_boundaries_lose_nothing(tmp_path, count):
    path = tmp_path / "documents.parquet"
    write_rows(path, Document, documents(count))
    assert [row.id for row in read_rows(path, Document)] == [row.id for row in documents(count)]
    assert count_rows(path) == count


def test_jsonl_lines_are_json_objects_in_order(tmp_path):
    path = tmp_path / "documents.jsonl"
    write_rows(path, Document, documents(3))
    lines = path.read_bytes().decode().split("\n")
    assert [json.loads(line) for line in lines if line] == [dataclasses.asdict(row) for row in documents(3)]


def test_same_rows_same_bytes(tmp_path):
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    write_rows(one, Document, documents(1500))
    write_rows(other, Document, documents(1500))
    assert one.read_bytes() == other.read_bytes()


def failing_rows():
    yield from documents(BATCH_ROWS + 1)
    raise ZeroDivisionError


def test_an_exception_leaves_nothing_behind(tmp_path):
    path = tmp_path / "documents.parquet"
    with pytest.raises(ZeroDivisionError):
        write_rows(path, Document, failing_rows())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_row_that_cannot_be_encoded_leaves_nothing_behind(tmp_path, suffix):
    path = tmp_path / f"documents.{suffix}"
    with pytest.raises(UnicodeEncodeError):
        write_rows(path, Document, [Document("id", "half a pair: \ud800", "here", "{}")])
    assert list(tmp_path.iterdir()) == []


def test_a_table_replaces_another_only_when_whole(tmp_path):
    path = tmp_path / "documents.parquet"
    write_rows(path, Document, documents(2))
    before = path.read_bytes()
    with TableWriter(path, Document) as writer:
        writer.write(documents(1)[0])
        assert path.read_bytes() == before
    after = path.read_bytes()
    assert after != before
    with pytest.raises(ZeroDivisionError):
        write_rows(path, Document, failing_rows())
    assert path.read_bytes() == after


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.parquet", None, "none.parquet: no such table"),
        ("bad.parquet", b"PAR1 but no more", "bad.parquet: not a readable Parquet file"),
        ("bad.jsonl", b'{"id": "1"}\n{"id": \n', "bad.jsonl, line 2: not a JSON object"),
        ("list.jsonl", b"[1]\n", "list.jsonl, line 1: not a JSON object"),
        ("latin.jsonl", b'{"id": "1"}\n{"id": "\xe9"}\n', "latin.jsonl, line 2: not a JSON object"),
        ("lacks.jsonl", b'{"name": "1"}\n', "lacks.jsonl, line 1: has no field 'id'"),
    ],
)
def test_bad_tables_are_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        list(read_columns(tmp_path / name, ["id"]))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named_with_those_there_are(tmp_path):
    write_rows(tmp_path / "documents.parquet", Document, documents(1))
    with pytest.raises(UserError, match="has no column `score`; it has id, text, source, meta"):
        list(read_columns(tmp_path / "documents.parquet", ["score"]))


def test_a_file_damaged_inside_is_named(tmp_path):
    path = tmp_path / "documents.parquet"
    write_rows(path, Document, documents(500))
    data = bytearray(path.read_bytes())
    data[4:400] = b"\xff" * 396  # the first column chunk; the footer stays whole
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"documents\.parquet: a damaged Parquet file"):
        list(read_rows(path, Document))


def test_columns_a_class_does_not_have_are_left_out(tmp_path):
    path = tmp_path / "exercises.parquet"
    rows = [Exercise("1", "lists", "f", "def f():\n", "    return 1\n", ("assert f() == 1",), "r")]
    write_rows(path, Exercise, rows)
    assert list(read_columns(path, ["name", "tests"])) == [("f", ["assert f() == 1"])]
    assert column_names(path) == [field.name for field in dataclasses.fields(Exercise)]
    assert pq.read_schema(path) == schema_of(Exercise)


def test_a_field_without_a_column_type_is_refused():
    odd = dataclasses.make_dataclass("Odd", [("inner", dict)])
    with pytest.raises(TypeError, match="no column type"):
        schema_of(odd)


def test_daft_reads_what_was_written(tmp_path):
    write_rows(tmp_path / "one.parquet", Document, documents(3))
    write_rows(tmp_path / "two.parquet", Document, documents(5)[3:])
    rows = frame(tmp_path / "one.parquet", tmp_path / "two.parquet").sort("id").to_pydict()
    assert rows["text"] == [row.text for row in documents(5)]
