"""What was paid once is never paid again, whatever kills the process, and what is not there is explained."""

import hashlib
import json
import signal
import sqlite3
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from teacher.asking import HORNBOOK, MODEL, ask, process, program, prompt_of, ratings, rows, teacher
from teacher.faulty_server import serve

from hornbook.errors import UserError
from hornbook.recipe import LanguageModel
from hornbook.teacher import request as request_module
from hornbook.teacher.grading import GradeRequest
from hornbook.teacher.journal import FILE, VERSION, Journal, Parts, Reply, differences
from hornbook.teacher.request import RateRequest

REPLY = {"mode": "rating"}
PARTS = Parts(
    "rate", "rate a of b", "openai-chat", "m", "line 1\nline 2\nß", {"temperature": 0.5, "max_tokens": 9}, "", 0
)


def kept(journal, parts, reply):
    """Keep a reply, on disk when this returns."""
    heard = []
    journal.keep(parts, reply, heard.append)
    journal.settle()
    assert heard == [None]


# ---- the file ----


def test_the_key_is_the_digest_of_what_determines_the_reply():
    text = '[1,"openai-chat","m","line 1\\nline 2\\nß",{"max_tokens":9,"temperature":0.5},"",0]'
    assert PARTS.key() == hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    assert replace(PARTS, sampling={"max_tokens": 9, "temperature": 0.5}).key() == PARTS.key()
    assert replace(PARTS, subject="another", task="grade").key() == PARTS.key()
    changed = [
        replace(PARTS, kind="x"),
        replace(PARTS, model="x"),
        replace(PARTS, prompt="x"),
        replace(PARTS, sampling={"temperature": 0.6, "max_tokens": 9}),
        replace(PARTS, sampling={"temperature": 0.5}),
        replace(PARTS, form="{}"),
        replace(PARTS, sample=1),
        PARTS,
    ]
    assert len({parts.key() for parts in changed}) == len(changed)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
COUNTS = st.none() | st.integers(0, 2**40)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.builds(Reply, TEXTS, TEXTS, TEXTS, COUNTS, COUNTS), max_size=5))
def test_what_is_kept_is_found(tmp_path_factory, replies):
    path = tmp_path_factory.mktemp("journal") / FILE
    with Journal(path) as journal:
        for number, reply in enumerate(replies):
            kept(journal, replace(PARTS, sample=number), reply)
            kept(journal, replace(PARTS, sample=number), replace(reply, content="another"))  # the first one stays
    with Journal(path) as journal:
        assert [journal.find(replace(PARTS, sample=n).key()) for n in range(len(replies))] == replies
        assert journal.find(replace(PARTS, sample=99).key()) is None


def test_a_journal_of_another_version_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / FILE
    with Journal(path) as journal:
        kept(journal, PARTS, Reply("x", "stop", "m", 1, 1))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute(f"PRAGMA user_version={VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(
        UserError, match=rf"a journal of version {VERSION + 1}, where this hornbook writes .* {VERSION}$"
    ):
        Journal(path)
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / FILE
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE guests(name TEXT)")
    before = path.read_bytes()
    with pytest.raises(UserError, match="a database, but no journal of replies"):
        Journal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all, but long enough for a page header " * 40, None])
def test_what_is_no_database_is_refused(tmp_path, content):
    path = tmp_path / FILE
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be used as the journal of replies"):
        Journal(path)


