"""Means over seeds and their 95 % intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.95


class Interval(NamedTuple):
    """A mean over seeds."""

    mean: float
    half: float | None  #: half width of its 95 % interval; None for a single seed
    spread: float | None  #: standard deviation over seeds; None for a single one
    n: int  #: seeds

    @property
    def low(self) -> float:
        return self.mean - (math.inf if self.half is None else self.half)

    @property
    def high(self) -> float:
        return self.mean + (math.inf if self.half is None else self.half)

    def of_one_more(self) -> tuple[float, float]:
        """Where one further run lies with 95 % (prediction interval of a normal sample)."""
        if self.spread is None:
            return -math.inf, math.inf
        half = student_t(self.n - 1) * self.spread * math.sqrt(1 + 1 / self.n)
        return self.mean - half, self.mean + half


def interval(values: Sequence[float]) -> Interval:
    """Mean and interval (Student's t) of one figure over seeds, n >= 1."""
    mean, n = statistics.fmean(values), len(values)
    if n == 1:
        return Interval(mean, None, None, 1)
    spread = statistics.stdev(values)
    return Interval(mean, student_t(n - 1) * spread / math.sqrt(n), spread, n)


def paired(ours: Mapping[Any, float], theirs: Mapping[Any, float]) -> Interval | None:
    """Interval of the differences of the same seeds, ours - theirs; None if they share no seed."""
    differences = [ours[seed] - theirs[seed] for seed in sorted(ours) if seed in theirs]
    return interval(differences) if differences else None


def apart(one: Interval, other: Interval) -> bool:
    """Whether the intervals of both means have nothing in common; False if one of them is a single seed."""
    return one.low > other.high or other.low > one.high


@cache
def student_t(df: int, level: float = LEVEL) -> float:
    """The two-sided quantile of Student's t distribution, to 6 digits: its density is integrated up to ``level``.

    Args:
        df: degrees of freedom, >= 1.
    """
    # t = sqrt(df) tan(u) turns the tails into a finite range: the density becomes proportional to cos(u) ** (df - 1).
    u = np.linspace(0.0, math.pi / 2, 200_001)
    density = np.cos(u) ** (df - 1)
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(math.sqrt(df) * math.tan(np.interp(level, area / area[-1], u)))
