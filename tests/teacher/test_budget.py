"""The cap holds: at every moment, under every fault, whatever kills the process, and by the server's own count."""

import sqlite3
import threading
import time
from contextlib import closing
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from teacher.asking import IN, MODEL, OUT, PRICES, ask, program, prompt_of, ratings, rows, teacher
from teacher.faulty_server import healthy_content, serve, tokens

from hornbook.errors import UserError
from hornbook.recipe import EndpointsConfig, HourPrice, TokenPrice
from hornbook.teacher import budget as budget_module
from hornbook.teacher.budget import Budget, BudgetReachedError, Rates, dollars, rates_of, upper_prompt_tokens
from hornbook.teacher.journal import FILE, PICO

REPLY = {"mode": "rating"}
WORKED = ("drop_before", "drop_mid_body", "reset", "truncated_json", "empty_choices", "null_content", "status")
# One request in three meets a fault the first two times it is asked. (Each rate limit makes the client slower.)
FAULTS = [
    {"when": {"share": share, "seed": seed, "times": 2}, "fault": fault, "milliseconds": 20, "status": 504}
    for seed, (fault, share) in enumerate(
        [("429", 0.004), ("429_retry_after_ms", 0.004), ("500", 0.04), *((fault, 0.04) for fault in WORKED)]
    )
]


def true_cost(log):
    """What the server would bill: all it worked for, whether or not the client got to see it."""
    cost = 0
    for entry in log:
        if entry["fault"] in (None, *WORKED):
            prompt = prompt_of(entry)
            cost += tokens(prompt) * IN + tokens(healthy_content(REPLY, prompt)) * OUT
    return cost


class Spent:
    """Looks at the journal again and again, from another connection, and remembers the largest sum."""

    def __init__(self, work):
        self.path, self.most, self.looks = work / FILE, 0, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.ended.set()
        self.thread.join()

    def look(self):
        with closing(sqlite3.connect(self.path, timeout=10)) as connection:
            while not self.ended.wait(0.02):
                (spent,) = connection.execute("SELECT COALESCE(SUM(pico_usd), 0) FROM costs").fetchone()
                self.most, self.looks = max(self.most, spent), self.looks + 1


def test_the_cap_holds_at_every_moment_and_a_larger_one_goes_on(tmp_path):
    cap = 0.15
    more = {"prices": PRICES, "concurrency": 256, "attempts": 4}
    with serve({"reply": REPLY, "faults": FAULTS, "latency": [0.01, 0.1]}) as server:
        capped = teacher(tmp_path / "capped", server.base_url, max_usd=cap, **more)
        with capped, Spent(tmp_path / "capped") as spent:
            with pytest.raises(UserError) as told:
                list(capped.answers(ratings(450)))
            ledger = capped.ledger()
        assert spent.looks > 10
        assert max(spent.most, ledger["usd"] * PICO) <= cap * PICO
        assert true_cost(server.log()) <= ledger["usd"] * PICO
        assert ledger["usd"] > 0.9 * cap  # and it is used: less is left than a few requests can cost
        assert ledger["lost"] > 10
        message = str(told.value)
        assert message.startswith("the cap of $0.15 is reached: $0.")
        assert message.endswith("every reply is kept, so the same command with a larger --max-usd goes on from here")
        counts = server.counts()
        assert ledger["requests_sent"] == counts["requests"]
        answers = ask(tmp_path / "capped", server.base_url, requests=ratings(450), max_usd=20.0, **more)
        assert rows(tmp_path / "capped", "SELECT SUM(pico_usd) FROM costs")[0][0] >= true_cost(server.log())
        whole = ask(tmp_path / "whole", server.base_url, requests=ratings(450), **more)
    assert answers == whole
    assert all(answer.value for answer in answers)


KILLED = """
from pathlib import Path
from teacher.asking import PRICES, ratings, teacher
with teacher(Path("$work"), "$url", prices=PRICES, max_usd=$cap, concurrency=32) as asked:
    for answer in asked.answers(ratings(200)):
        assert answer.value
"""


def test_what_was_under_way_when_a_run_was_killed_counts_against_its_cap(tmp_path):
    cap = 0.2
    with serve({"reply": REPLY, "latency": 0.1}) as server:
        spent = []
        for _ in range(2):
            asked = server.counts()["requests"]
            with program(KILLED, work=tmp_path, url=server.base_url, cap=cap) as running:
                while server.counts()["requests"] < asked + 40:
                    assert running.poll() is None, running.stderr.read()
                    time.sleep(0.02)
            spent.append(rows(tmp_path, "SELECT SUM(pico_usd) FROM costs")[0][0])
            assert true_cost(server.log()) <= spent[-1] <= cap * PICO
        assert rows(tmp_path, "SELECT COUNT(*) FROM costs WHERE outcome='sent'")[0][0] > 10
        more = {"prices": PRICES, "concurrency": 32}
        with pytest.raises(UserError, match="the cap of"):
            ask(tmp_path, server.base_url, requests=ratings(200), max_usd=cap, **more)
        total = rows(tmp_path, "SELECT SUM(pico_usd) FROM costs")[0][0]
        assert spent[0] < spent[1] < total <= cap * PICO
        assert true_cost(server.log()) <= total
        answers = ask(tmp_path, server.base_url, requests=ratings(200), max_usd=5.0, **more)
    assert all(answer.value for answer in answers)


