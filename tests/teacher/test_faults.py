"""Every way an endpoint goes wrong, with what must become of it: how often it is asked, what it costs, what is told."""

import json
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from teacher.asking import IN, OUT, PRICES, ask, prompt_of, ratings, rows, teacher
from teacher.faulty_server import healthy_content, serve, tokens

from hornbook.errors import UserError
from hornbook.recipe import LanguageModel
from hornbook.teacher import buying, client
from hornbook.teacher.budget import upper_prompt_tokens
from hornbook.teacher.request import RateRequest

REPLY = {"mode": "rating", "score": 2.5}
MOST = 300  # tokens of a reply
HEALTHY = "healthy"


@dataclass(frozen=True)
class Case:
    """A fault, and what must become of a request that meets it."""

    fault: str
    outcomes: str  # of each attempt: r(eply), u(ncounted), l(ost), c(ounted, and lost all the same), x (refused)
    reason: str = ""  # of the failure; empty: answered
    detail: str = ""  # that must stand in the failure
    raw: str | None = ""  # of the failure; HEALTHY: the reply without the fault; None: not looked at
    times: int = 1  # how often the fault is given
    more: dict = field(default_factory=dict)  # of the fault

    @property
    def name(self) -> str:
        more = " ".join(str(value)[:20] for value in self.more.values())
        return f"{self.fault} {more} {'always' if self.times > 1 else 'once'}".replace("  ", " ")


ALWAYS = 9
PARTIAL = {"partial": True}
GATEWAYS = [
    Case("status", outcomes, detail="status", more={"status": status, "body": {"error": {"message": "no"}}})
    for status, outcomes in [(408, "xr"), (409, "xr"), (500, "xr"), (502, "lr"), (504, "lr"), (524, "lr"), (529, "xr")]
]
CASES = [
    Case("429", "xr"),
    Case("429_retry_after", "xr", more={"seconds": 0.2}),
    Case("429_retry_after_ms", "xr", more={"milliseconds": 200}),
    Case("429_retry_after_date", "xr", more={"seconds": 0.1}),
    Case("500", "xr"),
    Case("500", "xxx", "no reply", "3 attempts; the last: status 500", times=ALWAYS),
    Case("503", "xr"),
    Case("503", "xxx", "no reply", "status 503", times=ALWAYS),
    Case("500_close", "xr"),
    *GATEWAYS,
    Case("status", "xx", "rejected", "status 400: too many words", times=ALWAYS,
         more={"status": 400, "body": {"error": {"message": "too many\n words"}}}),
    Case("status", "x", "rejected", "status 418", times=ALWAYS, more={"status": 418}),
    Case("status", "x", "rejected", "status 413", times=ALWAYS, more={"status": 413, "body": "too large"}),
    Case("400_context_length", "xx", "rejected", "maximum context length is 8 tokens", times=ALWAYS),
    Case("truncated_json", "lr"),
    Case("truncated_json", "lll", "no reply", 'a body that is no JSON: `{"id": "chatcmpl', times=ALWAYS),
    Case("malformed_json", "lr"),
    Case("malformed_json", "lll", "no reply", "no JSON: `<!doctype html>", times=ALWAYS),
    Case("html_200", "lr"),
    Case("bad_utf8", "lr"),
    Case("wrong_schema", "lr"),
    Case("wrong_schema", "lll", "no reply", "a reply without choices", times=ALWAYS),
    Case("wrong_types", "lr"),
    Case("empty_choices", "cr"),
    Case("empty_choices", "ccc", "no reply", "a reply without choices", times=ALWAYS),
    Case("status", "lll", "no reply", "without choices: {'message': 'Provider is down'", times=ALWAYS,
         more={"status": 200, "body": {"error": {"message": "Provider is down", "code": 502}}}),
    Case("null_content", "cr"),
    Case("null_content", "ccc", "no reply", "a reply without text", times=ALWAYS),
    Case("empty_content", "cr"),
    Case("another_reply", "r", "another reply", "document is `", None, times=ALWAYS),
    Case("content_filter", "r", "refused", "finish_reason `content_filter`", times=ALWAYS),
    Case("content_filter", "r", "refused", "finish_reason `content_filter`", "half", times=ALWAYS, more=PARTIAL),
    Case("refusal", "r", "refused", "finish_reason `refusal`", "I'm sorry, I can't help with that.", times=ALWAYS),
    Case("length", "r", "cut off", "finish_reason `length`", "half", times=ALWAYS),
    Case("huge", "r", "unparsed", "a reply of 2000000 characters", "x" * 2_000_000, times=ALWAYS,
         more={"megabytes": 2}),
    Case("huge", "l", "rejected", "a body of more than 8,388,608 bytes", times=ALWAYS, more={"megabytes": 9}),
    Case("endless", "l", "rejected", "a body of more than 8,388,608 bytes", times=ALWAYS),
    Case("slow_body", "r", more={"seconds": 0.3}),
    Case("late", "r", more={"seconds": 0.3}),
    Case("drop_before", "lr"),
    Case("drop_before", "lll", "no reply", "ServerDisconnectedError", times=ALWAYS),
    Case("drop_mid_headers", "lr"),
    Case("drop_mid_body", "lr"),
    Case("drop_mid_body", "lll", "no reply", "Response payload is not completed", times=ALWAYS),
    Case("reset", "lr"),
    Case("reset", "lll", "no reply", "Connection reset by peer", times=ALWAYS),
    Case("no_http", "lr"),
    Case("no_http", "lll", "no reply", "connection to http://127.0.0.1", times=ALWAYS),
    Case("no_http", "lr", more={"bytes": "HTTP/1.1 200 \xff\xfe\r\ncontent-length: 2\r\n\r\n{}"}),
    Case("no_http", "lr", more={"bytes": "HTTP/1.1 200 OK\r\nx: " + "y" * 100_000 + "\r\n\r\n"}),
    Case("no_http", "lr", more={"bytes": "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}"}),
    Case("no_http", "lr", more={"bytes": "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"}),
]  # fmt: skip
STALLS = [
    Case("stall", "lr"),
    Case("stall", "ll", "no reply", "no reply within 1 s", times=ALWAYS),
    Case("stall_mid_body", "lr"),
    Case("slow_body", "ll", "no reply", "no reply within 1 s", times=ALWAYS, more={"seconds": 30}),
]
LETTERS = {"reply": "r", "uncounted": "u", "refused": "x"}


