"""The fingerprint of a corpus: equal exactly where the content is, with and without its cache."""

import json
import os
import time
from pathlib import Path

import pytest
from hub_server import point_at, serve

from hornbook.corpus.fingerprint import fingerprint_sources
from hornbook.errors import UserError
from hornbook.recipe import CorpusConfig, FilesSource, HubSource

LONG_AGO = 1_700_000_000


def config_of(folder):
    source = FilesSource(kind="files", path=str(folder), text_column="text", source="own")
    return CorpusConfig(sources=(source,), sample_bytes=1, max_document_bytes=1, held_out_share=0.5)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.py", "b.py", "c.txt"):
        write(folder / name, f"text of {name}")
    return folder


def write(path, text, when=LONG_AGO):
    path.write_text(text)
    os.utime(path, (when, when))


def test_what_changes_it(folder, tmp_path):
    cache = tmp_path / "cache.json"
    seen = [fingerprint_sources(config_of(folder), cache)]

    def changed():
        seen.append(fingerprint_sources(config_of(folder), cache))
        assert seen[-1] == fingerprint_sources(config_of(folder), tmp_path / "none.json")  # the cache changes nothing
        (tmp_path / "none.json").unlink()
        return seen[-1] not in seen[:-1]

    write(folder / "a.py", "Text of a.py", LONG_AGO + 1)  # same size
    assert changed()
    (folder / "b.py").rename(folder / "d.py")
    assert changed()
    write(folder / "new.md", "")
    assert changed()
    (folder / "new.md").unlink()
    (folder / "d.py").rename(folder / "b.py")
    write(folder / "a.py", "text of a.py", LONG_AGO + 2)
    assert not changed()
    assert seen[-1] == seen[0]
    write(folder / "ignored.bin", "x")
    assert not changed()


def test_it_is_the_same_wherever_the_corpus_lies(folder, tmp_path):
    cache = tmp_path / "cache.json"
    here = fingerprint_sources(config_of(folder), cache)
    folder.rename(tmp_path / "there")
    assert fingerprint_sources(config_of(tmp_path / "there"), cache) == here


def test_content_moved_between_files_is_noticed(folder, tmp_path):
    before = fingerprint_sources(config_of(folder), tmp_path / "cache.json")
    (folder / "a.py").rename(folder / "x.py")
    (folder / "b.py").rename(folder / "a.py")
    (folder / "x.py").rename(folder / "b.py")
    assert fingerprint_sources(config_of(folder), tmp_path / "cache.json") != before


def test_the_cache_is_used_and_a_young_file_is_not_trusted(folder, tmp_path):
    cache = tmp_path / "cache.json"
    write(folder / "young.py", "one", time.time())
    first = fingerprint_sources(config_of(folder), cache)
    remembered = json.loads(cache.read_text())
    assert sorted(Path(path).name for path in remembered) == ["a.py", "b.py", "c.txt"]
    (folder / "young.py").write_text("two")  # same size, perhaps the same clock tick
    assert fingerprint_sources(config_of(folder), cache) != first
    path = str(folder / "a.py")
    cache.write_text(json.dumps({**remembered, path: [remembered[path][0], "planted"]}))
    before = fingerprint_sources(config_of(folder), cache)
    cache.unlink()
    assert fingerprint_sources(config_of(folder), cache) != before  # the planted hash had been believed


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": ["x", 1, "y"]}'])
def test_a_cache_that_is_none_is_replaced(folder, tmp_path, content):
    cache = tmp_path / "cache.json"
    expected = fingerprint_sources(config_of(folder), tmp_path / "other.json")
    cache.write_text(content)
    assert fingerprint_sources(config_of(folder), cache) == expected
    assert len(json.loads(cache.read_text())) == 3


def test_an_unreadable_file_is_part_of_it(folder, tmp_path):
    before = fingerprint_sources(config_of(folder), tmp_path / "cache.json")
    (folder / "broken.py").symlink_to(folder / "nowhere")
    assert fingerprint_sources(config_of(folder), tmp_path / "cache.json") != before


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(UserError, match="missing: no such file or directory"):
        fingerprint_sources(config_of(tmp_path / "missing"), tmp_path / "cache.json")
    assert not (tmp_path / "cache.json").exists()


def test_a_pipe_in_a_source_is_unreadable_and_stops_nothing(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.py").write_text("x = 1\n")
    os.mkfifo(tmp_path / "in" / "b.py")
    source = FilesSource(kind="files", path=str(tmp_path / "in"), text_column="", source="s")
    config = CorpusConfig(sources=(source,), sample_bytes=10, max_document_bytes=10, held_out_share=0.5)
    assert fingerprint_sources(config, tmp_path / "cache") == fingerprint_sources(config, tmp_path / "cache")


def test_one_cache_serves_two_corpora(folder, tmp_path):
    cache, other = tmp_path / "cache.json", tmp_path / "other"
    other.mkdir()
    write(other / "x.py", "text of x")
    fingerprint_sources(config_of(folder), cache)
    fingerprint_sources(config_of(other), cache)
    assert {Path(path).name for path in json.loads(cache.read_text())} == {"a.py", "b.py", "c.txt", "x.py"}


def test_a_dataset_of_the_hub_is_its_commit_and_a_moved_branch_another_corpus(monkeypatch, tmp_path):
    source = HubSource(
        kind="hub", repo="someone/lessons", revision="main", files=("*.jsonl",), text_column="text", source="hub"
    )
    config = CorpusConfig(sources=(source,), sample_bytes=1, max_document_bytes=1, held_out_share=0.5)
    with serve({"someone/lessons": {"a.jsonl": b"{}"}}) as hub:
        point_at(monkeypatch, hub.url, tmp_path / "hub")
        first = fingerprint_sources(config, tmp_path / "cache.json")
        commit = hub.tags["someone/lessons", "main"]
        assert fingerprint_sources(config, tmp_path / "cache.json") == first
        hub.commit("someone/lessons", {"a.jsonl": b"{ }"})
        assert fingerprint_sources(config, tmp_path / "cache.json") != first
        hub.tags["someone/lessons", "main"] = commit
        assert fingerprint_sources(config, tmp_path / "cache.json") == first
        assert not [line for line in hub.log if "resolve" in line]  # nothing was fetched
    point_at(monkeypatch, "http://127.0.0.1:9", tmp_path / "hub", offline=True)
    assert fingerprint_sources(config, tmp_path / "cache.json") == first
