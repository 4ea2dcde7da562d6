"""The teacher behind an endpoint: answers in order, first replies shown before money is spent, and no key anywhere."""

import json
import re
import signal
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest
from teacher.asking import (
    HORNBOOK,
    IN,
    MODEL,
    OUT,
    PRICES,
    Watcher,
    ask,
    process,
    program,
    prompt_of,
    ratings,
    rows,
    teacher,
)
from teacher.faulty_server import healthy_content, serve, tokens
from teacher.real_server import make_tiny_model, serve_model

from hornbook.errors import UserError
from hornbook.recipe import HourPrice, LanguageModel
from hornbook.teacher import request as request_module
from hornbook.teacher.grading import GradeRequest, ProbeRequest, SafetyRequest
from hornbook.teacher.journal import PICO
from hornbook.teacher.request import ExerciseRequest, RateRequest, TestsRequest, TextbookRequest, TopicsRequest

REPLY = {"mode": "rating"}
KEY = "sk-secret-marker-0123456789abcdef"


def expected(request, reply=REPLY):
    """What a request must be answered."""
    return request.parse(healthy_content(reply, request.render()))


# ---- order ----


def test_answers_come_in_the_order_of_the_requests(tmp_path):
    requests = list(ratings(300))
    with serve({"reply": REPLY, "latency": [0.0, 0.15]}) as server:
        answers = ask(tmp_path, server.base_url, requests=requests, concurrency=32)
        arrived = [prompt_of(entry) for entry in sorted(server.log(), key=lambda entry: entry["done"])]
    assert [answer.value for answer in answers] == [expected(request) for request in requests]
    assert arrived != [request.render() for request in requests]


@pytest.mark.parametrize(
    ("mode", "request_"),
    [
        ("section", TextbookRequest("*args and **kwargs", "a pilot", "plain", 1, ("sky",))),
        ("exercise", ExerciseRequest("lists", 3, "count_up", "easy", ("cat",))),
        ("topics", TopicsRequest(("Science", "Physics"), 4, ("Optics",))),
        ("grade", GradeRequest("def f(): ...", "    return 1\n", 2)),
        ("grade", ProbeRequest("import pygame\n", "pygame.init()", "a window", 2)),
        ("safety", SafetyRequest("All cats are", " equal.\nContinuation: 00ff12\n", 2)),
    ],
)
def test_every_kind_of_request_has_its_answer(tmp_path, mode, request_):
    with serve({"reply": {"mode": mode}}) as server:
        (answer,) = ask(tmp_path, server.base_url, requests=[request_])
    assert answer.value == expected(request_, {"mode": mode})
    if mode == "exercise":
        further = TestsRequest(answer.value.name, answer.value.prompt, 1)
        with serve({"reply": {"mode": "tests"}}) as server:
            (tests,) = ask(tmp_path, server.base_url, requests=[further])
        exec("\n".join([answer.value.prompt + answer.value.solution, *tests.value]), {})


def test_what_is_asked_twice_is_sent_once(tmp_path):
    faults = [{"when": {"contains": "x + 3 "}, "fault": "refusal"}]
    with serve({"reply": REPLY, "faults": faults, "latency": [0.0, 0.2]}) as server:
        twice = [request for request in ratings(40) for _ in range(2)] + list(ratings(40))
        answers = ask(tmp_path, server.base_url, requests=twice, concurrency=8)
        assert server.counts()["requests"] == server.counts()["distinct"] == 40
    assert answers[0:80:2] == answers[1:80:2] == answers[80:]
    assert [answer.failure.reason for answer in answers if answer.failure] == ["refused"] * 3


def test_one_slow_reply_holds_nobody_up_but_for_the_window(tmp_path):
    late = {"when": {"contains": "x + 5 "}, "fault": "late", "seconds": 1.5}
    with serve({"reply": REPLY, "faults": [late], "latency": 0.01}) as server:
        answers = ask(tmp_path, server.base_url, requests=ratings(300), concurrency=8)
        log = server.log()
    assert all(answer.value for answer in answers)
    answered = next(entry["done"] for entry in log if entry["fault"])
    before = sum(entry["time"] < answered for entry in log)
    assert 8 * 16 - 8 <= before <= 8 * 16 + 8  # as many as may wait, and no more


