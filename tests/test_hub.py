"""Files of the hub: a hub of our own on the loopback device, and the client's real cache."""

import re

import pytest
from hub_server import point_at, serve

from hornbook.errors import UserError
from hornbook.hub import download, files_in, leads_out, resolve_revision

REPO = "someone/lessons"
FILES = {"data/a.jsonl": b'{"text": "a"}\n', "data/deep/b.jsonl": b'{"text": "b"}\n', "README.md": b"# Lessons\n"}
NOWHERE = "http://127.0.0.1:9"  # the discard port, on which nothing listens


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with serve({REPO: FILES}) as served:
        point_at(monkeypatch, served.url, tmp_path / "cache")
        yield served


def test_a_branch_is_its_commit_and_moves_with_it(hub):
    first = hub.tags[REPO, "main"]
    assert resolve_revision(REPO, "main", "dataset") == first
    second = hub.commit(REPO, {**FILES, "data/c.jsonl": b"{}\n"})
    assert resolve_revision(REPO, "main", "dataset") == second != first
    assert resolve_revision(REPO, first, "dataset") == first


@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_what_matches_is_fetched_and_nothing_else(hub, kind):
    commit = hub.tags[REPO, "main"]
    folder = download(REPO, commit, ["data/*.jsonl"], kind)
    names = ["data/a.jsonl", "data/deep/b.jsonl"]
    assert files_in(folder, ["data/*.jsonl"]) == files_in(folder, ["*"]) == files_in(folder, ["data/"]) == names
    assert {name: (folder / name).read_bytes() for name in names} == {name: FILES[name] for name in names}
    assert folder.parts[-1] == commit


def test_a_file_in_the_cache_is_not_fetched_again(hub):
    commit = hub.tags[REPO, "main"]
    download(REPO, commit, ["README.md"], "dataset")
    hub.log.clear()
    download(REPO, commit, ["README.md"], "dataset")
    assert hub.log == []
    download(REPO, commit, ["README.md", "data/a.jsonl"], "dataset")
    assert [line.rpartition("/")[2] for line in hub.log if line.startswith("GET") and "resolve" in line] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("offline", "cause"), [(True, "HF_HUB_OFFLINE keeps from asking the hub"), (False, "the hub cannot be reached")]
)
def test_without_a_network_the_cache_serves_what_it_holds_whole(hub, monkeypatch, tmp_path, offline, cause):
    commit = resolve_revision(REPO, "main", "dataset")
    folder = download(REPO, commit, ["data/a.jsonl"], "dataset")
    point_at(monkeypatch, NOWHERE, tmp_path / "cache", offline)
    assert resolve_revision(REPO, "main", "dataset") == commit
    assert download(REPO, commit, ["data/a.jsonl"], "dataset") == folder
    for patterns in (["data/*.jsonl"], ["*.parquet"]):
        with pytest.raises(UserError, match=f"{re.escape(cause)}, and its cache does not hold all of `{commit}`"):
            download(REPO, commit, patterns, "dataset")
    with pytest.raises(UserError, match=f"{re.escape(cause)}, and its cache does not hold all of `v2`"):
        resolve_revision(REPO, "v2", "dataset")
    with pytest.raises(UserError, match=f"someone/else: {re.escape(cause)}"):
        download("someone/else", commit, ["*"], "dataset")


def test_a_cache_without_a_list_of_files_is_not_trusted_to_be_whole(hub, monkeypatch, tmp_path):
    commit = hub.tags[REPO, "main"]
    folder = download(REPO, commit, ["data/a.jsonl"], "dataset")
    moved = tmp_path / "older" / folder.parents[1].name
    moved.parent.mkdir()
    folder.parents[1].rename(moved)
    (moved / "trees" / f"{commit}.json").unlink()
    point_at(monkeypatch, NOWHERE, moved.parent)
    with pytest.raises(UserError, match="does not hold all of"):
        download(REPO, commit, ["data/*.jsonl"], "dataset")


def test_what_the_hub_refuses_is_said_in_one_line(hub):
    commit = hub.tags[REPO, "main"]
    hub.gated.add("someone/closed")
    said = {
        ("someone/closed", "main"): "hf://datasets/someone/closed: is gated; accept its terms",
        ("someone/missing", "main"): "hf://datasets/someone/missing: no such repository",
        (REPO, "v9"): "hf://datasets/someone/lessons: has no revision `v9`",
        ("a--b/c..d", "main"): "hf://datasets/a--b/c..d: is no name of a repository",
    }
    for (repo, revision), message in said.items():
        with pytest.raises(UserError, match=f"^{re.escape(message)}[^\n]*$"):
            resolve_revision(repo, revision, "dataset")
    with pytest.raises(UserError, match="is gated"):
        download("someone/closed", commit, ["*"], "dataset")
    with pytest.raises(UserError, match=r"matches `\*\.parquet`; mend the globs"):
        download(REPO, commit, ["*.parquet"], "dataset")
    with pytest.raises(UserError, match="`main` is no commit"):
        download(REPO, "main", ["*"], "dataset")


@pytest.mark.parametrize(
    "name", ["../../../../escaped", "data/../../other/x", "/tmp/escaped", "data/..\\..\\x", "C:/x", "a\x00b", "a\nb"]
)
def test_a_name_that_leads_out_of_the_directory_is_refused_before_anything_is_written(hub, tmp_path, name):
    assert leads_out(name)
    commit = hub.commit(REPO, {**FILES, name: b"out"})
    with pytest.raises(UserError, match="which leads out of its directory"):
        download(REPO, commit, ["data/a.jsonl"], "dataset")
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".json"] == []


def test_an_answer_that_is_no_commit_is_refused(hub):
    hub.tags[REPO, "main"] = "../../x"
    hub.commits[REPO, "../../x"] = FILES
    with pytest.raises(UserError, match="the hub answered with no commit for `main`"):
        resolve_revision(REPO, "main", "dataset")