def test_a_stop_charges_nothing_that_was_not_sent(tmp_path):
    faults = [{"when": {"after": 30}, "fault": "401"}]
    with serve({"reply": REPLY, "faults": faults, "latency": 0.02}) as server:
        with pytest.raises(UserError), teacher(tmp_path, server.base_url, prices=PRICES, concurrency=64) as asked:
            list(asked.answers(ratings(500)))
        counts = server.counts()
        known = rows(tmp_path, "SELECT outcome, COUNT(*) FROM costs GROUP BY outcome ORDER BY outcome")
        assert known == [("refused", counts["requests"] - 30), ("reply", 30)]
        assert rows(tmp_path, "SELECT SUM(pico_usd) FROM costs")[0][0] == true_cost(server.log())


def test_steps_of_one_run_share_its_cap_and_other_runs_do_not(tmp_path):
    with serve({"reply": REPLY}) as server:
        more = {"prices": PRICES, "max_usd": 0.02}
        with teacher(tmp_path, server.base_url, step="first", **more) as asked:
            list(asked.answers(ratings(30)))
            first = asked.ledger()["usd"]
        with (
            pytest.raises(UserError, match="the cap of"),
            teacher(tmp_path, server.base_url, step="second", **more) as asked,
        ):
            list(asked.answers(ratings(60, "second")))
        assert first + asked_of(tmp_path, "second") <= 0.02
        with teacher(tmp_path, server.base_url, run="another", **more) as asked:
            assert len(list(asked.answers(ratings(10, "third")))) == 10


def asked_of(work, step):
    """What a step cost, in dollars."""
    return rows(work, "SELECT SUM(pico_usd) FROM costs WHERE step=?", step)[0][0] / PICO


def test_free_models_run_under_any_cap(tmp_path):
    with serve({"reply": REPLY}) as server:
        answers = ask(tmp_path, server.base_url, requests=ratings(20), max_usd=0.0)
    assert all(answer.value for answer in answers)
    assert rows(tmp_path, "SELECT COUNT(*), SUM(pico_usd) FROM costs") == [(20, 0)]


def test_a_cap_below_one_request_sends_none(tmp_path):
    with serve({"reply": REPLY}) as server:
        with pytest.raises(
            UserError, match=r"the cap of \$0.0010 is reached: \$0.00 spent, and .* cost up to \$0.0023"
        ):
            ask(tmp_path, server.base_url, requests=ratings(20), max_usd=0.001, prices=PRICES)
        assert server.counts()["requests"] == 0


# ---- prices ----


@pytest.mark.parametrize(
    ("urls", "prices", "rates"),
    [
        (["http://localhost:1/v1"], {}, Rates(0, 0, 0)),
        (["http://127.0.0.1:1/v1", "http://[::1]:2/v1"], {}, Rates(0, 0, 0)),
        (["http://127.0.0.1:1/v1"], PRICES, Rates(IN, OUT, 0)),
        (["https://x.org/v1"], {"faulty": TokenPrice(input_usd=0.15, output_usd=0.6)}, Rates(150_000, 600_000, 0)),
        (["https://x.org/v1"], {"faulty": TokenPrice(input_usd=0, output_usd=0)}, Rates(0, 0, 0)),
        (["https://x.org/v1"], {"faulty": HourPrice(hour_usd=3.6)}, Rates(0, 0, 1_000_000_000)),
        (["https://x.org/v1"], {}, None),
        (["http://localhost.x.org/v1"], {}, None),
        (["http://127.0.0.1:1/v1", "https://x.org/v1"], {}, None),
        (["http://192.168.0.7:8000/v1"], {"faulty-2": PRICES["faulty"]}, None),
        ([], {}, None),
    ],
)
def test_a_price_that_is_not_known_stops_before_anything_is_sent(tmp_path, urls, prices, rates):
    if rates is not None:
        assert rates_of(MODEL, EndpointsConfig(base_urls=tuple(urls), prices=prices)) == rates
        return
    with pytest.raises(UserError, match=r"no price is known for the model `faulty`.*--price 0 where"):
        teacher(tmp_path, *urls, prices=prices)
    assert not (tmp_path / FILE).exists()


