"""Rows against the counts of their sources, the hub's columns against the authors', and planted damage."""

import gzip
import io
import json
import shutil
import socket
import urllib.request
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hornbook import rowsets, setfiles
from hornbook.errors import UserError
from hornbook.setfiles import UnavailableError

SIZES = {
    "winogrande": 1267, "arc_easy": 2376, "arc_challenge": 1172, "boolq": 3270, "social_iqa": 1954, "piqa": 1838,
    "hellaswag": 10042, "openbookqa": 500, "mmlu": 14042, "mmlu_dev": 285, "squad": 10570, "gsm8k": 1319,
    "toxigen": 6514,
}  # fmt: skip


@pytest.fixture(autouse=True)
def fresh():
    rowsets.load.cache_clear()
    yield
    rowsets.load.cache_clear()


@pytest.fixture
def original():
    def path(name):
        found = setfiles.find(name, rowsets.SETS[name])
        return found or pytest.skip(f"{name} is not on this machine")

    return path


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine that holds no set and has no network."""
    monkeypatch.setattr(setfiles, "PACKAGED", tmp_path / "packaged")
    monkeypatch.setattr(setfiles, "CHECKOUT", tmp_path / "checkout" / "deep")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def refuse(*address):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path


@pytest.mark.parametrize("name", rowsets.NAMES)
def test_every_set_is_whole(name, original):
    original(name)
    rows = rowsets.load(name)
    assert len(rows) == SIZES[name]
    assert rowsets.checksum_here(name) == rowsets.SETS[name].checksum
    assert all(row.keys() == rows[0].keys() for row in rows)


def as_on_the_hub(name, rows):
    """The hub's columns of our rows, as its Parquet has them."""
    if name == "squad":
        return [row | {"answers": {"text": row["answers"], "answer_start": [0] * len(row["answers"])}} for row in rows]
    return list(rows)


@pytest.mark.parametrize(
    "name", ["winogrande", "arc_easy", "boolq", "social_iqa", "piqa", "mmlu_dev", "squad", "gsm8k"]
)
def test_the_hubs_rows_are_the_authors_rows(name, original, bare, monkeypatch):
    path = rowsets.load.__wrapped__  # the loader without its memory
    monkeypatch.undo()
    own = path(name) if setfiles.find(name, rowsets.SETS[name]) else pytest.skip(f"{name} is not on this machine")
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(as_on_the_hub(name, own)), parquet)
    asked = []

    def open_url(url, timeout):
        asked.append(url)
        return io.BytesIO(parquet.getvalue())

    monkeypatch.setattr(setfiles, "PACKAGED", bare / "packaged")
    monkeypatch.setattr(setfiles, "CHECKOUT", bare / "checkout" / "deep")
    monkeypatch.setenv("XDG_CACHE_HOME", str(bare / "cache"))
    monkeypatch.chdir(bare / "here")
    monkeypatch.setattr(urllib.request, "urlopen", open_url)
    assert path(name) == own
    about = rowsets.SETS[name]
    assert asked == [f"{setfiles.HUB}/{about.repository}/resolve/{about.revision}/{about.hub_files[0]}"]
    assert path(name) == own  # from the cache, without asking again
    assert len(asked) == 1
    assert [file.name for file in (bare / "cache" / "hornbook" / "testsets").iterdir()] == [f"{name}.jsonl.gz"]


def test_toxigen_comes_as_json_from_its_authors(original, bare, monkeypatch):
    here = Path(__file__).parents[2] / "shared" / "benchmarks" / rowsets.SETS["toxigen"].file
    if not here.is_file():
        pytest.skip("toxigen is not on this machine")
    content = gzip.decompress(here.read_bytes())
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(content))
    assert len(rowsets.load("toxigen")) == SIZES["toxigen"]


def test_hellaswag_of_the_hub_is_read_as_the_harness_reads_it():
    row = {"activity_label": "Roof", "ctx_a": "[header] How [title] A man sits.", "ctx_b": "he", "label": "1"}
    row["endings"] = ["[step] leaves.  now", "stays"]
    harness = pytest.importorskip("lm_eval.tasks.hellaswag.utils")
    datasets = pytest.importorskip("datasets")
    theirs = harness.process_docs(datasets.Dataset.from_list([row]))[0]
    ours = rowsets.SETS["hellaswag"].hub(row)
    assert ours == {key: theirs[key] for key in ("query", "choices", "gold")}


def test_a_changed_byte_is_noticed(original, bare):
    folder = bare / "here" / "shared" / "benchmarks" / "gsm8k"
    folder.mkdir(parents=True)
    with gzip.open(folder / "test.jsonl.gz", "wt") as out:
        out.write(json.dumps({"question": "1 + 1?", "answer": "#### 2"}) + "\n")
    with pytest.raises(UserError, match=r"test\.jsonl\.gz: 1 rows with checksum .* put the original file"):
        rowsets.load("gsm8k")
    (folder / "test.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match=r"test\.jsonl\.gz: not the evaluation set gsm8k"):
        rowsets.load("gsm8k")


def test_other_content_of_the_hub_leaves_nothing(bare, monkeypatch):
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{"question": "1 + 1?", "answer": "#### 2"}]), parquet)
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(parquet.getvalue()))
    with pytest.raises(UnavailableError, match="holds something else"):
        rowsets.load("gsm8k")
    assert not list((bare / "cache" / "hornbook" / "testsets").iterdir())
    shutil.rmtree(bare / "cache")


def test_without_file_and_network_a_set_is_unavailable(bare):
    for name in rowsets.NAMES:
        assert rowsets.checksum_here(name) is None
        with pytest.raises(UnavailableError, match=f"{name}: not on this machine.*shared/benchmarks/"):
            rowsets.load(name)