def request_of(case: Case) -> RateRequest:
    return RateRequest(f"# give {case.name}!\n", "source")


def script_of(cases: list[Case], reply: dict) -> dict:
    faults = []
    for case in cases:
        when = {"contains": f"# give {case.name}!\n", "times": case.times}
        faults.append({"when": when, "fault": case.fault, **case.more})
    return {"reply": reply, "faults": faults, "latency": 0.02}


@dataclass
class Met:
    """What became of one request."""

    case: Case
    answer: object
    attempts: list[dict]  # at the server, in order
    costs: list[tuple]  # in the journal, in order: outcome, tokens in and out, cost
    prompt: str


def meet(folder, cases, reply=REPLY, **endpoints):
    """Ask for all cases at once; by name what became of each."""
    requests = [request_of(case) for case in cases]
    assert len(set(requests)) == len(cases)
    with serve(script_of(cases, reply)) as server:
        with teacher(folder, server.base_url, prices=PRICES, **endpoints) as asked:
            answers = list(asked.answers(requests))
            ledger = asked.ledger()
        log = server.log()
    query = "SELECT outcome, prompt_tokens, completion_tokens, pico_usd FROM costs WHERE key=? ORDER BY at, id"
    met = {}
    for case, request, answer in zip(cases, requests, answers, strict=True):
        prompt = request.render()
        attempts = [entry for entry in log if prompt_of(entry) == prompt]
        met[case.name] = Met(case, answer, attempts, rows(folder, query, answer.request), prompt)
    return met, ledger


@pytest.fixture(scope="module")
def met(tmp_path_factory):
    """All faults at once, as they come in life; and the ledger."""
    folder = tmp_path_factory.mktemp("met")
    found, ledger = meet(folder / "a", CASES, attempts=3, deadline_seconds=60.0)
    stalled, _ = meet(folder / "b", STALLS, attempts=2, deadline_seconds=1.0)
    return found | stalled, ledger


