"""The cap holds: whatever fails, however many requests are under way, and after a kill."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from teacher.asking import IN, MODEL, OUT, PRICES, Watcher, ask, ratings, rows, teacher
from teacher.faulty_server import serve

from hornbook.errors import UserError
from hornbook.recipe import EndpointsConfig, HourPrice, LanguageModel, TokenPrice
from hornbook.teacher.budget import Budget, BudgetReachedError, Rates, dollars, rates_of, upper_prompt_tokens
from hornbook.teacher.journal import PICO

# Faults that cost nothing, faults that may have been billed, and replies without a count, all at once.
FAULTS = [
    {"when": {"share": 0.1, "seed": 1, "times": 1}, "fault": "500"},
    {"when": {"share": 0.1, "seed": 2, "times": 1}, "fault": "drop_mid_body"},
    {"when": {"share": 0.1, "seed": 3, "times": 1}, "fault": "truncated_json"},
    {"when": {"share": 0.1, "seed": 4, "times": 1}, "fault": "429"},
    {"when": {"share": 0.1, "seed": 5, "times": 1}, "fault": "drop_before"},
    {"when": {"share": 0.1, "seed": 6, "times": 1}, "fault": "empty_choices"},
]
SCRIPT = {"reply": {"mode": "rating"}, "faults": FAULTS, "latency": [0.0, 0.05]}
CHEAP = {"concurrency": 256, "prices": PRICES}


def spent(work):
    return rows(work, "SELECT COALESCE(SUM(pico_usd), 0) FROM costs")[0][0]


def true_cost(server):
    """What the server worked for: every whole or broken answer at what it counted, by its own log."""
    cost = 0
    for entry in server.log():
        if entry["fault"] in ("", None, "drop_mid_body", "truncated_json", "empty_choices", "drop_before"):
            prompt = entry["body"]["messages"][0]["content"]
            cost += -(-len(prompt.encode()) // 4) * IN + 30 * OUT  # a rating has fewer than 120 bytes
    return cost


@pytest.mark.parametrize("cap", [0.05, 0.2, 0.5])
def test_neither_the_ledger_nor_the_true_cost_passes_the_cap(tmp_path, cap):
    with serve(SCRIPT) as server:
        with pytest.raises(UserError, match=r"the cap of \$.* is reached: .* a larger --max-usd goes on from here"):
            ask(tmp_path, server.base_url, requests=ratings(4000), max_usd=cap, **CHEAP)
        assert spent(tmp_path) <= cap * PICO
        assert true_cost(server) <= cap * PICO
        assert spent(tmp_path) > 0.9 * cap * PICO  # and it is used
        assert rows(tmp_path, "SELECT COUNT(*) FROM costs WHERE outcome='sent'") == [(0,)]


def test_a_larger_cap_goes_on_to_the_same_answers(tmp_path):
    with serve(SCRIPT) as server:
        whole = ask(tmp_path / "whole", server.base_url, requests=ratings(300), **CHEAP)
        server.clear()
        caps = [0.02, 0.04, 0.08, 1.0]
        for cap in caps[:-1]:
            with pytest.raises(UserError, match="is reached"):
                ask(tmp_path / "capped", server.base_url, requests=ratings(300), max_usd=cap, **CHEAP)
            assert spent(tmp_path / "capped") <= cap * PICO
        assert ask(tmp_path / "capped", server.base_url, requests=ratings(300), max_usd=1.0, **CHEAP) == whole
        answered = [entry for entry in server.log() if not entry["fault"]]
        assert len(answered) == 300  # no reply was bought twice


KILLED = """
import sys
from pathlib import Path
from teacher.asking import PRICES, ask, ratings
ask(Path(sys.argv[1]), sys.argv[2], requests=ratings(3000), max_usd=0.2, concurrency=256, prices=PRICES)
"""


def test_what_a_killed_run_may_have_cost_counts_when_it_goes_on(tmp_path):
    with serve({**SCRIPT, "latency": [0.2, 0.6]}) as server:
        path = os.pathsep.join(["tests", *sys.path])
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), server.base_url], env={**os.environ, "PYTHONPATH": path}
        )
        while server.counts()["requests"] < 60:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = rows(tmp_path, "SELECT COUNT(*), SUM(pico_usd) FROM costs WHERE outcome='sent'")[0]
        assert left[0] > 0
        under_way = [entry for entry in server.log() if entry["left"] or entry["done"] is None]
        assert left[0] >= len(under_way)  # each was entered before it was sent
        server.change({**SCRIPT, "latency": 0})
        with pytest.raises(UserError, match="is reached"):
            ask(tmp_path, server.base_url, requests=ratings(4000), max_usd=0.2, **CHEAP)
        assert spent(tmp_path) <= 0.2 * PICO
        assert true_cost(server) <= 0.2 * PICO


def test_spent_and_set_aside_never_pass_the_cap():
    rng = random.Random(5)
    for _ in range(200):
        budget = Budget(Rates(3, 7, 0), cap=10_000, spent=rng.randrange(2000))
        under_way = []
        for _ in range(300):
            upper = rng.randrange(1, 900)
            if rng.random() < 0.6:
                try:
                    if budget.fits(upper, 1.0):
                        budget.reserve(upper)
                        under_way.append(upper)
                except BudgetReachedError:
                    assert not under_way
                    break
            elif under_way:
                settled = under_way.pop(rng.randrange(len(under_way)))
                budget.settle(settled, rng.randrange(settled + 1))
            assert budget.spent + budget.reserved <= 10_000
            assert budget.reserved == sum(under_way)


def test_servers_of_ones_own_cost_by_the_hour(tmp_path):
    prices = {"faulty": HourPrice(hour_usd=360.0)}  # ten cents a second
    with serve({"reply": {"mode": "rating"}, "latency": 0.5}) as server:
        started = time.monotonic()
        ask(tmp_path, server.base_url, requests=ratings(40), prices=prices, concurrency=10)
        seconds = time.monotonic() - started
        assert 0.05 < spent(tmp_path) / PICO <= 0.1 * seconds
        with pytest.raises(UserError, match="is reached"):  # a deadline of 300 s may cost 30 dollars
            ask(tmp_path / "b", server.base_url, requests=ratings(40), prices=prices, max_usd=1.0)
        ask(tmp_path / "c", server.base_url, requests=ratings(4), prices=prices, max_usd=1.0, deadline_seconds=5.0)


@pytest.mark.parametrize(
    ("urls", "prices", "expected"),
    [
        (("http://localhost:8000/v1", "http://127.0.0.1:1/v1"), {}, Rates(0, 0, 0)),
        (("http://[::1]:8000/v1",), {}, Rates(0, 0, 0)),
        (("http://localhost:8000/v1", "http://gpu1/v1"), {}, None),
        ((), {}, None),
        ((), {"other": TokenPrice(input_usd=1, output_usd=2)}, None),
        ((), {"m": TokenPrice(input_usd=0.15, output_usd=0.6)}, Rates(150_000, 600_000, 0)),
        (("http://localhost/v1",), {"m": HourPrice(hour_usd=3.6)}, Rates(0, 0, 1_000_000_000)),
        ((), {"m": TokenPrice(input_usd=1e-7, output_usd=0)}, Rates(1, 0, 0)),  # rounded up: a cap must hold
    ],
)
def test_a_price_nobody_gave_is_not_zero(urls, prices, expected):
    model = LanguageModel(model="openai:m", temperature=None, top_p=None, max_tokens=5)
    endpoints = EndpointsConfig(base_urls=urls, prices=prices)
    if expected is None:
        with pytest.raises(UserError, match="no price is known for the model `m`"):
            rates_of(model, endpoints)
    else:
        assert rates_of(model, endpoints) == expected


def test_the_bound_of_a_prompt_is_above_what_a_byte_tokenizer_makes_of_it():
    for text in ("", "a", "ü" * 100, "🙂" * 10, "x" * 1000):
        assert upper_prompt_tokens(text) >= len(text.encode()) + 50


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0, "$0.00"),
        (1234.5, "$1,234.50"),
        (0.1, "$0.10"),
        (0.0123, "$0.0123"),
        (0.00012345, "$0.00012"),
        (1e-9, "$1e-09"),
    ],
)
def test_amounts_as_people_read_them(usd, text):
    assert dollars(int(usd * PICO)) == text


def test_the_first_replies_come_before_the_rest_and_tell_its_cost(tmp_path):
    with serve({"reply": {"mode": "rating"}}) as server:
        nobody, somebody, refuser = Watcher(None), Watcher(True), Watcher(False)
        options = {"prices": PRICES, "preview": "ask"}
        for watcher, message in ((nobody, "go on with --yes"), (refuser, "as you said")):
            asked = teacher(tmp_path, server.base_url, watcher=watcher, **options)
            with asked, pytest.raises(UserError, match=message):
                asked.rehearse(ratings(50), 50)
            assert server.counts()["requests"] == 10
        with teacher(tmp_path, server.base_url, watcher=somebody, **options) as asked:
            asked.rehearse(ratings(50), 50)
            assert len(list(asked.answers(ratings(50)))) == 50
        assert server.counts()["requests"] == 50
        assert len(somebody.asked) == 1
        again = Watcher(None)  # the same prompt is not asked about twice
        with teacher(tmp_path, server.base_url, watcher=again, **options) as asked:
            asked.rehearse(ratings(50), 50)
        assert again.asked == []
        kept = rows(tmp_path, "SELECT prompt, prompt_tokens, completion_tokens FROM replies")
        by_prompt = {prompt: (tokens_in, tokens_out) for prompt, tokens_in, tokens_out in kept}
        ten = [by_prompt[request.render()] for request in ratings(10)]
        tokens_in, tokens_out = (4 * sum(column) for column in zip(*ten, strict=True))  # 40 are left to buy
        said = next(text for text in somebody.heard if "estimate for 40 of 50 requests" in text)
        assert "all replies to 50 requests are in the journal" in again.heard[-1]
        assert f"{tokens_in:,} tokens in, {tokens_out:,} out, {dollars(tokens_in * IN + tokens_out * OUT)}" in said
        (preview,) = (tmp_path / "previews").iterdir()
        text = preview.read_text()
        for request in ratings(10):
            assert request.render() in text


def test_a_changed_prompt_is_shown_anew(tmp_path, monkeypatch):
    with serve({"reply": {"mode": "rating"}}) as server:
        with teacher(tmp_path, server.base_url) as asked:
            asked.rehearse(ratings(50), 50)
        changed = MODEL.model_copy(update={"temperature": 0.3})
        watcher = Watcher(None)
        asked = teacher(tmp_path, server.base_url, model=changed, watcher=watcher, preview="ask")
        with asked, pytest.raises(UserError, match="--yes"):
            asked.rehearse(ratings(50), 50)
        assert len(list((tmp_path / "previews").iterdir())) == 2