def test_requests_are_taken_as_they_are_needed(tmp_path):
    taken = []

    def requests():
        for request in ratings(100_000):
            taken.append(request)
            yield request

    with serve({"reply": REPLY, "latency": 0.02}) as server:
        with teacher(tmp_path, server.base_url, concurrency=4) as asked:
            list(islice(asked.answers(requests()), 50))
        assert 50 <= len(taken) < 50 + 4 * 16 + 4
        assert server.counts()["requests"] <= len(taken)
        asked_before = server.counts()["requests"]
        taken.clear()
        with teacher(tmp_path, server.base_url, concurrency=4) as asked:  # out of the journal
            list(islice(asked.answers(requests()), 40))
        assert len(taken) < 40 + 4 * 16 + 4
        assert server.counts()["requests"] <= asked_before + 4


def test_closing_keeps_what_is_under_way_and_asks_nothing_more(tmp_path):
    with serve({"reply": REPLY, "latency": 0.3}) as server:
        with teacher(tmp_path, server.base_url, concurrency=16) as asked:
            next(asked.answers(ratings(500)))
            sent = server.counts()["requests"]
        assert server.counts()["requests"] <= sent + 16
        assert rows(tmp_path, "SELECT COUNT(*) FROM replies") == [(server.counts()["healthy"],)]
        assert server.counts()["left"] == 0


# ---- the first replies, and what the rest will cost ----


def test_the_first_replies_are_shown_and_kept_and_nothing_else_is_asked(tmp_path):
    watcher = Watcher()
    first = list(ratings(10))
    with (
        serve({"reply": REPLY}) as server,
        teacher(tmp_path, server.base_url, preview="ask", watcher=watcher, prices=PRICES) as asked,
    ):
        with pytest.raises(
            UserError, match=r"the first replies to a new prompt are in (.*\.md): .* go on with --yes"
        ) as told:
            asked.rehearse(ratings(500), 500)
        # They are under way together, so they may arrive in any order.
        assert sorted(map(prompt_of, server.log())) == sorted(request.render() for request in first)
    (preview,) = (tmp_path / "previews").iterdir()
    assert str(preview) in str(told.value)
    text = preview.read_text()
    for request in first:
        reply = healthy_content(REPLY, request.render())
        assert f"{request.subject}\n\n## Prompt\n\n{request.render()}\n\n## Reply\n\n{reply}\n" in text
        assert any(f"document: {request.echo}\n" in said for said in watcher.heard)
    assert watcher.asked == ["  Go on with the rest, 490 requests?"]


def test_the_estimate_is_the_mean_of_the_first_replies_times_all(tmp_path):
    watcher = Watcher()
    # Prompts of 1 to 10 further tokens and replies of 20 to 29: 4 bytes a token.
    requests = [RateRequest("x" * 4 * number, "s") for number in range(1, 11)]
    base = tokens(RateRequest("", "s").render())
    reply = {"mode": "lookup", "texts": {f"\n{r.document}\n": "y" * 4 * (19 + n) for n, r in enumerate(requests, 1)}}
    with serve({"reply": reply}) as server, teacher(tmp_path, server.base_url, watcher=watcher, prices=PRICES) as asked:
        asked.rehearse(requests, 1010)  # ten of them are paid then
    tokens_in, tokens_out = 1000 * (base + 5.5), 1000 * 24.5
    usd = (tokens_in * IN + tokens_out * OUT) / PICO
    told = f"from 10 replies: {tokens_in:,.0f} tokens in, {tokens_out:,.0f} out, ${usd:.2f}, "
    assert f"1,000 of 1,010 requests, {told}" in watcher.heard[-1]
    assert usd > 0.1


def test_the_estimate_of_time_and_of_hours_paid(tmp_path):
    watcher = Watcher()
    with (
        serve({"reply": REPLY, "latency": 0.3}) as server,
        teacher(
            tmp_path, server.base_url, watcher=watcher, concurrency=10, prices={"faulty": HourPrice(hour_usd=6.0)}
        ) as asked,
    ):
        asked.rehearse(ratings(10), 240_000)  # 0.3 s × 240,000 / 10: two hours
    usd, hours = re.search(r"\$([\d.]+), about ([\d.]+) h with 10 at once", watcher.heard[-1]).groups()
    assert 2.0 <= float(hours) < 3.0
    assert float(usd) == pytest.approx(6.0 * float(hours), abs=0.31)