def test_a_damaged_journal_is_told_in_one_line(tmp_path):
    with Journal(tmp_path / FILE) as journal:
        for number in range(200):
            journal.keep(replace(PARTS, sample=number), Reply("x" * 500, "stop", "m", 1, 1), lambda error: None)
        journal.settle()
    with open(tmp_path / FILE, "r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * ((tmp_path / FILE).stat().st_size - 4096))
    with Journal(tmp_path / FILE) as journal, pytest.raises(UserError, match="the journal cannot be read"):
        [journal.find(replace(PARTS, sample=number).key()) for number in range(200)]


MANY_WRITERS = """
from pathlib import Path
from dataclasses import replace
from hornbook.teacher.journal import Cost, Journal, Parts, Reply
PARTS = $parts
heard = []
with Journal(Path("$path")) as journal:
    for number in range(300):
        parts = replace(PARTS, sample=$writer * 1000 + number)
        cost = Cost("reply", 1, 1, 5, 0.1)
        journal.charge(f"$writer-{number}", "run", "step", parts.key(), cost, heard.append)
        journal.keep(parts, Reply(f"$writer {number}", "stop", "m", 1, 1), heard.append)
        if number % 7 == 0:
            journal.settle()
    journal.settle()
assert heard == [None] * 600
"""


def test_processes_that_make_and_write_one_journal_at_once_lose_nothing(tmp_path):
    with ExitStack() as stack:
        path = tmp_path / "new" / FILE
        programs = [program(MANY_WRITERS, path=path, writer=writer, parts=PARTS) for writer in range(4)]
        for running in list(map(stack.enter_context, programs)):
            _, errors = running.communicate(timeout=60)
            assert running.returncode == 0, errors
    contents = {content for (content,) in rows(tmp_path / "new", "SELECT content FROM replies")}
    assert contents == {f"{writer} {number}" for writer in range(4) for number in range(300)}
    assert rows(tmp_path / "new", "SELECT COUNT(*), SUM(pico_usd) FROM costs") == [(1200, 6000)]


SAID_TO_BE_KEPT = """
import os, signal
from pathlib import Path
from dataclasses import replace
from hornbook.teacher.journal import Journal, Parts, Reply
PARTS = $parts
journal = Journal(Path("$path"))
def said(number):
    def done(error):
        os.write(1, f"{number}\\n".encode())
        if number == 700:
            os.kill(os.getpid(), signal.SIGKILL)
    return done
for number in range(5000):
    journal.keep(replace(PARTS, sample=number), Reply(f"{number}", "stop", "m", 1, 1), said(number))
journal.settle()
"""


def test_what_is_said_to_be_kept_is_there_after_sigkill(tmp_path):
    with program(SAID_TO_BE_KEPT, path=tmp_path / FILE, parts=PARTS) as running:
        said, _ = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGKILL
    with Journal(tmp_path / FILE) as journal:
        missing = [n for n in said.split() if journal.find(replace(PARTS, sample=int(n)).key()) is None]
    assert missing == []
    assert len(said.split()) >= 700


FULL_DISK = """
import resource, sys, time
from pathlib import Path
from teacher.asking import PRICES, ratings, teacher
from hornbook.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))  # Python ignores SIGXFSZ: a write past it is an error
given, started = 0, time.monotonic()
try:
    with teacher(Path("$work"), "$url", prices=PRICES, concurrency=16) as asked:
        for answer in asked.answers(ratings(3000)):
            given += 1
except UserError as error:
    print(given, time.monotonic() - started < 30, error)
"""


def test_a_full_disk_stops_the_run_with_one_line_and_loses_nothing_that_was_given(tmp_path):
    with serve({"reply": REPLY}) as server:
        with program(FULL_DISK, work=tmp_path, url=server.base_url) as running:
            said, errors = running.communicate(timeout=60)
        assert (running.returncode, errors) == (0, "")
        given, quick, message = said.strip().split(" ", 2)
        assert quick == "True"
        assert message.startswith(f"{tmp_path / FILE}: the journal cannot be written (")
        answered = rows(tmp_path, "SELECT COUNT(*) FROM replies")[0][0]
        assert 3000 > answered >= int(given) > 0
        asked = server.counts()["requests"]
        assert all(a.value for a in ask(tmp_path, server.base_url, requests=ratings(answered)))
        assert server.counts()["requests"] == asked


def test_what_cannot_be_written_at_all_is_told_and_blocks_nobody(tmp_path):
    with Journal(tmp_path / FILE) as journal:
        heard = []
        journal.keep(PARTS, Reply("x", "stop", "m", 2**70, 1), heard.append)
        with suppress(OverflowError):  # a write that fails takes its group with it
            journal.settle()
        assert isinstance(heard[0], OverflowError)
        kept(journal, PARTS, Reply("x", "stop", "m", 1, 1))
        assert journal.find(PARTS.key()) == Reply("x", "stop", "m", 1, 1)


# ---- killed at half, and gone on ----


def annotating(work, url, out, *more):
    """`hornbook annotate` in a process of its own."""
    options = ["--out", out, "--work", work, "--teacher", "openai:faulty", "--base-url", url, "--yes", *more]
    return process(*HORNBOOK, "annotate", *options)


def documents(path, count):
    """So many documents to rate."""
    path.write_text("".join(json.dumps({"text": f"x = {n}  # a document\n"}) + "\n" for n in range(count)))
    return path


def wait_for_requests(server, running, count):
    """Until so many have come to the server."""
    while server.counts()["requests"] < count:
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.02)