@pytest.mark.parametrize("case", [*CASES, *STALLS], ids=lambda case: case.name)
def test_what_becomes_of_a_fault(met, case):
    found = met[0][case.name]
    content = healthy_content(REPLY, found.prompt)
    upper = upper_prompt_tokens(found.prompt), MOST
    assert [LETTERS.get(outcome, "l" if (a, b) == upper else "c") for outcome, a, b, _ in found.costs] == [
        *case.outcomes
    ]
    assert len(found.attempts) == len(case.outcomes)
    for outcome, tokens_in, tokens_out, pico in found.costs:
        assert pico == tokens_in * IN + tokens_out * OUT
        if outcome == "refused":
            assert pico == 0
        if outcome == "reply":
            assert tokens_in == tokens(found.prompt)
    failure = found.answer.failure
    if not case.reason:
        assert failure is None
        assert found.answer.value.score == 2.5
        assert found.costs[-1][2] == tokens(content)
        return
    assert found.answer.value is None
    assert failure.reason == case.reason
    assert case.detail in failure.detail
    assert len(failure.detail) < 500
    if case.raw is not None:
        assert failure.raw == (content[: len(content) // 2] if case.raw == "half" else case.raw)


def test_the_ledger_is_the_sum_and_says_what_is_uncertain(met):
    found, ledger = met
    costs = [cost for case in CASES for cost in found[case.name].costs]
    assert ledger["requests_sent"] == ledger["sent_now"] == len(costs)
    assert ledger["usd"] == sum(pico for *_, pico in costs) / 1e12
    assert ledger["uncertain_usd"] == sum(pico for outcome, *_, pico in costs if outcome == "lost") / 1e12
    assert ledger["lost"] == sum(outcome == "lost" for outcome, *_ in costs)
    assert ledger["refused"] == sum(outcome == "refused" for outcome, *_ in costs)


def test_what_is_refused_for_its_length_costs_no_other_request_its_schema(met):
    sent = sorted(
        (entry["time"], "response_format" in entry["body"])
        for each in met[0].values()
        for entry in each.attempts
        if each.case.fault in ("429_retry_after", "truncated_json", "drop_before", "500", "null_content")
    )
    assert all(structured for _, structured in sent)


def test_a_server_without_schemas_is_asked_without(tmp_path):
    with serve({"reply": REPLY | {"structured": "reject"}}) as server:
        answers = ask(tmp_path, server.base_url, requests=ratings(40), concurrency=4)
        log = server.log()
    assert all(answer.value for answer in answers)
    refused = sum("response_format" in entry["body"] for entry in log)
    assert 1 <= refused <= 4  # those under way when the first was refused
    assert len(log) == 40 + refused


def test_a_reply_without_a_count_is_taken_at_its_upper_bound(tmp_path):
    found, ledger = meet(tmp_path, [Case("slow_body", "u", more={"seconds": 0.01})], REPLY | {"usage": "absent"})
    (cost,) = found["slow_body 0.01 once"].costs
    upper = upper_prompt_tokens(found["slow_body 0.01 once"].prompt)
    assert cost == ("uncounted", upper, MOST, upper * IN + MOST * OUT)
    assert ledger["uncertain_usd"] == ledger["usd"] == cost[3] / 1e12


STOPS = [
    ({"fault": "401"}, "the key in OPENAI_API_KEY is not accepted"),
    ({"fault": "status", "status": 403}, "the key in OPENAI_API_KEY is not accepted"),
    ({"fault": "status", "status": 308, "headers": {"location": "https://h/v1?k=s"}}, "points to `https://h/v1` "),
    ({"fault": "404_model"}, "knows no such model or path .*The model `faulty` does not exist"),
    ({"fault": "quota"}, "no money is left at the provider .*You exceeded your current quota.* goes on from here"),
    ({"fault": "status", "status": 402}, "no money is left at the provider"),
    ({"fault": "429_retry_after", "seconds": 3600}, "asks to wait 3,600 s .* goes on later"),
    ({"fault": "status", "status": 503, "headers": {"retry-after": "700"}}, "asks to wait 700 s"),
]


@pytest.mark.parametrize(("fault", "message"), STOPS, ids=lambda value: str(value)[:40])
def test_what_no_further_request_will_mend_stops_the_run_at_once(tmp_path, fault, message):
    with serve({"reply": REPLY, "faults": [{"when": {"after": 20}, **fault}], "latency": 0.01}) as server:
        with (
            pytest.raises(UserError, match=message) as told,
            teacher(tmp_path, server.base_url, concurrency=4, prices=PRICES) as asked,
        ):
            list(asked.answers(ratings(500)))
        requests = server.counts()["requests"]
        assert "\n" not in str(told.value)
        assert requests <= 24  # what was under way beside the first that was refused
        server.change({"reply": REPLY})
        assert all(a.value for a in ask(tmp_path, server.base_url, requests=ratings(500), prices=PRICES))
        assert server.counts()["requests"] == requests + 480  # what had come was kept


def test_after_a_stop_nothing_is_asked_again(tmp_path):
    faults = [
        {"when": {"contains": "x + 0 "}, "fault": "late", "seconds": 0.5},
        {"when": {"contains": "x + 1 "}, "fault": "401"},
        {"fault": "500"},
    ]
    with serve({"reply": REPLY, "faults": faults, "latency": 0.2}) as server:
        with teacher(tmp_path, server.base_url, concurrency=8) as asked:
            with pytest.raises(UserError):  # at once, though the first answer is still to come
                next(asked.answers(ratings(8)))
            before = server.counts()["requests"]
        assert server.counts()["requests"] - before <= 1  # the others were waiting for another attempt


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        ({"fault": "429_retry_after", "seconds": 1}, 1.0),
        ({"fault": "429_retry_after_ms", "milliseconds": 800}, 0.8),
        ({"fault": "429_retry_after_date", "seconds": 1}, 1.0),
        ({"fault": "status", "status": 503, "headers": {"retry-after": "0.9"}}, 0.9),
    ],
    ids=["seconds", "milliseconds", "date", "503"],
)
def test_nobody_asks_an_endpoint_that_asked_to_wait(tmp_path, fault, seconds):
    script = {"reply": REPLY, "faults": [{"when": {"contains": "x + 7 ", "times": 1}, **fault}], "latency": 0.02}
    with serve(script) as server:
        answers = ask(tmp_path, server.base_url, requests=ratings(60), concurrency=8)
        log = server.log()
    assert all(answer.value for answer in answers)
    refused = next(entry["done"] for entry in log if entry["fault"])
    after = min(entry["time"] for entry in log if entry["time"] > refused + 0.05)
    assert refused + seconds - 0.05 <= after < refused + seconds + 1.5


