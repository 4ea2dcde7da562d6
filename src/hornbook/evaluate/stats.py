"""Estimators and intervals. All intervals are 95%."""

import math
from collections.abc import Sequence

import numpy as np

Z_95 = 1.959963984540054  # the 97.5% quantile of the normal distribution
RESAMPLES = 2000


def wilson_interval(passed: float, n: int) -> tuple[float, float]:
    """The Wilson score interval of a proportion: honest at 0 and at 1, where the normal one has no width.

    `passed` may be a sum of shares in [0, 1], such as pass@k of each of `n` problems: they vary less between problems
    than zeros and ones of the same mean, so the interval is then wider than it need be.

    Raises ValueError unless 0 <= passed <= n and n > 0.
    """
    if not 0 <= passed <= n or n == 0:
        raise ValueError(f"{passed} of {n} is no proportion")
    share, z2 = passed / n, Z_95 * Z_95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return (0.0 if passed == 0 else middle - half), (1.0 if passed == n else middle + half)


def pass_at_k(n: int, passed: int, k: int) -> float:
    """The unbiased estimate of pass@k from n samples of one problem: 1 - C(n - passed, k) / C(n, k).

    As the product of Chen et al. 2021 (Codex), section 2.1, which overflows for no n. Raises ValueError where n < k.
    """
    if not 1 <= k <= n or not 0 <= passed <= n:
        raise ValueError(f"pass@{k} cannot be estimated from {passed} of {n} samples")
    if n - passed < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - passed + 1, n + 1)))


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], seed: int
) -> tuple[float | None, float | None]:
    """Percentile bootstrap of sum(numerators) / sum(denominators) over items (documents, problems), drawn with `seed`.

    One item tells nothing of how items differ: its interval is None. Raises ValueError where there are no items or the
    lengths differ.
    """
    top, bottom = np.asarray(numerators, float), np.asarray(denominators, float)
    if top.shape != bottom.shape or not top.size:
        raise ValueError(f"{top.size} numerators and {bottom.size} denominators make no ratio")
    if top.size == 1:
        return None, None
    draw = np.random.default_rng(seed)
    ratios = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        times = np.bincount(draw.integers(0, top.size, top.size), minlength=top.size)
        ratios[i] = times @ top / (times @ bottom)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)