def test_a_count_below_ten_asks_no_more_than_that(tmp_path):
    watcher = Watcher()
    with serve({"reply": REPLY}) as server:
        with teacher(tmp_path, server.base_url, preview="ask", watcher=watcher) as asked:
            asked.rehearse(ratings(1000), 3)
        assert server.counts()["requests"] == 3
    assert watcher.asked == []


def reword(monkeypatch):
    text = request_module.read_prompt("rate").replace("mostly boilerplate", "mainly boilerplate")
    monkeypatch.setattr(request_module, "read_prompt", lambda name: text)
    monkeypatch.setattr("hornbook.teacher.rehearsal.prompt_id", lambda name: "another")


def test_a_prompt_that_was_seen_is_not_shown_again_and_a_new_one_is(tmp_path, monkeypatch):
    def rehearse(server, reply, preview="ask", **more):
        watcher = Watcher(reply)
        with teacher(tmp_path, server.base_url, preview=preview, watcher=watcher, **more) as asked:
            try:
                asked.rehearse(ratings(100), 100)
            except UserError as error:
                return str(error)
        return len(watcher.asked)

    with serve({"reply": REPLY}) as server:
        assert rehearse(server, False) == "stopped after the first replies, as you said; they are kept"
        assert rehearse(server, True) == 1
        assert rehearse(server, None) == 0
        assert rehearse(server, None, concurrency=2, step="another") == 0
        other = LanguageModel.model_validate(MODEL.model_dump() | {"temperature": 0.5})
        assert "look at them, then go on with --yes" in rehearse(server, None, model=other)
        assert rehearse(server, None, "go on", model=other) == 0
        assert rehearse(server, None, model=other) == 0
        reword(monkeypatch)
        assert rehearse(server, True) == 1
        assert server.counts()["requests"] == 30


def test_first_replies_of_no_use_are_shown_with_their_reason_and_harmlessly(tmp_path):
    watcher = Watcher(True)
    reply = {"mode": "fixed", "text": "\x1b[31mno JSON\x07\n" + "a long line " * 20 + "\n" * 20 + "the end"}
    with serve({"reply": reply}) as server, teacher(tmp_path, server.base_url, preview="ask", watcher=watcher) as asked:
        asked.rehearse(ratings(50), 50)
    shown = next(text for text in watcher.heard if "reply 1 of 10" in text)
    assert "[of no use: unparsed: no JSON object in the reply]" in shown
    assert "�[31mno JSON�" in shown
    assert "\x1b" not in "".join(watcher.heard)
    assert max(map(len, shown.split("\n"))) < 130
    assert "more lines" in shown
    (preview,) = (tmp_path / "previews").iterdir()
    assert preview.read_text().count("the end") == 10


def annotate(work, url, source, *more, **environment):
    """`hornbook annotate` in a process of its own."""
    options = ["--out", work / "out.jsonl", "--work", work, "--teacher", "openai:faulty", "--base-url", url, *more]
    return process(*HORNBOOK, "annotate", source, *options, **environment)


def documents(path, count):
    path.write_text("".join(json.dumps({"text": f"x = {n}\n"}) + "\n" for n in range(count)))
    return path


def test_the_command_stops_after_ten_without_a_terminal_and_goes_on_with_yes(tmp_path):
    source = documents(tmp_path / "documents.jsonl", 25)
    with serve({"reply": REPLY}) as server:
        with annotate(tmp_path, server.base_url, source) as running:
            said, errors = running.communicate(timeout=60)
        assert (running.returncode, server.counts()["requests"]) == (1, 10)
        assert "reply 10 of 10" in errors
        assert "go on with --yes" in errors.splitlines()[-1]
        assert not (tmp_path / "out.jsonl").exists()
        with annotate(tmp_path, server.base_url, source, "--yes") as running:
            said, errors = running.communicate(timeout=60)
        assert (running.returncode, server.counts()["requests"]) == (0, 25), errors
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 25
    assert said


# ---- keys ----

