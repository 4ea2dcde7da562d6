"""Rows against the counts of their sources, the hub's columns against the authors', and planted damage."""

import dataclasses
import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
ORIGINALS = Path(__file__).parents[2] / "shared" / "benchmarks"


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
def empty(tmp_path, monkeypatch):
    """A machine that holds no set."""
    monkeypatch.setattr(setfiles, "PACKAGED", tmp_path / "packaged")
    monkeypatch.setattr(setfiles, "CHECKOUT", tmp_path / "checkout" / "deep")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.fixture
def bare(empty, monkeypatch):
    """A machine that holds no set and has no network."""

    def refuse(*address):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return empty


class Hub:
    """Serves bytes by the path of their address; `cut` breaks every answer off after as many bytes."""

    def __init__(self):
        self.files, self.asked, self.cut = {}, [], None


@pytest.fixture
def hub(empty, monkeypatch):
    """A server on this machine in place of the hub and of GitHub."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.asked.append(self.path)
            content = state.files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: state.cut])

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(setfiles, "HUB", address)
    toxigen = dataclasses.replace(rowsets.SETS["toxigen"], repository=address)
    monkeypatch.setitem(rowsets.SETS, "toxigen", toxigen)
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def hub_path(name):
    about = rowsets.SETS[name]
    if name == "toxigen":
        return f"/{about.revision}/{about.hub_files[0]}"
    return f"/{about.repository}/resolve/{about.revision}/{about.hub_files[0]}"


def authors_file(name):
    path = ORIGINALS / rowsets.SETS[name].file
    return path if path.is_file() else pytest.skip(f"{name} is not on this machine")


def fetched_files(machine):
    return sorted(file.name for file in (machine / "cache" / "hornbook" / "testsets").iterdir())


@pytest.mark.parametrize("name", rowsets.NAMES)
def test_every_set_is_whole(name, original):
    original(name)
    rows = rowsets.load(name)
    assert len(rows) == SIZES[name]
    assert rowsets.checksum_here(name) == rowsets.SETS[name].checksum
    assert all(row.keys() == rows[0].keys() for row in rows)


def as_on_the_hub(name, rows):
    """The hub's Parquet of our rows."""
    if name == "squad":
        rows = [row | {"answers": {"text": row["answers"], "answer_start": [0] * len(row["answers"])}} for row in rows]
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), parquet)
    return parquet.getvalue()


@pytest.mark.parametrize("name", [name for name in rowsets.NAMES if name not in ("hellaswag", "toxigen")])
def test_the_hubs_rows_are_the_authors_rows(name, hub, empty):
    own = tuple(rowsets.SETS[name].authors(authors_file(name)))
    hub.files[hub_path(name)] = as_on_the_hub(name, own)
    assert sorted(map(json.dumps, rowsets.load(name))) == sorted(map(json.dumps, own))
    rowsets.load.cache_clear()
    hub.files.clear()
    assert rowsets.checksum_here(name) == rowsets.SETS[name].checksum  # from the cache, without asking again
    assert hub.asked == [hub_path(name)]
    assert fetched_files(empty) == [f"{name}.jsonl.gz"]


def test_toxigen_comes_as_json_from_its_authors(hub, empty):
    hub.files[hub_path("toxigen")] = gzip.decompress(authors_file("toxigen").read_bytes())
    assert len(rowsets.load("toxigen")) == SIZES["toxigen"]
    assert fetched_files(empty) == ["toxigen.jsonl.gz"]


def test_an_order_of_the_hubs_own_is_no_other_content(hub):
    own = list(rowsets.SETS["mmlu_dev"].authors(authors_file("mmlu_dev")))
    subjects = list(dict.fromkeys(row["subject"] for row in own))[::-1]
    hub.files[hub_path("mmlu_dev")] = as_on_the_hub("mmlu_dev", sorted(own, key=lambda r: subjects.index(r["subject"])))
    assert list(rowsets.load("mmlu_dev")) == own


