"""A reply is paid once: after SIGKILL, with other servers, more rows, other parsers; and what is not paid twice is told
from what must be."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from teacher.asking import MODEL, ask, ratings, rows, teacher
from teacher.faulty_server import serve

from hornbook.errors import UserError
from hornbook.recipe import AnnotateConfig, AnnotateStep
from hornbook.records import Document, content_id
from hornbook.tables import write_rows
from hornbook.teacher.journal import FILE, Cost, Journal, Parts, Reply, differences

DOCUMENTS = 2000
CONCURRENCY = 64
ANNOTATE = f"""
import sys
from pathlib import Path
from hornbook.curate.annotate import annotate_documents
from hornbook.recipe import AnnotateStep
from teacher.asking import workspace
folder, url = Path(sys.argv[1]), sys.argv[2]
config = AnnotateStep.model_validate_json(sys.argv[3])
(folder / "out").mkdir(exist_ok=True)
place = workspace(folder, url, out=folder / "out", concurrency={CONCURRENCY})
annotate_documents(config, {{"corpus": folder.parent / "corpus"}}, place)
"""


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "corpus").mkdir()
    texts = [f"def f(x):\n    return x + {number}\n" for number in range(DOCUMENTS)]
    write_rows(
        tmp_path / "corpus" / "documents.parquet", Document, (Document(content_id(t), t, "s", "{}") for t in texts)
    )
    return tmp_path


def start(folder, url):
    folder.mkdir(exist_ok=True)
    asked = AnnotateConfig(teacher=MODEL, sample=DOCUMENTS, max_characters=None, failure_limit=0.0)
    command = [sys.executable, "-c", ANNOTATE, str(folder), url, AnnotateStep(annotate=asked, seed=1).model_dump_json()]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(["tests", *sys.path])})


def test_killed_at_half_it_pays_for_what_was_under_way_and_ends_in_the_same_bytes(corpus):
    script = {"reply": {"mode": "rating"}, "latency": [0.01, 0.08]}
    with serve(script) as server:
        undisturbed = start(corpus / "whole", server.base_url)
        assert undisturbed.wait() == 0
        assert server.counts()["requests"] == DOCUMENTS
        server.clear()
        killed = start(corpus / "killed", server.base_url)
        while server.counts()["requests"] < DOCUMENTS // 2:
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        before = server.counts()["requests"]
        kept = len(rows(corpus / "killed", "SELECT key FROM replies"))
        assert before - kept <= CONCURRENCY
        assert start(corpus / "killed", server.base_url).wait() == 0
        counts = server.counts()
        assert counts["requests"] <= DOCUMENTS + CONCURRENCY
        assert counts["requests"] - DOCUMENTS == before - kept  # nothing else was asked again
        assert counts["distinct"] == DOCUMENTS
    for name in ("ratings.parquet", "failed.parquet"):
        assert (corpus / "killed" / "out" / name).read_bytes() == (corpus / "whole" / "out" / name).read_bytes()


def test_neither_rows_nor_pace_nor_server_nor_parser_buys_anything_again(tmp_path, monkeypatch):
    with serve({"reply": {"mode": "rating"}}) as first, serve({"reply": {"mode": "rating"}}) as second:
        answers = ask(tmp_path, first.base_url, requests=ratings(40), concurrency=8)
        assert ask(tmp_path, second.base_url, requests=ratings(40), concurrency=33) == answers
        more = ask(tmp_path, second.base_url, requests=ratings(50), step="another step", run="another run")
        assert more[:40] == answers
        assert (first.counts()["requests"], second.counts()["requests"]) == (40, 10)
        # Another parser reads the same replies.
        monkeypatch.setattr("hornbook.teacher.request.HIGHEST_SCORE", 1.0)
        reparsed = ask(tmp_path, second.base_url, requests=ratings(50))
        assert any(answer.value is None for answer in reparsed)
        assert second.counts()["requests"] == 10


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"temperature": 0.5}, "temperature: 0.0 → 0.5"),
        ({"temperature": None}, "temperature: 0.0 → not sent"),
        ({"top_p": 0.9}, "top_p: not sent → 0.9"),
        ({"max_tokens": 301}, "max_tokens: 300 → 301"),
        ({"model": "openai:other"}, "model: `faulty` → `other`"),
    ],
)
def test_what_determines_a_reply_is_paid_anew_and_named(tmp_path, changes, told):
    with serve({"reply": {"mode": "rating"}}) as server:
        ask(tmp_path, server.base_url, requests=ratings(3))
        changed = MODEL.model_copy(update=changes)
        with pytest.raises(UserError) as miss:
            ask(tmp_path, server.base_url, requests=ratings(3), model=changed, offline=True)
        assert f"it has one about the same that differs in {told}" in str(miss.value)
        assert server.counts()["requests"] == 3
        ask(tmp_path, server.base_url, requests=ratings(3), model=changed)
        assert server.counts()["requests"] == 6


def test_a_changed_prompt_is_told_by_its_first_line_that_differs(tmp_path, monkeypatch):
    with serve({"reply": {"mode": "rating"}}) as server:
        ask(tmp_path, server.base_url, requests=ratings(3))
        from hornbook.prompts.load import read_prompt

        changed = read_prompt("rate").replace("You rate Python files", "You judge Python files")
        monkeypatch.setattr("hornbook.teacher.request.read_prompt", lambda name: changed)
        with pytest.raises(UserError, match=r"prompt, line 1: `You rate Python files.*` → `You judge Python files"):
            ask(tmp_path, server.base_url, requests=ratings(3), offline=True)


def test_the_journal_answers_without_a_server_in_the_same_words(tmp_path):
    with serve({"reply": {"mode": "rating"}, "faults": [{"when": {"every": 7}, "fault": "length"}]}) as server:
        answers = ask(tmp_path, server.base_url, requests=ratings(60), concurrency=7)
    assert any(answer.failure is not None for answer in answers)
    assert (
        ask(tmp_path, requests=ratings(60), offline=True, prices={"faulty": {"input_usd": 0, "output_usd": 0}})
        == answers
    )


def parts(**changes):
    whole = Parts("rate", "rate x", "openai-chat", "m", "one\ntwo", {"temperature": 0.5, "max_tokens": 9}, "{}", 0)
    return replace(whole, **changes)


def test_a_key_holds_what_determines_a_reply_and_nothing_else():
    key = parts().key()
    assert parts(task="grade", subject="other", sampling={"max_tokens": 9, "temperature": 0.5}).key() == key
    for changes in (
        {"kind": "k"}, {"model": "n"}, {"prompt": "one\ntwo\n"}, {"form": ""}, {"sample": 1},
        {"sampling": {"temperature": 0.5, "max_tokens": 10}}, {"sampling": {"max_tokens": 9}},
    ):  # fmt: skip
        assert parts(**changes).key() != key
        assert len(differences(parts(), parts(**changes))) == 1
    assert differences(parts(), parts()) == []
    assert differences(parts(), parts(prompt="one\nthree")) == ["prompt, line 2: `two` → `three`"]
    assert differences(parts(), parts(prompt="one")) == ["prompt, line 2: `two` → nothing"]


def test_files_that_are_no_journal_of_ours_are_refused(tmp_path):
    (tmp_path / "text").write_text("not SQLite " * 500)
    with pytest.raises(UserError, match="cannot be used as the journal"):
        Journal(tmp_path / "text")
    with sqlite3.connect(tmp_path / "newer") as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(UserError, match="a journal of version 99, where this hornbook writes version 1"):
        Journal(tmp_path / "newer")


WRITER = """
import sys
from pathlib import Path
from hornbook.teacher.journal import Journal, Parts, Reply
with Journal(Path(sys.argv[1])) as journal:
    for number in range(int(sys.argv[2])):
        parts = Parts("rate", sys.argv[3], "k", "m", f"{sys.argv[3]} {number}", {}, "", 0)
        journal.keep(parts, Reply("x", "stop", "m", 1, 1), lambda error: None)
    journal.settle()
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / FILE), "400"]
    writers = [subprocess.Popen([*command, name]) for name in ("a", "b", "c")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert rows(tmp_path, "SELECT COUNT(*) FROM replies") == [(1200,)]


def test_a_journal_that_cannot_be_written_is_heard_of(tmp_path):
    with serve({"reply": {"mode": "rating"}}) as server, teacher(tmp_path, server.base_url) as asked:
        pages = sqlite3.connect(tmp_path / FILE)
        pages.execute("CREATE TRIGGER full BEFORE INSERT ON replies BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
        pages.commit()
        pages.close()
        with pytest.raises(UserError, match=r"journal\.sqlite: the journal cannot be written \(the disk is full\)"):
            list(asked.answers(ratings(5)))


def test_costs_stand_where_a_killed_attempt_left_them(tmp_path):
    with Journal(tmp_path / FILE) as journal:
        journal.charge("1", "run", "step", "k", Cost("sent", 10, 20, 700, 0.0), lambda error: None)
        journal.charge("2", "run", "step", "k", Cost("sent", 10, 20, 700, 0.0), lambda error: None)
        journal.charge("2", "run", "step", "k", Cost("reply", 9, 2, 50, 0.1), lambda error: None)
        journal.charge("3", "run", "other", "k", Cost("reply", 1, 1, 5, 0.1), lambda error: None)
        journal.charge("4", "other", "step", "k", Cost("reply", 1, 1, 5, 0.1), lambda error: None)
        journal.settle()
        spent = journal.spending("run", "step")
        assert (spent.requests, spent.pico_usd, spent.uncertain_pico_usd, spent.lost) == (2, 750, 700, 1)
        assert journal.spending("run").pico_usd == 755
        journal.keep(parts(), Reply("first", "stop", "m", None, None), lambda error: None)
        journal.keep(parts(), Reply("second", "stop", "m", None, None), lambda error: None)
        journal.settle()
        assert journal.find(parts().key()) == Reply("first", "stop", "m", None, None)
