"""The corpus step on planted files: every row is accounted for, and the sample depends on content and seed alone."""

import gzip
import json
import os
import random
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hub_server import point_at, serve

from hornbook.corpus.listing import SourceFile, list_files
from hornbook.corpus.reading import read_texts
from hornbook.corpus.sources import draw, read_corpus
from hornbook.errors import UserError
from hornbook.recipe import (
    CorpusConfig,
    FilesSource,
    HubSource,
    InstalledProseSource,
    InstalledSource,
    MachineConfig,
)
from hornbook.records import Document, Dropped, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.step_config import CorpusStep
from hornbook.tables import read_rows

LARGE = 10**9


def corpus_of(*paths, sample_bytes=LARGE, max_document_bytes=10_000, held_out_share=1e-9, seed=1):
    sources = tuple(
        FilesSource(kind="files", path=str(path), text_column="text", source=f"source{number}")
        for number, path in enumerate(paths)
    )
    config = CorpusConfig(
        sources=sources,
        sample_bytes=sample_bytes,
        max_document_bytes=max_document_bytes,
        held_out_share=held_out_share,
    )
    return CorpusStep(corpus=config, seed=seed)


def run(config, folder):
    folder.mkdir(parents=True, exist_ok=True)
    result = read_corpus(config, {}, Workspace(folder, MachineConfig(), Silent(), folder, "test"))
    documents = list(read_rows(folder / "documents.parquet", Document))
    held_out = list(read_rows(folder / "held_out.parquet", Document))
    dropped = list(read_rows(folder / "dropped.parquet", Dropped))
    assert result.counts.balanced()
    assert result.counts.kept == len(documents) + len(held_out)
    assert dict(Counter(row.reason for row in dropped)) == dict(result.counts.dropped)
    for row in documents + held_out:
        assert row.id == content_id(row.text)
    return result, documents, held_out, dropped


def write_files(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_every_planted_fault_has_its_reason(tmp_path):
    files = {
        "a.py": "x = 1\n",
        "b/copy.py": "x = 1\n",
        "b/empty.py": b"",
        "b/blank.txt": " \n\t\n",
        "latin.py": b"# caf\xe9\n",
        "long.md": "y" * 10_001,
        "full.md": "y" * 10_000,
        "crlf.py": b"\xef\xbb\xbfa = 1\r\nb = 2\r\n",
        "ignored.bin": b"\x00",
        ".hidden/x.py": "z = 1\n",
        "__pycache__/x.py": "z = 1\n",
    }
    folder = write_files(tmp_path / "in", files)
    (folder / "broken.py").symlink_to(folder / "nowhere")
    _, documents, _, dropped = run(corpus_of(folder), tmp_path / "out")
    assert {json.loads(row.meta)["path"]: row.text for row in documents} == {
        "a.py": "x = 1\n",
        "crlf.py": "a = 1\nb = 2\n",
        "full.md": "y" * 10_000,
    }
    assert sorted((row.reason, row.detail) for row in dropped) == [
        ("bad UTF-8", "latin.py: byte 0xe9 at 5"),
        ("empty", "b/blank.txt"),
        ("empty", "b/empty.py"),
        ("exact duplicate", "b/copy.py: of a.py"),
        ("too long", "long.md: 10001 bytes"),
        ("unreadable", "broken.py: No such file or directory"),
    ]


def test_a_name_that_is_not_utf8_can_be_written(tmp_path):
    folder = write_files(tmp_path / "in", {"a.py": "x = 1\n"})
    (folder / os.fsdecode(b"caf\xe9.py")).write_text("x = 2\n")
    (folder / os.fsdecode(b"caf\xe9 copy.py")).write_text("x = 1\n")
    _, documents, _, dropped = run(corpus_of(folder), tmp_path / "out")
    assert [json.loads(row.meta)["path"] for row in documents] == ["a.py", "caf\\xe9.py"]
    assert [row.detail for row in dropped] == ["caf\\xe9 copy.py: of a.py"]


def jsonl(*rows):
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "jsonl.zst"])
def test_bad_json_lines_are_named_and_good_ones_kept(tmp_path, suffix):
    data = jsonl(
        {"text": "one", "n": 1},
        '{"text": "two"',
        "[1, 2]",
        {"body": "no text"},
        {"text": None},
        {"text": "half \ud800"},
        {"text": "three"},
        "",
        {"text": "t" * 10_001},
        {"text": "one"},
    )
    data = data.replace(b"three", b"dr\xc3\xa9i") + b'{"text": "\xff"}\n' + b'{"text": "last"}'
    pack = {"jsonl": bytes, "jsonl.gz": gzip.compress, "jsonl.zst": zstandard.compress}[suffix]
    (tmp_path / f"rows.{suffix}").write_bytes(pack(data))
    result, documents, _, dropped = run(corpus_of(tmp_path / f"rows.{suffix}"), tmp_path / "out")
    assert [row.text for row in documents] == ["one", "dréi", "last"]
    assert [json.loads(row.meta) for row in documents] == [
        {"path": f"rows.{suffix}", "line": line} for line in (1, 7, 12)
    ]
    name = f"rows.{suffix}, line"
    reasons = [(row.reason, row.detail.split(":")[0]) for row in dropped]
    assert reasons == [
        ("bad JSON", f"{name} 2"),
        ("bad JSON", f"{name} 3"),
        ("no text", f"{name} 4"),
        ("no text", f"{name} 5"),
        ("bad UTF-8", f"{name} 6"),
        ("too long", f"{name} 9"),
        ("exact duplicate", f"{name} 10"),
        ("bad UTF-8", f"{name} 11"),
    ]
    assert result.counts.read == 11