@pytest.mark.parametrize("name", ["gsm8k", "toxigen"])
def test_an_interrupted_fetch_leaves_nothing(name, hub, empty):
    hub.files[hub_path(name)] = b"0" * 100_000
    hub.cut = 70_000
    with pytest.raises(UnavailableError, match=f"{name}: not on this machine, and http.* cannot be reached"):
        rowsets.load(name)
    assert fetched_files(empty) == []
    assert rowsets.checksum_here(name) is None


@pytest.mark.parametrize("name", ["gsm8k", "toxigen", "hellaswag"])
@pytest.mark.parametrize("content", [b"<html>please log in</html>", b"", b'[{"id": 1}]', b'{"id": 1}', b"\xff"])
def test_a_page_in_place_of_the_set_leaves_nothing(name, content, hub, empty):
    hub.files[hub_path(name)] = content
    with pytest.raises(UnavailableError, match=f"{name}: http.* holds something else"):
        rowsets.load(name)
    assert fetched_files(empty) == []


def test_a_cache_that_cannot_be_written_says_which(hub, empty, monkeypatch):
    hub.files[hub_path("gsm8k")] = b""
    (empty / "a file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(empty / "a file"))
    with pytest.raises(UnavailableError, match=r"gsm8k: what is fetched cannot be kept in .*a file.* XDG_CACHE_HOME"):
        rowsets.load("gsm8k")


@pytest.mark.parametrize("name", rowsets.NAMES)
def test_one_changed_character_of_a_set_is_noticed(name, bare):
    original = authors_file(name)
    folder = bare / "here" / "shared" / "benchmarks" / original.parent.name
    shutil.copytree(original.parent, folder)
    before, found, after = gzip.decompress(original.read_bytes()).rpartition(b" the ")
    assert found
    (folder / original.name).write_bytes(gzip.compress(before + b" The " + after, 1))
    wanted = rowsets.SETS[name].checksum[:12]
    with pytest.raises(UserError, match=rf"{original.name}: {SIZES[name]} rows with checksum .*\({wanted}\); put the"):
        rowsets.load(name)


def test_hellaswag_of_the_hub_is_read_as_the_harness_reads_it():
    row = {"activity_label": "Roof", "ctx_a": "[header] How [title] A man sits.", "ctx_b": "he", "label": "1"}
    row["endings"] = ["[step] leaves.  now", "stays"]
    harness = pytest.importorskip("lm_eval.tasks.hellaswag.utils")
    datasets = pytest.importorskip("datasets")
    theirs = harness.process_docs(datasets.Dataset.from_list([row]))[0]
    ours = rowsets.SETS["hellaswag"].hub(row)
    assert ours == {key: theirs[key] for key in ("query", "choices", "gold")}


def test_hellaswag_of_the_hub_is_held_by_its_bytes(hub, empty, monkeypatch):
    row = {
        "activity_label": "Roof",
        "ctx_a": "A man sits.",
        "ctx_b": "he",
        "label": "1",
        "endings": ["leaves", "stays"],
    }
    content = as_on_the_hub("hellaswag", [row])
    hub.files[hub_path("hellaswag")] = content
    with pytest.raises(UnavailableError, match=r"holds something else \(bytes with SHA-256 .*, not 899813071e1e"):
        rowsets.load("hellaswag")
    assert fetched_files(empty) == []
    pinned = dataclasses.replace(rowsets.SETS["hellaswag"], hub_sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(rowsets.SETS, "hellaswag", pinned)
    assert rowsets.load("hellaswag") == ({"query": "Roof: A man sits. He", "choices": ["leaves", "stays"], "gold": 1},)


def test_an_endless_file_is_not_read_whole(hub, empty, monkeypatch):
    monkeypatch.setattr(setfiles, "LARGEST_FILE", 1 << 20)
    hub.files[hub_path("gsm8k")] = b"0" * (1 << 20) + b"1"
    with pytest.raises(UnavailableError, match=r"gsm8k: http.* holds something else \(more than 1 MB\)"):
        rowsets.load("gsm8k")
    assert fetched_files(empty) == []


def test_a_foreign_file_is_named(bare):
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
