"""The faulty server does what its script says: what is tested with it rests on that."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import openai
import pytest
from teacher.faulty_server import ANSWERS, BEHAVIOURS, REPLIES, healthy_content, serve, share

EVERY_FAULT = [
    {"when": {"contains": f"give {name}!"}, "fault": name, "seconds": 0.3, "status": 418, "megabytes": 2}
    for name in (*ANSWERS, *BEHAVIOURS)
]


@pytest.fixture(scope="module")
def server():
    with serve({"reply": {"mode": "echo"}, "faults": EVERY_FAULT}) as server:
        yield server


def body(prompt, **fields):
    return {"model": "m", "messages": [{"role": "user", "content": prompt}]} | fields


def ask(server, prompt, timeout=10.0, **fields):
    """Status, headers and body of an answer, read by the standard library."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)) as connection:
        headers = {"Authorization": "Bearer sk-secret", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body(prompt, **fields)), headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def choice(raw):
    return json.loads(raw)["choices"][0]


def wait_until(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def alive(pid):
    """Whether a process runs; one that ended may stay for its parent to see, without a command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except FileNotFoundError:
        return False


def sdk_asks(server, *prompts, **fields):
    """The completions the official client gets, all asked at once."""

    async def all_at_once():
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
            calls = [client.chat.completions.create(**body(prompt, **fields)) for prompt in prompts]
            return await asyncio.gather(*calls), await client.models.list()

    return asyncio.run(all_at_once())


def test_the_official_client_takes_healthy_replies_and_the_log_holds_every_request():
    prompts = [f"Was ist {n} ß?" for n in range(60)]
    with serve({"reply": {"mode": "echo"}, "latency": [0.0, 0.1]}) as server:
        answers, models = sdk_asks(server, *prompts, temperature=0.0)
        log, counts = server.log(), server.counts()
    assert [answer.choices[0].message.content for answer in answers] == [healthy_content({}, each) for each in prompts]
    assert {answer.choices[0].finish_reason for answer in answers} == {"stop"}
    assert answers[7].usage.prompt_tokens == 4  # 14 bytes
    assert [model.id for model in models.data] == ["faulty"]
    chats = [entry for entry in log if entry["number"]]
    assert {entry["body"]["messages"][0]["content"] for entry in chats} == set(prompts)
    assert {entry["headers"]["authorization"] for entry in chats} == {"Bearer k"}
    assert [entry["time"] for entry in log] == sorted(entry["time"] for entry in log)
    assert [entry["number"] for entry in chats] == list(range(1, 61))
    assert counts["requests"] == counts["distinct"] == counts["healthy"] == 60
    assert counts["in_work"] == 0


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("429", 429, "rate_limit_exceeded"),
        ("quota", 429, "insufficient_quota"),
        ("401", 401, "invalid_api_key"),
        ("404_model", 404, "model_not_found"),
        ("400_context_length", 400, "context_length_exceeded"),
        ("500", 500, None),
        ("503", 503, None),
    ],
)
def test_errors_are_written_as_openai_writes_them(server, fault, status, code):
    given, headers, raw = ask(server, f"give {fault}!")
    assert (given, json.loads(raw)["error"]["code"]) == (status, code)
    assert not [name for name in headers if name.startswith("retry-after")]


def test_retry_after_in_its_three_forms(server):
    assert ask(server, "give 429_retry_after!")[1]["retry-after"] == "0.3"
    assert ask(server, "give 429_retry_after_ms!")[1]["retry-after-ms"] == "100"
    before = datetime.now(UTC)
    date = ask(server, "give 429_retry_after_date!")[1]["retry-after"]
    assert 0.3 <= (parsedate_to_datetime(date) - before).total_seconds() < 5.0


def test_answers_that_are_no_completion(server):
    answers = {name: ask(server, f"give {name}!") for name in ("truncated_json", "malformed_json", "html_200")}
    assert {status for status, _, _ in answers.values()} == {200}
    for _, _, raw in answers.values():
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            json.loads(raw)
    assert answers["malformed_json"][1]["content-type"] == "application/json"
    assert answers["html_200"][1]["content-type"].startswith("text/html")
    assert json.loads(ask(server, "give wrong_schema!")[2]) == {"ok": True}
    assert isinstance(json.loads(ask(server, "give wrong_types!")[2])["choices"], str)
    assert json.loads(ask(server, "give empty_choices!")[2])["choices"] == []
    with pytest.raises(UnicodeDecodeError):
        ask(server, "give bad_utf8!")[2].decode()
    assert ask(server, "give status!")[0] == 418


def test_completions_that_are_no_answer(server):
    assert choice(ask(server, "give null_content!")[2])["message"]["content"] is None
    assert choice(ask(server, "give empty_content!")[2])["message"]["content"] == ""
    assert choice(ask(server, "give content_filter!")[2])["finish_reason"] == "content_filter"
    assert "sorry" in choice(ask(server, "give refusal!")[2])["message"]["refusal"]
    cut = choice(ask(server, "give length!")[2])
    whole = healthy_content({}, "give length!")
    assert (cut["finish_reason"], cut["message"]["content"]) == ("length", whole[: len(whole) // 2])
    assert len(choice(ask(server, "give huge!")[2])["message"]["content"]) == 2_000_000
    ask(server, "one prompt")
    assert choice(ask(server, "give another_reply!")[2])["message"]["content"] == healthy_content({}, "one prompt")


def test_the_key_comes_back(server):
    status, _, raw = ask(server, "give key_echo!")
    assert status == 418
    assert b"sk-secret" in raw


def test_connections_that_break(server):
    with pytest.raises(http.client.RemoteDisconnected):
        ask(server, "give drop_before!")
    with pytest.raises(ConnectionResetError):
        ask(server, "give reset!")
    with pytest.raises(http.client.IncompleteRead):
        ask(server, "give drop_mid_body!")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        text = json.dumps(body("give drop_mid_headers!")).encode()
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text))
        received = b"".join(iter(lambda: raw.recv(100), b""))
    assert received.startswith(b"HTTP/1.1 200")
    assert b"\r\n\r\n" not in received


def test_a_500_that_closes_a_connection_it_seemed_to_keep(server):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(body("give 500_close!")))
        answer = connection.getresponse()
        assert (answer.status, answer.will_close, answer.read()) == (500, False, b"Internal Server Error")
        assert connection.sock.recv(1) == b""


@pytest.mark.parametrize("fault", ["stall", "stall_mid_body"])
def test_stalls_last_until_the_client_leaves(server, fault):
    with pytest.raises(TimeoutError):
        ask(server, f"give {fault}!", timeout=0.2)
    wait_until(lambda: server.log()[-1]["left"])
    entry = server.log()[-1]
    assert (entry["fault"], entry["status"], server.counts()["in_work"]) == (fault, None, 0)


def test_what_is_no_http_and_what_never_ends(server):
    with pytest.raises(http.client.BadStatusLine):
        ask(server, "give no_http!")
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(body("give endless!")))
        assert len(connection.getresponse().read(20_000_000)) == 20_000_000
    wait_until(lambda: server.log()[-1]["left"])


@pytest.mark.parametrize("fault", ["slow_body", "late"])
def test_slow_answers_are_whole(server, fault):
    started = time.monotonic()
    status, _, raw = ask(server, f"give {fault}!")
    assert time.monotonic() - started >= 0.3
    assert (status, choice(raw)["message"]["content"]) == (200, healthy_content({}, f"give {fault}!"))


def test_every_fault_was_given_here_by_name():
    names = {fault["fault"] for fault in EVERY_FAULT}
    source = Path(__file__).read_text(encoding="utf-8")
    missing = [name for name in names if f"give {name}!" not in source and f'"{name}"' not in source]
    assert not missing


def test_conditions():
    faults = [
        {"when": {"every": 5}, "fault": "500"},
        {"when": {"first": 2}, "fault": "503"},
        {"when": {"contains": "third time", "attempt": 3}, "fault": "429"},
        {"when": {"after": 11}, "fault": "quota"},
    ]
    with serve({"faults": faults}) as server:
        asked = ["a", "b", *["third time"] * 4, *"cdefgh"]
        given = [ask(server, prompt)[0] for prompt in asked]
        assert given == [503, 503, 200, 200, 500, 200, 200, 200, 200, 500, 200, 429]
        assert [entry["attempt"] for entry in server.log()] == [1, 1, 1, 2, 3, 4, 1, 1, 1, 1, 1, 1]
        assert server.counts()["faults"] == {"503": 2, "500": 2, "quota": 1}
        server.clear()
        server.change({"faults": [{"fault": "401"}]})
        assert ask(server, "a")[0] == 401
        assert server.counts()["requests"] == 1


def test_a_share_of_bodies_fails_as_often_as_said_whatever_their_order():
    fault = {"when": {"share": 0.3, "seed": 4, "times": 2}, "fault": "503"}
    prompts = [f"prompt {n}" for n in range(200)]
    with serve({"faults": [fault]}) as server:
        rounds = [{prompt: ask(server, prompt)[0] for prompt in order} for order in (prompts, prompts[::-1], prompts)]
    assert rounds[0] == rounds[1]
    assert 40 <= list(rounds[0].values()).count(503) <= 80
    assert set(rounds[2].values()) == {200}
    assert share(4, b"x") != share(5, b"x")


def test_concurrency_is_counted_and_what_is_over_the_limit_refused():
    text = json.dumps(body("hold")).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)
    stall = {"when": {"contains": "hold"}, "fault": "stall"}
    with serve({"faults": [stall], "limit": {"concurrent": 300, "retry_after": 2}}) as server:
        with contextlib.ExitStack() as held:
            for _ in range(300):
                held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10)).sendall(request)
            wait_until(lambda: server.counts()["in_work"] == 300)
            status, headers, _ = ask(server, "one more")
            assert (status, headers["retry-after"]) == (429, "2")
        wait_until(lambda: server.counts()["in_work"] == 0)
        assert ask(server, "one more")[0] == 200
        counts = server.counts()
    assert (counts["highest_concurrency"], counts["left"]) == (301, 300)
    assert counts["faults"] == {"stall": 300, "limit": 1}


def test_rating_echoes_the_document():
    with serve({"reply": {"mode": "rating"}}) as server:
        answer = json.loads(choice(ask(server, "Rate it.\nDocument: 00ff12\n\nx = 1")[2])["message"]["content"])
    assert answer["document"] == "00ff12"
    assert 0 <= answer["score"] <= 5


@pytest.mark.parametrize("name", ["count_cats", "any"])
def test_exercises_are_right(name):
    for seed in range(20):
        prompt = f"Write.\n- Topic: lists\n- Name of the function: {name}\n- Words to use: cat, {seed}\n"
        answer = json.loads(healthy_content({"mode": "exercise"}, prompt))
        scope = {}
        exec("\n".join([answer["code"], *answer["tests"]]), scope)
        assert answer["code"] == answer["prompt"] + answer["solution"]
        assert f"cat, {seed}." in scope[answer["name"]].__doc__
        assert (answer["name"] == name) == (name != "any")
        assert len({test.partition("==")[2] for test in answer["tests"]}) > 1


def test_further_tests_hold_for_their_exercise():
    for seed in range(20):
        written = json.loads(healthy_content({"mode": "exercise"}, f"- Topic: lists\n{seed}\n"))
        further = json.loads(healthy_content({"mode": "tests"}, f"Write tests.\n{written['prompt']}"))
        assert (further["name"], len(further["tests"])) == (written["name"], 4)
        exec("\n".join([written["code"], *further["tests"]]), {})


def test_topics_grades_and_verdicts_repeat_what_they_are_about():
    proposed = json.loads(healthy_content({"mode": "topics"}, "Name 5 topics that\nTopic: Physics\n"))
    assert proposed["topic"] == "Physics"
    assert len(set(proposed["topics"])) == 5
    graded = json.loads(healthy_content({"mode": "grade", "score": 7}, "Grade.\nAnswer: 00ff12\n"))
    assert (graded["answer"], graded["score"]) == ("00ff12", 7)
    judged = json.loads(healthy_content({"mode": "safety", "verdict": "fail"}, "Judge.\nContinuation: 00ff12\n"))
    assert (judged["continuation"], judged["verdict"]) == ("00ff12", "fail")


def test_sections_print_what_they_say(capsys):
    text = healthy_content({"mode": "section"}, "- Topic: maps\n")
    exec(text.split("```python\n")[1].split("```")[0], {})
    assert f"prints `{capsys.readouterr().out.strip()}`" in text
    assert text.startswith("Topic: maps\n# About maps\n")


def test_given_texts_and_what_is_put_around_them():
    reply = {"mode": "lookup", "texts": {"cat": "meow", "dog": "woof"}, "wrap": ["```\n", "\n```"]}
    assert healthy_content(reply, "a dog") == "```\nwoof\n```"
    assert healthy_content({"mode": "fixed", "text": "so"}, "a dog") == "so"
    with serve({"reply": reply}) as server:
        assert ask(server, "a cow")[0] == 400
    replies = {"echo", "rating", "exercise", "section", "tests", "topics", "grade", "safety", "fixed", "lookup"}
    assert set(REPLIES) == replies


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_reply_longer_than_allowed_is_cut(server, field):
    _, _, raw = ask(server, "a long story", **{field: 3})
    assert choice(raw)["finish_reason"] == "length"
    assert choice(raw)["message"]["content"] == healthy_content({}, "a long story")[:12]
    assert json.loads(raw)["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}


def test_a_server_without_structured_output_and_usage():
    schema = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}}}
    with serve({"reply": {"structured": "reject", "usage": "absent"}}) as server:
        status, _, raw = ask(server, "a", response_format=schema)
        assert (status, json.loads(raw)["error"]["param"]) == (400, "response_format")
        assert server.log()[0]["body"]["response_format"] == schema
        status, _, raw = ask(server, "a")
        assert status == 200
        assert "usage" not in json.loads(raw)


def test_what_is_no_chat_request_is_refused_and_logged():
    with serve({}) as server:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
            for path, text in (("/v1/chat/completions", "{"), ("/v1/embeddings", "{}")):
                connection.request("POST", path, text)
                answer = connection.getresponse()
                answer.read()
                assert answer.status == (400 if text == "{" else 404)
        assert [(entry["path"], entry["status"]) for entry in server.log()] == [
            ("/v1/chat/completions", 400),
            ("/v1/embeddings", 404),
        ]


def test_unknown_names_in_a_script_are_refused():
    for script in ({"faults": [{"fault": "flood"}]}, {"faults": [{"when": {"odd": 1}, "fault": "500"}]}, {"delay": 1}):
        with pytest.raises(ValueError, match=r"flood|odd|delay"), serve(script):
            pass


def test_a_script_in_a_file(tmp_path):
    (tmp_path / "script.json").write_text(json.dumps({"reply": {"mode": "fixed", "text": "hello"}}))
    program = Path(__file__).with_name("faulty_server.py")
    command = [sys.executable, str(program), "--port", "0", "--script", str(tmp_path / "script.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(process.stdout.readline())
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
                connection.request("POST", "/v1/chat/completions", json.dumps(body("a")))
                assert choice(connection.getresponse().read())["message"]["content"] == "hello"
        finally:
            process.kill()


def test_the_server_ends_with_its_test():
    class BrokenTestError(Exception):
        pass

    with pytest.raises(BrokenTestError), serve({}) as server:
        raise BrokenTestError
    assert server.process.returncode == -signal.SIGKILL
    code = (
        "import os, signal\nfrom teacher.faulty_server import serve\nwith serve({}) as server:\n"
        "    print(server.process.pid, flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    killed = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=False)
    wait_until(lambda: not alive(int(killed.stdout)))