def test_a_line_longer_than_memory_allows_is_skipped_not_its_neighbours(tmp_path):
    giant = b'{"text": "' + b"x" * 5_000_000 + b'"}\n'
    (tmp_path / "rows.jsonl").write_bytes(jsonl({"text": "before"}) + giant + jsonl({"text": "after"}))
    _, documents, _, dropped = run(corpus_of(tmp_path / "rows.jsonl"), tmp_path / "out")
    assert [row.text for row in documents] == ["before", "after"]
    assert [(row.reason, row.detail.split(":")[0]) for row in dropped] == [("too long", "rows.jsonl, line 2")]


def test_a_cut_archive_keeps_what_came_before_the_cut(tmp_path):
    rows = jsonl(*({"text": f"{n} {random.Random(n).random()}"} for n in range(4000)))
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(rows)[:-20_000])
    _, documents, _, dropped = run(corpus_of(tmp_path / "rows.jsonl.gz"), tmp_path / "out")
    assert 0 < len(documents) < 4000
    assert dropped[-1].reason == "unreadable"


def test_parquet_rows(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": ["one", None, "two"], "other": [1, 2, 3]}), path)
    _, documents, _, dropped = run(corpus_of(path), tmp_path / "out")
    assert [row.text for row in documents] == ["one", "two"]
    assert [(row.reason, row.detail) for row in dropped] == [("no text", "rows.parquet, line 2: null in `text`")]
    pq.write_table(pa.table({"body": ["one"], "text": [1]}), path)
    with pytest.raises(UserError, match=r"rows\.parquet: has no text column `text`; it has body \(string\), text"):
        run(corpus_of(path), tmp_path / "again")
    assert list((tmp_path / "again").iterdir()) == []


def test_a_glob_names_files_by_what_follows_its_fixed_part(tmp_path):
    folder = write_files(tmp_path / "in", {"a/one.rst": "one", "b/two.rst": "two", "b/three.cfg": "three"})
    _, documents, _, _ = run(corpus_of(folder / "*" / "*.rst"), tmp_path / "out")
    assert [json.loads(row.meta)["path"] for row in documents] == ["a/one.rst", "b/two.rst"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "missing: no such file or directory"),
        ("hollow", "hollow: holds no files"),
        ("*.none", "none: holds no files"),
        ("blank", "blank: holds no usable text (empty 1)"),
    ],
)
def test_a_source_with_nothing_stops_before_anything_is_written(tmp_path, name, message):
    (tmp_path / "hollow").mkdir()
    write_files(tmp_path, {"blank/a.txt": "\n", "good/a.txt": "text"})
    with pytest.raises(UserError) as caught:
        run(corpus_of(tmp_path / "good", tmp_path / name), tmp_path / "out")
    assert message in str(caught.value)
    assert "mend `path`" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def random_files(count):
    rng = random.Random(5)
    return {f"{n % 7}/f{n}.py": f"{n} " + "word " * rng.randrange(10, 400) for n in range(count)}