# What a reply can do with a key: say it, and say it in other bytes.
SPELLED = json.dumps({"choices": [{"message": {"content": f"the key is {KEY}"}}], "model": KEY}).replace(
    "sk-", "\\u0073k-"
)
ECHOES = [
    {"when": {"contains": "x = 1\n"}, "fault": "key_echo", "status": 400},
    {"when": {"contains": "x = 2\n"}, "fault": "key_echo", "status": 500},
    {"when": {"contains": "x = 3\n", "times": 2}, "fault": "key_echo", "status": 429},
    {"when": {"contains": "x = 4\n"}, "fault": "refusal", "text": f"no, {KEY}, no"},
    {"when": {"contains": "x = 5\n"}, "fault": "no_http", "bytes": f"HTTP/1.1 200 OK\r\n\r\n{SPELLED}"},
    {"when": {"contains": "x = 6\n"}, "fault": "no_http", "bytes": f"HTTP/1.1 200 OK\r\n\r\n{KEY} no JSON {KEY}"},
    {"when": {"contains": "x = 7\n"}, "fault": "status", "status": 200, "body": {"error": KEY, "choices": []}},
    {"when": {"contains": "x = 8\n"}, "fault": "no_http", "bytes": f"{KEY} {KEY}\r\n\r\n"},
    {"when": {"contains": "x = 9\n"}, "fault": "status", "status": 418, "body": "y" * 250 + KEY},
]  # fmt: skip


def holders(folder, *texts):
    """The files, and the texts, that hold the key or the secret part of it."""
    found = [path for path in Path(folder).rglob("*") if path.is_file() and b"secret-marker" in path.read_bytes()]
    return found + [text for text in texts if "secret-marker" in text]


RATING = """
from pathlib import Path
from teacher.asking import MODEL, PRICES, workspace
from hornbook import on_files
from hornbook.recipe import AnnotateConfig
from hornbook.step_config import AnnotateStep
from hornbook.run.progress import Terminal
asked = AnnotateConfig(teacher=MODEL, about="code", sample=1000, max_characters=None, failure_limit=1.0)
stage = on_files.Stage(on_files.rate_and_place, AnnotateStep(annotate=asked, seed=1), "placed", 1.0)
work, progress = Path("$work"), Terminal()
machine = workspace(work, "$url", attempts=2, concurrency=16, prices=PRICES).machine
def inputs(folder):
    return {"corpus": on_files.stage_documents(Path("$source"), "text", folder / "corpus", progress)}
print(on_files.run_stage("annotate", stage, inputs, work / "out.jsonl", machine, work, progress))
"""


def test_the_key_is_in_no_file_no_output_and_no_process_list(tmp_path):
    source = documents(tmp_path / "documents.jsonl", 100)
    names = {"work": tmp_path, "source": source}
    reply = REPLY | {"wrap": [f"{KEY} ", f" {KEY}"]}
    held = {"when": {"after": 60}, "fault": "stall"}
    with serve({"reply": reply, "faults": [*ECHOES, held]}) as server:
        with program(RATING, url=server.base_url, **names, OPENAI_API_KEY=KEY) as running:
            while server.counts()["requests"] < 60 + 4:
                assert running.poll() is None, running.stderr.read()
                time.sleep(0.02)
            assert words_of_processes("secret-marker") <= {server.process.pid}
            running.send_signal(signal.SIGKILL)
            said, errors = running.communicate(timeout=30)
        assert (tmp_path / "journal.sqlite-wal").stat().st_size > 0
        assert holders(tmp_path, said, errors) == []
        server.change({"reply": reply, "faults": ECHOES})
        with program(RATING, url=server.base_url, **names, OPENAI_API_KEY=KEY) as running:
            said, errors = running.communicate(timeout=60)
        assert running.returncode == 0, errors
        assert {entry["headers"]["authorization"] for entry in server.log()} == {f"Bearer {KEY}"}
        assert holders(tmp_path, said, errors) == []
        failures = [json.loads(line) for line in (tmp_path / "out.failed.jsonl").read_text().splitlines()]
        assert len(failures) == 8
        assert sum("[key]" in row["raw"] + row["detail"] for row in failures) == 7
        server.change({"faults": [{"fault": "key_echo"}]})
        (tmp_path / "again").mkdir()
        with annotate(tmp_path / "again", server.base_url, source, "--yes", OPENAI_API_KEY=KEY) as running:
            said, errors = running.communicate(timeout=60)
        assert running.returncode == 1
        assert "Incorrect API key provided: Bearer [key]" in errors.splitlines()[-1]
        assert holders(tmp_path, said, errors) == []


def words_of_processes(text):
    """The processes whose command line holds a text."""
    found = set()
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if text.encode() in command.read_bytes():
                found.add(int(command.parent.name))
    return found


