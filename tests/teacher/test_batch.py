"""Batch files: what is written is what would have been sent, and whatever comes back costs once and loses nothing."""

import json
import random
from functools import partial

import pytest
from teacher.asking import HORNBOOK, MODEL, PRICES, ask, process, prompt_of, ratings, rows, teacher
from teacher.faulty_server import healthy_content, serve, tokens

from hornbook.errors import Paused, UserError
from hornbook.recipe import LanguageModel, TokenPrice
from hornbook.teacher import batch
from hornbook.teacher.budget import upper_prompt_tokens
from hornbook.teacher.journal import FILE, PICO, Journal
from hornbook.teacher.request import TextbookRequest

REPLY = {"mode": "rating"}
HALF_IN, HALF_OUT = 500_000, 2_000_000  # 1e-12 dollars a token, at half of PRICES
URL = "https://api.example.org/v1"


def order(work, requests, name="batch.jsonl", **more):
    """Write the batch file for requests; its lines, and what was said."""
    path = work / name
    with pytest.raises(Paused) as said:
        ask(work, URL, requests=requests, batch_file=str(path), **{"prices": PRICES, **more})
    return [json.loads(line) for line in path.read_text().splitlines()], str(said.value)


def result(line, body=None, **more):
    """A provider's result for a line of requests; fields of its body, and of itself, may be replaced."""
    prompt = prompt_of(line)
    content = healthy_content(REPLY, prompt)
    usage = {"prompt_tokens": tokens(prompt), "completion_tokens": tokens(content)}
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    answer = {"id": "x", "model": "served", "choices": [choice], "usage": usage} | (body or {})
    response = {"status_code": 200, "request_id": "r", "body": answer}
    identity, key = f"batch_req_{line['custom_id'][:8]}", line["custom_id"]
    return {"id": identity, "custom_id": key, "response": response, "error": None, **more}


def read(work, results, name="results.jsonl"):
    """Read results, given as values or as text."""
    lines = [line if isinstance(line, str) else json.dumps(line) for line in results]
    (work / name).write_text("\n".join(lines) + "\n")
    with Journal(work / FILE) as journal:
        return batch.read(work / name, journal)


def test_the_file_holds_the_requests_as_they_would_be_sent(tmp_path):
    requests = [*ratings(20), *ratings(5), *(TextbookRequest(f"ß {n}", "a pilot", "plain", n) for n in range(3))]
    lines, said = order(tmp_path, requests)
    assert list(lines[0]) == ["custom_id", "method", "url", "body"]
    assert len({line["custom_id"] for line in lines}) == len(lines) == 23
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    with serve({"reply": REPLY}) as server:
        live = ask(tmp_path / "live", server.base_url, requests=requests, concurrency=1)
        assert [entry["body"] for entry in server.log()] == [line["body"] for line in lines]
    assert [line["custom_id"] for line in lines] == list(dict.fromkeys(answer.request for answer in live))
    upper = sum(upper_prompt_tokens(prompt_of(line)) for line in lines)
    most = (upper * HALF_IN + 23 * 300 * HALF_OUT) / PICO
    assert f"batch.jsonl: 23 requests written, ${most:.4f} at most; " in said
    assert "hornbook read-batch RESULTS --work" in said
    assert rows(tmp_path, "SELECT COUNT(*) FROM costs") == [(0,)]


def test_results_in_any_order_answer_the_same_command(tmp_path):
    lines, _ = order(tmp_path, ratings(50))
    results = [result(line) for line in lines]
    random.Random(1).shuffle(results)
    found = read(tmp_path, results)
    cost = sum(
        r["response"]["body"]["usage"]["prompt_tokens"] * HALF_IN
        + r["response"]["body"]["usage"]["completion_tokens"] * HALF_OUT
        for r in results
    )
    assert found == {"kept": 50, "known": 0, "faults": [], "usd": cost / PICO}
    with serve({"reply": REPLY}) as server:
        live = ask(tmp_path / "live", server.base_url, requests=ratings(50))
    answers = ask(tmp_path, URL, requests=ratings(50), prices=PRICES, batch_file=str(tmp_path / "second.jsonl"))
    assert answers == live
    assert not (tmp_path / "second.jsonl").exists()
    assert ask(tmp_path, requests=ratings(50), offline=True) == live
    with teacher(tmp_path, URL, prices=PRICES) as asked:
        assert asked.ledger()["usd"] == cost / PICO
        assert asked.budget.spent == cost