def test_the_sample_is_what_sorting_by_hash_gives(tmp_path):
    files = random_files(400)
    folder = write_files(tmp_path / "in", files)
    _, documents, held_out, dropped = run(
        corpus_of(folder, sample_bytes=100_000, held_out_share=0.25, seed=3), tmp_path / "out"
    )
    expected, total = set(), 0
    for text in sorted(files.values(), key=lambda text: draw(3, "sample", content_id(text))):
        total += len(text)
        if total > 100_000:
            break
        expected.add(text)
    assert {row.text for row in documents + held_out} == expected
    assert len(held_out) == pytest.approx(0.25 * len(expected), rel=0.5)
    assert {row.reason for row in dropped} == {"not sampled"}
    assert not {row.id for row in documents} & {row.id for row in held_out}


def test_the_sample_does_not_depend_on_names_and_order(tmp_path):
    files = list(random_files(200).values())
    one = write_files(tmp_path / "one", {f"{n:03}.py": text for n, text in enumerate(files)})
    other = write_files(tmp_path / "other", {f"{n:03}.py": text for n, text in enumerate(reversed(files))})
    outcomes = []
    for folder in (one, other):
        _, documents, held_out, _ = run(
            corpus_of(folder, sample_bytes=50_000, held_out_share=0.3), tmp_path / "out" / folder.name
        )
        outcomes.append(({row.id for row in documents}, {row.id for row in held_out}))
    assert outcomes[0] == outcomes[1]