@pytest.mark.parametrize("retry_after", [None, 0.2])
def test_requests_under_way_follow_what_the_server_bears(tmp_path, retry_after):
    limit = {"concurrent": 12, "retry_after": retry_after}
    with serve({"reply": REPLY, "limit": limit, "latency": 0.05}) as server:
        answers = ask(tmp_path, server.base_url, requests=ratings(300), concurrency=256)
        log, counts = server.log(), server.counts()
    assert all(answer.value for answer in answers)
    assert counts["faults"]["limit"] <= 0.1 * 300
    # In the second half it works near the limit: 60% of it on a quiet machine, with Retry-After kept to.
    late = [entry for entry in log if entry["status"] == 200][120:]
    at_work = sum(entry["done"] - entry["time"] for entry in late) / (late[-1]["done"] - late[0]["time"])
    assert at_work > 0.35 * 12


def test_a_server_that_only_refuses_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(buying, "LONGEST_LIMITED_SECONDS", 0.8)
    with serve({"reply": REPLY, "faults": [{"fault": "429"}]}) as server:
        (answer,) = ask(tmp_path, server.base_url, requests=ratings(1))
    assert answer.failure.reason == "no reply"
    assert answer.failure.detail.endswith(" s: status 429: Rate limit reached for requests")
    assert answer.failure.detail.startswith("refused for ")


def test_waiting_in_the_queue_is_not_being_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(buying, "LONGEST_LIMITED_SECONDS", 0.5)
    faults = [{"when": {"contains": "x + 9 ", "times": 1}, "fault": "429_retry_after", "seconds": 0.1}]
    with serve({"reply": REPLY, "faults": faults, "latency": 0.2}) as server:
        answers = ask(tmp_path, server.base_url, requests=ratings(10), concurrency=1)
    assert all(answer.value for answer in answers)


def test_waits_double_between_attempts(tmp_path):
    with serve({"faults": [{"fault": "500"}]}) as server:
        (answer,) = ask(tmp_path, server.base_url, requests=ratings(1), attempts=3)
        times = [entry["time"] for entry in server.log()]
    assert answer.failure.detail.startswith("3 attempts; ")
    for number, (before, after) in enumerate(pairwise(times)):
        assert 0.25 * 2**number <= after - before < 0.5 * 2**number + 0.5


def test_a_dead_endpoint_draws_no_requests_from_its_living_neighbour(tmp_path):
    with serve({"reply": REPLY, "latency": 0.05}) as dying, serve({"reply": REPLY, "latency": 0.05}) as living:
        nowhere = "http://127.0.0.1:9/v1"  # discard: nobody listens
        with teacher(tmp_path, nowhere, dying.base_url, living.base_url, concurrency=32, attempts=4) as asked:
            given = asked.answers(ratings(600))
            answers = [next(given) for _ in range(150)]
            died = dying.counts()["requests"]
            dying.stop()
            answers += given
        assert [answer.failure for answer in answers if answer.failure] == []
        assert died > 30
        assert living.counts()["requests"] > 300


