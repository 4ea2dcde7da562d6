"""Measures against scipy and scikit-learn, and against cases worked out by hand."""

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import f1_score, roc_auc_score

from hornbook.curate.agreement import agreement, auc, calibration, f1, inside_sources, rank_correlation, ranks


def test_measures_equal_those_of_scipy_and_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        ratings = rng.integers(0, 11, 60) / 2
        scores = np.round(ratings + rng.normal(0, 1.5, 60), 1)
        positive = ratings >= 3
        assert np.array_equal(ranks(scores), rankdata(scores))
        assert rank_correlation(ratings, scores) == pytest.approx(spearmanr(ratings, scores).statistic)
        assert auc(positive, scores) == pytest.approx(roc_auc_score(positive, scores))
        assert f1(positive, scores >= 3) == pytest.approx(f1_score(positive, scores >= 3))


def test_one_class_is_undefined_and_not_zero() -> None:
    ratings, scores = np.array([1.0, 2.0, 1.5, 0.5]), np.array([1.0, 2.0, 3.5, 0.0])
    measured = agreement(ratings, scores, threshold=3, seed=0)
    assert measured["auc"]["value"] is None
    assert measured["f1"]["value"] is None
    assert "one side of the threshold" in measured["auc"]["why"]
    assert measured["rank_correlation"]["value"] == pytest.approx(0.8)
    assert agreement(np.full(4, 4.0), scores, 3, 0)["rank_correlation"]["value"] is None


def test_no_positive_prediction_is_a_zero() -> None:
    assert f1(np.array([True, False]), np.array([False, False])) == 0


def test_scores_that_only_know_the_source_order_nothing_inside_it() -> None:
    rng = np.random.default_rng(1)
    sources = [name for name in "abcd" for _ in range(25)]
    level = np.repeat([0.5, 1.5, 2.5, 4.0], 25)
    ratings = np.clip(level + rng.normal(0, 0.4, 100), 0, 5)
    overall = agreement(ratings, level, 3, 0)
    inside = inside_sources(ratings, level, sources, 0)
    assert overall["rank_correlation"]["value"] > 0.85
    assert inside["rank_correlation"]["value"] == 0
    assert inside["variance_share_of_scores"] == 0
    assert 0 < inside["variance_share_of_ratings"] < 0.3
    perfect = inside_sources(ratings, ratings, sources, 0)
    assert perfect["rank_correlation"]["value"] == pytest.approx(1)
    assert perfect["variance_share_of_scores"] == perfect["variance_share_of_ratings"]


def test_the_mean_inside_sources_is_weighted_by_documents() -> None:
    ratings = np.array([1.0, 2, 3, 4, 5] + [1.0, 2, 3, 4, 5] * 2 + [1.0, 2])
    scores = np.array([5.0, 4, 3, 2, 1] + [1.0, 2, 3, 4, 5] * 2 + [2.0, 1])
    inside = inside_sources(ratings, scores, ["down"] * 5 + ["up"] * 10 + ["few"] * 2, seed=0)
    assert inside["rank_correlation"]["value"] == pytest.approx((5 * -1 + 10 * 1) / 15, abs=1e-4)
    assert (inside["sources"], inside["documents"]) == (2, 15)


def test_no_source_with_enough_documents_is_undefined() -> None:
    inside = inside_sources(np.array([1.0, 2.0]), np.array([1.0, 2.0]), ["a", "b"], seed=0)
    assert inside["rank_correlation"]["value"] is None
    assert inside["variance_share_of_scores"] is None


def test_calibration_by_hand() -> None:
    table = calibration(np.array([0.0, 1.0, 4.0, 5.0]), np.array([0.1, 0.4, 3.2, 5.0]), threshold=3)
    assert table == [
        {"from": 0.0, "to": 0.5, "n": 2, "mean_score": 0.25, "mean_rating": 0.5, "positive_share": 0.0},
        {"from": 3.0, "to": 3.5, "n": 1, "mean_score": 3.2, "mean_rating": 4.0, "positive_share": 1.0},
        {"from": 4.5, "to": 5.0, "n": 1, "mean_score": 5.0, "mean_rating": 5.0, "positive_share": 1.0},
    ]