def test_another_seed_draws_another_sample_and_the_same_seed_the_same_bytes(tmp_path):
    folder = write_files(tmp_path / "in", random_files(200))
    ids = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        _, documents, _, _ = run(corpus_of(folder, sample_bytes=50_000, seed=seed), tmp_path / name)
        ids[name] = {row.id for row in documents}
    assert ids["a"] != ids["c"]
    for file in ("documents.parquet", "held_out.parquet", "dropped.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_larger_sample_holds_the_smaller_one(tmp_path):
    folder = write_files(tmp_path / "in", random_files(200))
    small = {row.id for row in run(corpus_of(folder, sample_bytes=20_000), tmp_path / "small")[1]}
    large = {row.id for row in run(corpus_of(folder, sample_bytes=60_000), tmp_path / "large")[1]}
    assert small < large


def test_installed_code_is_listed_by_package_without_ourselves():
    config = CorpusConfig(
        sources=(InstalledSource(kind="installed"),), sample_bytes=1, max_document_bytes=1, held_out_share=0.5
    )
    files = list_files(config)
    source_of = {file.name: file.source for file in files}
    assert source_of["stdlib/ast.py"] == "stdlib"
    assert source_of["stdlib/json/decoder.py"] == "stdlib/json"
    assert source_of["numpy/__init__.py"] == "numpy"
    assert source_of["pytest/__init__.py"] == "pytest"
    assert len(source_of) == len(files)
    assert all(file.path.suffix == ".py" and "__pycache__" not in file.path.parts for file in files)
    assert "hornbook" not in set(source_of.values())
    assert not [name for name in source_of if name.startswith(("__editable__", "stdlib/site-packages"))]


def test_installed_prose_is_descriptions_and_help_topics_without_ourselves():
    source = InstalledProseSource(kind="installed_prose")
    config = CorpusConfig(sources=(source,), sample_bytes=1, max_document_bytes=1, held_out_share=0.5)
    files = list_files(config)
    texts = {file.source: [found.text for found in read_texts(file, LARGE)] for file in files}
    assert "hornbook" not in texts
    assert any(text.startswith("Boolean operations\n***") for text in texts["stdlib/pydoc_data"])
    assert len(texts["stdlib/pydoc_data"]) > 70
    (numpy,) = texts["numpy"]
    assert "NumPy is the fundamental package for scientific computing" in numpy
    assert "Metadata-Version" not in numpy


def description(tmp_path, text):
    path = tmp_path / "METADATA"
    path.write_text(text)
    return next(read_texts(SourceFile(path, "METADATA", "own", "description"), 1000))


def test_the_description_of_a_package_is_its_body_or_in_old_metadata_a_field(tmp_path):
    header = "Metadata-Version: 2.1\nName: own\nLicense: long\n        licence\n"
    assert description(tmp_path, f"{header}\n# Own\n\nIt owns.\n\n").text == "# Own\n\nIt owns.\n"
    field = "Description: Own\n        ===\n        \n        It owns: all.\nPlatform: any\n"
    assert description(tmp_path, header + field).text == "Own\n===\n\nIt owns: all.\n"
    assert (
        description(tmp_path, header + "Description: Own\n       |===\n       |It owns.\n").text
        == "Own\n===\nIt owns.\n"
    )
    assert description(tmp_path, header).reason == "empty"
    # The limit is on the description, not on the header before it.
    assert description(tmp_path, f"{header}Summary: {'s' * 2000}\n\n{'y' * 999}\n").reason == ""
    assert description(tmp_path, f"{header}\n{'y' * 1000}\n").reason == "too long"


def test_help_topics_are_read_and_never_run(tmp_path):
    def read(text):
        path = tmp_path / "topics.py"
        path.write_text(text)
        return list(read_texts(SourceFile(path, "topics.py", "own", "topics"), 10))

    found = read(
        "# comment\ntopics = {'a': 'One.\\n', 'b': 'Two ' 'more', 'c': 'x' * 11}\n".replace("'x' * 11", repr("x" * 11))
    )
    assert [(one.line, one.text, one.reason) for one in found] == [
        (1, "One.\n", ""),
        (2, "Two more", ""),
        (3, "", "too long"),
    ]
    for text in ("topics = {'a': open('/etc/passwd').read()}", "topics = [", "x", ""):
        assert [one.reason for one in read(text)] == ["empty" if not text else "unreadable"]


HUB_FILES = {
    "data/train-1.jsonl.gz": gzip.compress(b'{"content": "from lines"}\n{"other": 1}\n'),
    "notes/a.txt": b"a text\n",
    "README.md": b"not asked for\n",
}


def hub_source(**changed):
    fields = {
        "repo": "someone/lessons",
        "revision": "main",
        "files": ("data/*", "*.txt"),
        "text_column": "content",
        "source": "lessons",
    }
    return HubSource(kind="hub", **{**fields, **changed})


def test_a_dataset_of_the_hub_is_read_from_its_tables_and_texts_and_offline_again(monkeypatch, tmp_path):
    table = pa.table({"content": ["from rows", "from rows", None], "n": [1, 2, 3]})
    pq.write_table(table, tmp_path / "rows.parquet")
    files = {**HUB_FILES, "data/train-0.parquet": (tmp_path / "rows.parquet").read_bytes()}
    config = CorpusConfig(sources=(hub_source(),), sample_bytes=LARGE, max_document_bytes=10_000, held_out_share=1e-9)
    step = CorpusStep(corpus=config, seed=1)
    with serve({"someone/lessons": files}) as hub:
        point_at(monkeypatch, hub.url, tmp_path / "hub")
        _, documents, _, dropped = run(step, tmp_path / "out")
        assert [(row.text, row.source, json.loads(row.meta)) for row in documents] == [
            ("from rows", "lessons", {"path": "data/train-0.parquet", "line": 1}),
            ("from lines", "lessons", {"path": "data/train-1.jsonl.gz", "line": 1}),
            ("a text\n", "lessons", {"path": "notes/a.txt"}),
        ]
        assert sorted(row.reason for row in dropped) == ["exact duplicate", "no text", "no text"]
        for changed, message in (
            ({"text_column": "text"}, "has no text column `text`; it has content"),
            ({"files": ("README",)}, "no file of .* matches `README`"),
            (
                {"files": ("*.gz",), "text_column": "text"},
                "holds no usable text \\(no text 2\\); mend `files` or `text_column`",
            ),
        ):
            wrong = config.model_copy(update={"sources": (hub_source(**changed),)})
            with pytest.raises(UserError, match=message):
                run(CorpusStep(corpus=wrong, seed=1), tmp_path / "wrong")
    point_at(monkeypatch, "http://127.0.0.1:9", tmp_path / "hub", offline=True)
    assert run(step, tmp_path / "again")[1] == documents
    for name in ("documents", "held_out", "dropped"):
        assert (tmp_path / "again" / f"{name}.parquet").read_bytes() == (
            tmp_path / "out" / f"{name}.parquet"
        ).read_bytes()
