"""How well scores agree with ratings, overall and inside each source.

A classifier that only learned which source a document came from ranks the whole corpus well and every single source not
at all, so each measure stands beside its value inside the sources and beside a baseline that knows nothing else.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[NDArray[np.int64]], float | None]  # of the rows at these places; None where it is undefined

RESAMPLES = 400  # of the bootstrap behind each 95% interval
MIN_SOURCE_ROWS = 5  # fewer rated documents of a source say nothing about the order inside it


def ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_ranks: Floats = np.cumsum(counts) - (counts - 1) / 2
    return mean_ranks[places]


def rank_correlation(first: Floats, second: Floats) -> float | None:
    """Spearman's rank correlation; None where either side is constant."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def auc(positive: NDArray[np.bool_], scores: Floats) -> float | None:
    """The chance that a positive document scores above a negative one, ties as half; None where a class is empty."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    return float((ranks(scores)[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def f1(positive: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float | None:
    """The harmonic mean of precision and recall; None where a class is empty, for then nothing can be told apart."""
    if positive.all() or not positive.any():
        return None
    hits = int((positive & predicted).sum())
    return 2 * hits / int(positive.sum() + predicted.sum())


def agreement(ratings: Floats, scores: Floats, threshold: float, seed: int) -> dict[str, Any]:
    """Rank correlation, and AUC and F1 of "at or above the threshold", each with a 95% bootstrap interval.

    A measure that is undefined has the value null and says why.
    """
    positive = ratings >= threshold
    count = len(ratings)
    one_class = "the held-out ratings are all on one side of the threshold"
    return {
        "rank_correlation": estimate(
            lambda rows: rank_correlation(ratings[rows], scores[rows]), count, seed, "ratings or scores are all equal"
        ),
        "auc": estimate(lambda rows: auc(positive[rows], scores[rows]), count, seed, one_class),
        "f1": estimate(lambda rows: f1(positive[rows], scores[rows] >= threshold), count, seed, one_class),
        "positive_share": round(float(positive.mean()), 4),
    }


def inside_sources(ratings: Floats, scores: Floats, sources: list[str], seed: int) -> dict[str, Any]:
    """The same question inside each source: rank correlation (the mean over sources, weighted by documents; scores that
    are constant in a source count as 0), and the share of the variance that lies inside the sources.

    Only sources with at least MIN_SOURCE_ROWS documents whose ratings differ are asked.
    """
    groups = [
        rows
        for source in sorted(set(sources))
        if len(rows := np.array([place for place, name in enumerate(sources) if name == source])) >= MIN_SOURCE_ROWS
        and np.ptp(ratings[rows]) > 0
    ]
    values = np.array([rank_correlation(ratings[rows], scores[rows]) or 0.0 for rows in groups])
    weights = np.array([len(rows) for rows in groups], np.float64)

    def weighted(chosen: NDArray[np.int64]) -> float | None:
        return float(np.average(values[chosen], weights=weights[chosen]))

    why = f"no source has {MIN_SOURCE_ROWS} held-out documents with different ratings"
    return {
        "rank_correlation": estimate(weighted, len(groups), seed, why),
        "sources": len(groups),
        "documents": int(weights.sum()),
        "variance_share_of_scores": variance_share(scores, groups),
        "variance_share_of_ratings": variance_share(ratings, groups),
    }


def variance_share(values: Floats, groups: list[NDArray[np.int64]]) -> float | None:
    """The share of the variance over all groups that lies inside them: 0 where each group is constant."""
    if not groups:
        return None
    everything = values[np.concatenate(groups)]
    total = float(((everything - everything.mean()) ** 2).sum())
    if total == 0:
        return None
    return round(sum(float(((values[rows] - values[rows].mean()) ** 2).sum()) for rows in groups) / total, 4)


def estimate(statistic: Statistic, count: int, seed: int, why_undefined: str) -> dict[str, Any]:
    """A statistic of `count` rows with its 95% percentile bootstrap interval."""
    value = statistic(np.arange(count)) if count else None
    if value is None:
        return {"value": None, "n": count, "why": why_undefined}
    rng = np.random.default_rng(seed)
    draws = [statistic(rng.integers(0, count, count)) for _ in range(RESAMPLES)]
    low, high = np.quantile([draw for draw in draws if draw is not None] or [value], [0.025, 0.975])
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4), "n": count}


def calibration(ratings: Floats, scores: Floats, threshold: float) -> list[dict[str, float]]:
    """Per half point of score that occurs: how many documents, their mean score, mean rating, and the share of them
    rated at or above the threshold."""
    places = np.minimum((scores * 2).astype(int), 9)
    return [
        {
            "from": place / 2,
            "to": (place + 1) / 2,
            "n": int((places == place).sum()),
            "mean_score": round(float(scores[places == place].mean()), 3),
            "mean_rating": round(float(ratings[places == place].mean()), 3),
            "positive_share": round(float((ratings[places == place] >= threshold).mean()), 3),
        }
        for place in sorted(set(places.tolist()))
    ]