@pytest.mark.parametrize("key", ["EMPTY", "none", "test", "x"])
def test_a_word_in_the_place_of_a_key_is_cut_out_of_no_reply(tmp_path, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    reply = {"mode": "rating", "score": 3, "wrap": [f"{key} test ", ""]}
    with serve({"reply": reply}) as server:
        ask(tmp_path, server.base_url, requests=ratings(1))
        assert server.log()[0]["headers"]["authorization"] == f"Bearer {key}"
    (content,) = rows(tmp_path, "SELECT content FROM replies")[0]
    assert content.startswith(f"{key} test ")


@pytest.mark.parametrize("key", ["sk-secret\nmarker", "sk-secret marker\x07", "sk-sécret-marker"])
def test_what_can_be_no_key_is_refused_and_not_shown(tmp_path, monkeypatch, key):
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(UserError, match="the key in MY_KEY holds characters that no key has; set it anew") as told:
        ask(tmp_path, "http://127.0.0.1:1/v1", requests=ratings(1), key_variable="MY_KEY")
    assert "cret" not in str(told.value)


def test_a_line_end_after_a_key_is_no_part_of_it(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\r\n")
    with serve({"reply": REPLY}) as server:
        ask(tmp_path, server.base_url, requests=ratings(1))
        assert server.log()[0]["headers"]["authorization"] == f"Bearer {KEY}"


def test_no_key_and_no_server_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match="no key: set the environment variable OPENAI_API_KEY, or give --base-url"):
        ask(tmp_path, requests=ratings(1), prices=PRICES)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    with pytest.raises(UserError, match="OPENAI_BASE_URL is set, and hornbook does not read it"):
        ask(tmp_path, requests=ratings(1), prices=PRICES)


@pytest.mark.parametrize(
    "place", ["user:secret-marker@h", "secret-marker@h", "h/v1?key=secret-marker", "h#secret-marker"]
)
def test_a_url_with_a_secret_is_refused_and_not_shown(tmp_path, place):
    source = documents(tmp_path / "documents.jsonl", 1)
    with annotate(tmp_path, f"http://{place}", source, "--yes") as running:
        said, errors = running.communicate(timeout=60)
    assert (running.returncode, said) == (1, "")
    assert errors.endswith("holds no user, password or query; keys come from the environment\n")
    assert errors.count("\n") == 1
    assert holders(tmp_path, said, errors) == []


# ---- a server that nobody here wrote ----


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A tiny model behind `transformers serve`: its URL and its name."""
    directory = tmp_path_factory.mktemp("tiny")
    make_tiny_model(directory)
    with serve_model(directory) as served:
        yield served


def test_nonsense_from_a_real_server_is_kept_and_paid_once(real, tmp_path):
    url, name = real
    model = LanguageModel(model=f"openai:{name}", temperature=0.0, top_p=None, max_tokens=20)
    requests = [*ratings(20), *(TextbookRequest(f"topic {n}", "a pilot", "plain", n) for n in range(5))]
    more = {"prices": {name: PRICES["faulty"]}, "concurrency": 4}
    with teacher(tmp_path, url, model=model, **more) as asked:
        answers = list(asked.answers(requests))
        ledger = asked.ledger()
    assert {answer.failure.reason for answer in answers} <= {"cut off", "unparsed", "wrong schema", "empty"}
    assert all(answer.failure.raw for answer in answers if answer.failure.reason != "empty")
    counted = rows(tmp_path, "SELECT SUM(prompt_tokens), SUM(completion_tokens) FROM replies")[0]
    assert (ledger["prompt_tokens"], ledger["completion_tokens"]) == counted
    assert counted[0] > 25 * 100
    assert 0 < counted[1] <= 25 * 20
    assert ledger["uncertain_usd"] == 0
    assert ledger["usd"] == (counted[0] * IN + counted[1] * OUT) / PICO
    assert ask(tmp_path, url, model=model, requests=requests, **more) == answers
    assert ask(tmp_path, model=model, requests=requests, offline=True) == answers
    assert rows(tmp_path, "SELECT COUNT(*) FROM costs") == [(25,)]


def test_the_command_line_over_a_real_server(real, tmp_path):
    url, name = real
    source = documents(tmp_path / "documents.jsonl", 12)
    more = ("--yes", "--failure-limit", "1.0", "--max-tokens", "20", "--teacher", f"openai:{name}")
    with annotate(tmp_path, url, source, *more) as running:
        said, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    failed = [json.loads(line) for line in (tmp_path / "out.failed.jsonl").read_text().splitlines()]
    assert len(failed) == 12
    assert all(row["raw"] and row["reason"] in ("cut off", "unparsed") for row in failed)
    assert said