def test_requests_go_to_the_endpoint_that_is_less_busy(tmp_path):
    with serve({"reply": REPLY, "latency": 0.02}) as fast, serve({"reply": REPLY, "latency": 0.2}) as slow:
        answers = ask(tmp_path, fast.base_url, slow.base_url, requests=ratings(400), concurrency=16)
        assert all(answer.value for answer in answers)
        shares = fast.counts()["requests"], slow.counts()["requests"]
    assert sum(shares) == 400
    assert shares[0] > 4 * shares[1] > 0


def test_all_requests_that_may_be_under_way_are(tmp_path):
    with serve({"reply": REPLY, "latency": 1}) as server:  # longer than a busy machine takes to open 200 connections
        answers = ask(tmp_path, server.base_url, requests=ratings(700), concurrency=200)
        assert server.counts()["highest_concurrency"] == 200  # and not the 100 connections of the transport
    assert all(answer.value for answer in answers)


def test_nobody_listens(tmp_path):
    message = r"answered none of the first 2 requests: 2 attempts; .*Cannot connect to host"
    nowhere = teacher(tmp_path, "http://127.0.0.1:9/v1", attempts=2, prices=PRICES)
    with nowhere as asked, pytest.raises(UserError, match=message):
        asked.rehearse(ratings(2), 2)
    assert {cost for (cost,) in rows(tmp_path, "SELECT pico_usd FROM costs")} == {0}  # nothing was sent


def test_halves_of_surrogate_pairs_and_odd_names_reach_no_file(tmp_path):
    choice = {"message": {"content": "half \ud83d of it"}, "finish_reason": "stop\ud800"}
    body = json.dumps({"choices": [choice], "model": "m\ud800", "usage": {}})
    refusal = json.dumps({"error": {"message": "half \ud83d"}})
    faults = [
        {"when": {"contains": "x + 0 "}, "fault": "no_http", "bytes": f"HTTP/1.1 200 OK\r\n\r\n{body}"},
        {"when": {"contains": "x + 1 "}, "fault": "no_http", "bytes": f"HTTP/1.1 418 no\r\n\r\n{refusal}"},
    ]
    with serve({"faults": faults}) as server:
        unparsed, rejected = ask(tmp_path, server.base_url, requests=ratings(2), attempts=1)
    assert (unparsed.failure.reason, unparsed.failure.raw) == ("unparsed", "half ? of it")
    assert rejected.failure.reason == "rejected"
    assert "half ?" in rejected.failure.detail
    assert rows(tmp_path, "SELECT finish, served_model FROM replies") == [("stop?", "m?")]


@pytest.mark.parametrize(
    ("count", "taken"),
    [
        ((12, 34), (12, 34)),
        ((0, 0), (0, 0)),
        ((12, None), None),
        ((12, -1), None),
        ((12.0, 3), None),
        (("12", 3), None),
        ((True, 3), None),
        ((1 << 40, 3), None),
        ((10**30, 3), None),
    ],
)
def test_a_count_of_tokens_is_believed_where_it_is_one(count, taken):
    usage = {"prompt_tokens": count[0], "completion_tokens": count[1]}
    reply = client.read_reply(json.dumps({"choices": [{"message": {"content": "x"}}], "usage": usage}).encode())
    assert (reply.prompt_tokens, reply.completion_tokens) == (taken or (None, None))


def test_the_body_that_is_sent(tmp_path):
    model = LanguageModel(model="openai:a/b:c", temperature=0.25, top_p=None, max_tokens=77)
    with serve({"reply": REPLY}) as server:
        for out, more in (("a", {}), ("b", {"structured_output": "off"})):
            ask(tmp_path / out, server.base_url, requests=ratings(1), model=model, **more)
        first, second = (entry["body"] for entry in server.log())
    plain = {
        "model": "a/b:c",
        "messages": [{"role": "user", "content": next(ratings(1)).render()}],
        "temperature": 0.25,
        "max_tokens": 77,
    }
    assert second == plain
    form = first.pop("response_format")
    assert first == plain
    schema = form["json_schema"]["schema"]
    assert form["json_schema"]["strict"] is True
    assert set(schema["required"]) == set(schema["properties"]) == {"document", "rationale", "score"}
    assert schema["additionalProperties"] is False