def test_what_is_wrong_with_a_line_is_told_and_the_others_are_kept(tmp_path):
    lines, _ = order(tmp_path, ratings(20))
    failed = {"code": "server_error", "message": "It broke"}
    results = [
        *(result(line) for line in lines[:8]),
        "{damaged",
        '"a text"',
        '["a list"]',
        "null",
        json.dumps({"id": "x", "response": {}}),
        "[" * 100_000,
        result(lines[0]),
        result(lines[1], custom_id="f" * 32),
        result(lines[8], response={"status_code": 500, "body": failed}),
        result(lines[9], response=None, error=failed),
        result(lines[10], response="a text"),
        result(lines[11], response=["a list"]),
        result(lines[12], body={"choices": []}),
        result(lines[13], response={"status_code": 200, "body": "no completion"}),
        "",
        *(result(line) for line in lines[14:]),
    ]
    found = read(tmp_path, results)
    usd, faults = found.pop("usd"), found.pop("faults")
    assert found == {"kept": 14, "known": 1, "damaged": 6, "unknown": 1, "failed": 6}
    assert usd > 0
    assert len(faults) == 5
    assert faults[0].startswith("line 9: not a result (JSONDecodeError")
    assert max(map(len, faults)) < 250
    # The answers of the rest come from the journal, and the same command orders what has no reply.
    again, _ = order(tmp_path, ratings(20), "again.jsonl")
    assert [line["custom_id"] for line in again] == [line["custom_id"] for line in lines[8:14]]


def test_a_file_that_is_read_twice_is_charged_once(tmp_path):
    lines, _ = order(tmp_path, ratings(10))
    # One reply has no text, and was billed all the same.
    results = [result(line, body={"choices": []} if n == 3 else {}) for n, line in enumerate(lines)]
    first = read(tmp_path, results + results[:5])
    assert (first["kept"], first["known"], first["failed"]) == (9, 4, 2)
    spent = rows(tmp_path, "SELECT COUNT(*), SUM(pico_usd) FROM costs")
    assert spent[0][0] == 10
    second = read(tmp_path, results)
    assert (second["kept"], second["known"], second["failed"]) == (0, 9, 1)
    assert rows(tmp_path, "SELECT COUNT(*), SUM(pico_usd) FROM costs") == spent


def test_a_result_without_a_count_is_charged_at_its_upper_bound(tmp_path):
    lines, _ = order(tmp_path, ratings(1))
    read(tmp_path, [result(lines[0], body={"usage": None})])
    upper = upper_prompt_tokens(prompt_of(lines[0]))
    expected = (upper, 300, upper * HALF_IN + 300 * HALF_OUT)
    assert rows(tmp_path, "SELECT prompt_tokens, completion_tokens, pico_usd FROM costs") == [expected]


def test_what_a_batch_can_cost_counts_against_the_cap_until_its_results_are_read(tmp_path):
    upper = [upper_prompt_tokens(r.render()) * HALF_IN + 300 * HALF_OUT for r in ratings(100)]
    cap = sum(upper[:30]) / PICO + 1e-9
    lines, said = order(tmp_path, ratings(100), max_usd=cap)
    assert len(lines) == 30
    assert "as many as the cap of $0.0" in said
    # The same command again writes the same requests: they are no further cost.
    assert order(tmp_path, ratings(100), "same.jsonl", max_usd=cap)[0] == lines
    more = partial(ask, tmp_path, URL, prices=PRICES, batch_file=str(tmp_path / "more.jsonl"), max_usd=cap)
    with pytest.raises(UserError, match=r"leaves no room for a single request, and .* are ordered in batches whose"):
        more(requests=ratings(100, "others"))
    assert not list(tmp_path.glob("more.jsonl*"))
    read(tmp_path, [result(line) for line in lines])
    spent = rows(tmp_path, "SELECT SUM(pico_usd) FROM costs")[0][0]
    rest, _ = order(tmp_path, ratings(100), "rest.jsonl", max_usd=cap)
    assert [prompt_of(line) for line in rest] == [r.render() for r in ratings(100)][30 : 30 + len(rest)]
    assert 0 < (spent + sum(upper[30 : 30 + len(rest)])) / PICO <= cap
    assert (spent + sum(upper[30 : 31 + len(rest)])) / PICO > cap