def test_a_run_killed_at_half_and_run_again_pays_once_and_ends_in_the_same_bytes(tmp_path):
    count, under_way = 800, 48
    # One in twenty is refused, at every run the same ones; latencies differ, so that replies overtake one another.
    faults = [{"when": {"share": 0.05}, "fault": "refusal"}]
    more = (documents(tmp_path / "documents.jsonl", count), "--concurrency", under_way, "--failure-limit", 0.2)
    outs = {name: tmp_path / name / "ratings.jsonl" for name in ("killed", "whole")}
    with serve({"reply": REPLY, "faults": faults, "latency": [0.01, 0.06]}) as server:

        def annotate(name):
            outs[name].parent.mkdir(exist_ok=True)
            return annotating(tmp_path / name / "work", server.base_url, outs[name], *more, "--price", "1,4")

        with annotate("killed") as running:
            wait_for_requests(server, running, count / 2)
        assert not outs["killed"].exists()
        for name in outs:
            with annotate(name) as running:
                _, errors = running.communicate(timeout=120)
            assert running.returncode == 0, errors
            if name == "killed":  # what was under way, or not yet on disk, when the process died was asked again
                assert count < server.counts()["requests"] <= count + under_way
                assert max(Counter(prompt_of(entry) for entry in server.log()).values()) == 2
    for name in ("ratings.jsonl", "ratings.failed.jsonl"):
        killed, whole = ((out.parent / name).read_bytes() for out in outs.values())
        assert killed == whole
        assert len(whole.splitlines()) > 20
    lost = rows(tmp_path / "killed" / "work", "SELECT COUNT(*), MIN(pico_usd) FROM costs WHERE outcome='sent'")
    assert 1 <= lost[0][0] <= under_way
    assert lost[0][1] > 0


def test_ctrl_c_keeps_what_was_paid(tmp_path):
    source = documents(tmp_path / "documents.jsonl", 3000)
    with serve({"reply": REPLY, "latency": 0.05}) as server:
        with annotating(tmp_path / "work", server.base_url, tmp_path / "out.jsonl", source) as running:
            wait_for_requests(server, running, 200)
            running.send_signal(signal.SIGINT)
            _, errors = running.communicate(timeout=30)
        answered = server.counts()["healthy"]
    assert running.returncode == 130, errors
    # The signal falls into whatever line is executed then: one reply may be lost with it.
    assert answered - 1 <= rows(tmp_path / "work", "SELECT COUNT(*) FROM replies")[0][0] <= answered


# ---- what is asked again, and what is not ----


@pytest.fixture
def paid(tmp_path):
    """A server, a work directory whose journal has the replies to 30 requests, and these answers."""
    with serve({"reply": REPLY}) as server:
        answers = ask(tmp_path, server.base_url, requests=ratings(30))
        assert server.counts()["requests"] == 30
        server.clear()
        yield server, tmp_path, answers


def test_how_it_is_asked_changes_no_reply(paid):
    server, work, answers = paid
    with serve({"reply": REPLY}) as other:
        for urls, more in [
            ([server.base_url], {"concurrency": 1}),
            ([other.base_url], {}),
            ([server.base_url, other.base_url], {"concurrency": 4000, "attempts": 1, "deadline_seconds": 1.0}),
            ([server.base_url], {"structured_output": "off", "max_usd": 5.0, "run": "another"}),
        ]:
            assert ask(work, *urls, requests=ratings(30), **more) == answers
        assert other.counts()["requests"] == 0
    assert server.counts()["requests"] == 0


def test_new_rows_alone_are_paid(paid):
    server, work, answers = paid
    fresh = list(ratings(5, "new"))
    mixed = [fresh[0], *ratings(10), *fresh[1:3], *list(ratings(30))[10:], *fresh[3:]]
    found = ask(work, server.base_url, requests=mixed)
    assert [found[place] for place in (*range(1, 11), *range(13, 33))] == answers
    assert sorted(prompt_of(entry) for entry in server.log()) == sorted(request.render() for request in fresh)


def test_another_parser_reads_the_old_replies(paid, monkeypatch):
    server, work, answers = paid
    parse = RateRequest.parse
    monkeypatch.setattr(RateRequest, "parse", lambda self, reply: replace(parse(self, reply), rationale="other"))
    found = ask(work, server.base_url, requests=ratings(30))
    assert [replace(a.value, rationale="other") for a in answers] == [a.value for a in found]
    assert server.counts()["requests"] == 0