@given(st.integers(0, 10**5), st.integers(0, 4))
def test_a_price_as_people_write_it_is_exact(digits, places):
    price = digits / 10**places  # dollars a million tokens
    endpoints = EndpointsConfig(prices={"faulty": TokenPrice(input_usd=price, output_usd=price)})
    assert 0 <= rates_of(MODEL, endpoints).prompt - digits * 10 ** (6 - places) <= 1
    assert f"{rates_of(MODEL, endpoints).prompt / 1e6:.4f}" == f"{price:.4f}"


@given(st.text(max_size=30))
def test_no_text_has_more_tokens_than_its_bound(text):
    assert upper_prompt_tokens(text) >= len(text.encode("utf-8", "surrogatepass")) + 100


@pytest.mark.parametrize(
    ("usd", "shown"),
    [(0, "$0.00"), (1234.5, "$1,234.50"), (0.1, "$0.10"), (0.0123, "$0.0123"), (0.00012345, "$0.00012")],
)
def test_amounts_are_shown_with_as_many_digits_as_matter(usd, shown):
    assert dollars(round(usd * PICO)) == shown


# ---- by the hour ----


def test_hours_are_paid_once_however_many_requests_run_in_them(tmp_path):
    prices = {"faulty": HourPrice(hour_usd=3600.0)}  # a dollar a second
    with serve({"reply": REPLY, "latency": 0.3}) as server, teacher(tmp_path, server.base_url, prices=prices) as asked:
        answers = asked.answers(ratings(64))
        next(answers)
        time.sleep(0.5)  # the others are under way, and their time goes on
        list(answers)
        log, usd = server.log(), asked.ledger()["usd"]
    seconds = log[-1]["done"] - log[0]["time"]
    assert seconds - 0.1 < usd < seconds + 1.5
    assert usd < 64 * 0.3 / 4


def test_the_cap_holds_by_the_hour(tmp_path):
    prices = {"faulty": HourPrice(hour_usd=3600.0)}
    with serve({"reply": REPLY, "faults": [{"when": {"every": 20}, "fault": "stall"}], "latency": 0.05}) as server:
        with (
            pytest.raises(UserError, match="the cap of"),
            teacher(tmp_path, server.base_url, prices=prices, max_usd=2.5, deadline_seconds=0.6) as asked,
        ):
            list(asked.answers(ratings(5000)))
        log = server.log()
    spent = rows(tmp_path, "SELECT SUM(pico_usd) FROM costs")[0][0] / PICO
    assert max(entry["time"] for entry in log) - log[0]["time"] < 2.5
    assert 0.5 < spent <= 2.5


# ---- the arithmetic, at random ----

UPPER = st.integers(0, 60)
STEPS = st.lists(st.tuples(st.sampled_from(["ask", "answer", "answer"]), UPPER, st.floats(0, 1)), max_size=200)


@settings(max_examples=300)
@given(st.integers(0, 200), st.integers(0, 100), STEPS)
def test_spent_and_reserved_never_pass_the_cap(cap, before, steps):
    budget = Budget(Rates(1, 1, 0), cap, min(before, cap))
    under_way, costs = [], 0
    for what, upper, part in steps:
        if what == "ask":
            try:
                fits = budget.fits(upper, 10.0)
            except BudgetReachedError:
                assert not under_way
                fits = False
            assert fits == (budget.spent + sum(under_way) + upper <= cap)
            if fits:
                budget.reserve(upper)
                under_way.append(upper)
        elif under_way:
            upper = under_way.pop(int(part * (len(under_way) - 1)))
            cost = int(part * upper)
            assert budget.settle(upper, cost) == cost
            costs += cost
        assert budget.spent == min(before, cap) + costs
        assert budget.reserved == sum(under_way)
        assert budget.under_way == len(under_way)
        assert budget.spent + budget.reserved <= cap


@settings(max_examples=200)
@given(st.integers(1, 300), st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=60))
def test_time_never_passes_the_cap(cap, steps):
    now, deadline = [1000.0], 5.0
    under_way, busy = [], 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
        budget = Budget(Rates(0, 0, 10), cap, 0)
        for asks, seconds in steps:
            # No request lasts longer than its deadline.
            seconds = min([seconds, *(started + deadline - now[0] for started in under_way)])
            busy += seconds if under_way else 0.0
            now[0] += seconds
            while under_way and (not asks or now[0] >= under_way[0] + deadline):
                under_way.pop(0)
                budget.settle(0, 0)
                asks = True
            try:
                if budget.fits(0, deadline):
                    budget.reserve(0)
                    under_way.append(now[0])
            except BudgetReachedError:
                assert not under_way
            assert budget.spent <= cap
            assert budget.spent <= busy * 10 + 1e-6
        assert budget.spent >= busy * 10 - 10 * deadline - len(steps)