def test_a_batch_has_the_share_of_the_price_that_is_given(tmp_path):
    prices = {"faulty": TokenPrice(input_usd=1.0, output_usd=4.0, batch_share=0.25)}
    lines, _ = order(tmp_path, ratings(1), prices=prices)
    read(tmp_path, [result(lines[0])])
    ((a, b, pico),) = rows(tmp_path, "SELECT prompt_tokens, completion_tokens, pico_usd FROM costs")
    assert pico == a * 250_000 + b * 1_000_000


def test_without_a_price_nothing_is_written(tmp_path):
    with pytest.raises(UserError, match="no price is known"):
        ask(tmp_path, URL, requests=ratings(1), batch_file=str(tmp_path / "batch.jsonl"))
    assert not list(tmp_path.glob("batch*"))


def test_openais_own_models_are_asked_in_their_words(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)  # no key is needed for a file
    model = LanguageModel.model_validate(MODEL.model_dump() | {"temperature": None})
    with pytest.raises(Paused):
        ask(tmp_path, requests=ratings(1), batch_file=str(tmp_path / "b"), prices=PRICES, model=model)
    body = json.loads((tmp_path / "b").read_text())["body"]
    assert body["max_completion_tokens"] == 300
    assert body.keys() == {"model", "messages", "max_completion_tokens", "response_format"}


def test_answers_out_of_the_journal_stream(tmp_path):
    with serve({"reply": REPLY}) as server:
        ask(tmp_path, server.base_url, requests=ratings(300), prices=PRICES)
    taken = []

    def requests():
        for request in ratings(301):
            taken.append(request)
            yield request

    more = {"prices": PRICES, "batch_file": str(tmp_path / "batch.jsonl"), "concurrency": 4}
    with teacher(tmp_path, URL, **more) as asked:
        answers = asked.answers(requests())
        for _ in range(100):
            assert next(answers).value
        assert len(taken) < 200
        with pytest.raises(Paused, match=r"batch.jsonl: 1 requests written"):
            list(answers)


def test_a_batch_through_the_command_line(tmp_path):
    source = tmp_path / "documents.jsonl"
    source.write_text("".join(json.dumps({"text": f"x = {n}\n"}) + "\n" for n in range(12)))
    command = [*HORNBOOK, "annotate", source, "--out", tmp_path / "out.jsonl", "--work", tmp_path / "work"]
    command += ["--teacher", "openai:faulty", "--price", "1,4", "--batch-file", tmp_path / "batch.jsonl"]

    def run(*words):
        with process(*words) as running:
            said, errors = running.communicate(timeout=60)
        return running.returncode, said, errors

    code, said, errors = run(*command)
    assert code == 0, errors
    assert "12 requests written" in said
    lines = [json.loads(line) for line in (tmp_path / "batch.jsonl").read_text().splitlines()]
    results = tmp_path / "results.jsonl"
    results.write_text("".join(json.dumps(result(line)) + "\n" for line in lines[:11]) + "{}\n")
    reading = [*HORNBOOK, "read-batch", results, "--work", tmp_path / "work"]
    code, said, errors = run(*reading)
    assert code == 1
    assert said.startswith("11 replies kept, 0 known already, $0.00")
    assert "1 damaged; line 12: not a result" in errors
    results.write_text("".join(json.dumps(result(line)) + "\n" for line in lines))
    code, said, errors = run(*reading)
    assert code == 0, errors
    assert said.startswith("1 replies kept, 11 known already")
    code, said, errors = run(*command)
    assert code == 0, errors
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 12
