"""Intervals by resampling pictures: objects of one picture are not independent of each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 1000


def resampled(
    tables: Sequence[np.ndarray], pictures: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Ratios of sums over random draws of pictures, with all samples of a picture that is drawn (Efron 1979).

    Every table sees the same draws, so differences between tables are paired.

    Args:
        tables: T arrays (N, 2) of numerators and denominators of the same N >= 1 samples.
        pictures: N names: to which picture each sample belongs.
        resamples: R, number of draws; each is of as many pictures as there are.
        seed: of the draws.

    Returns:
        (T, R); 1 where the denominators of a draw add up to 0.
    """
    names, place = np.unique(np.asarray(pictures), return_inverse=True)
    sums = np.array([[np.bincount(place, column) for column in np.asarray(table, float).T] for table in tables])
    rng = np.random.default_rng(seed)
    totals = np.empty((len(tables), 2, resamples))
    for draw in range(resamples):
        times = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        totals[..., draw] = sums @ times
    numerators, denominators = totals[:, 0], totals[:, 1]
    return np.divide(numerators, denominators, out=np.ones_like(numerators), where=denominators != 0)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of resampled values."""
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