def reworded(monkeypatch):
    text = request_module.read_prompt("rate").replace("mostly boilerplate", "mainly boilerplate")
    monkeypatch.setattr(request_module, "read_prompt", lambda name: text)


CHANGES = [
    ({"temperature": 0.5}, ["temperature: 0.0 → 0.5"]),
    ({"temperature": None}, ["temperature: 0.0 → not sent"]),
    ({"top_p": 0.9}, ["top_p: not sent → 0.9"]),
    ({"max_tokens": 301}, ["max_tokens: 300 → 301"]),
    ({"model": "openai:faulty-2"}, ["model: `faulty` → `faulty-2`"]),
    ({"model": "openai:x", "temperature": 1.0}, ["model: `faulty` → `x`", "temperature: 0.0 → 1.0"]),
    (
        None,
        [
            "prompt, line 7: `- 1: mostly boilerplate, or so tied to one project that it cannot be read alone.` → "
            "`- 1: mainly boilerplate, or so tied to one project that it cannot be read alone.`"
        ],
    ),
]


@pytest.mark.parametrize(("change", "told"), CHANGES, ids=lambda value: str(value)[:30])
def test_what_determines_a_reply_is_asked_anew_and_offline_says_what_differs(paid, monkeypatch, change, told):
    server, work, _ = paid
    model = MODEL
    if change is None:
        reworded(monkeypatch)
    else:
        model = LanguageModel.model_validate(MODEL.model_dump() | change)
    with pytest.raises(UserError) as error:
        ask(work, requests=ratings(30), model=model, offline=True)
    subject = next(ratings(1)).subject
    assert str(error.value) == (
        f"the reply to `{subject}` is not in {work / FILE}; it has one about the same that differs in "
        + "; ".join(told)
    )
    assert all(answer.value for answer in ask(work, server.base_url, requests=ratings(30), model=model))
    assert server.counts()["requests"] == 30


def test_samples_are_replies_of_their_own(tmp_path):
    def grades(numbers):
        return [GradeRequest("def f(): ...", "    return 1\n", number) for number in numbers]

    with serve({"reply": {"mode": "grade"}}) as server:
        ask(tmp_path, server.base_url, requests=grades([0, 1, 2]))
        ask(tmp_path, server.base_url, requests=grades([2, 1, 0, 3]))
        assert server.counts()["requests"] == 4
        assert server.counts()["distinct"] == 1
    with pytest.raises(UserError, match=r"differs in sample: `\d` → `4`$"):
        ask(tmp_path, requests=grades([4]), offline=True)


def test_offline_says_when_there_is_nothing_about_the_same_or_nothing_at_all(paid):
    _, work, _ = paid
    with pytest.raises(
        UserError, match=r"nor any about the same; the nearest, `rate .*`, differs in prompt, line \d+: "
    ):
        ask(work, requests=ratings(1, "never asked"), offline=True)
    with pytest.raises(UserError, match=r"which has no reply to any request of this kind \(`grade`\)$"):
        ask(work, requests=[GradeRequest("p", "a")], offline=True)


def test_offline_gives_the_same_answers_without_server_price_or_key(paid, monkeypatch):
    server, work, answers = paid
    server.stop()
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with teacher(work, offline=True) as asked:
        asked.rehearse(ratings(30), 30)
        assert list(asked.answers(ratings(30))) == answers
        ledger = asked.ledger()
    assert (ledger["from_journal"], ledger["sent_now"], ledger["requests_sent"]) == (30, 0, 30)
    assert not (work / "previews").exists()


LINES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=9), max_size=9)


@settings(deadline=None)
@given(LINES, LINES)
def test_of_two_prompts_the_first_line_that_differs_is_shown(before, after):
    old, new = replace(PARTS, prompt="\n".join(before)), replace(PARTS, prompt="\n".join(after))
    told = differences(old, new)
    if old.prompt == new.prompt:
        assert told == []
        return
    old_lines, new_lines = old.prompt.split("\n"), new.prompt.split("\n")
    number = int(told[0].removeprefix("prompt, line ").split(":")[0])
    assert old_lines[: number - 1] == new_lines[: number - 1]
    assert old_lines[number - 1 : number] != new_lines[number - 1 : number]
