"""Intervals over pictures, against SciPy's bootstrap and what must hold exactly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sa2va_native.evaluation.bootstrap import interval, resampled

DRAW = np.random.default_rng(0)
MEANS = np.stack([DRAW.random(60), np.ones(60)], axis=1)
NAMES = [f"picture {i}" for i in range(60)]


def test_an_interval_is_that_of_scipy() -> None:
    """A ratio of sums with one object a picture. Red when the wrong share is cut off, or ratios are averaged."""
    table = np.stack([DRAW.random(60), 1 + DRAW.random(60)], axis=1)
    ours = interval(resampled([table], NAMES, resamples=4000)[0])
    theirs = stats.bootstrap(
        (table[:, 0], table[:, 1]), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True, method="percentile",
        n_resamples=4000, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    width = theirs.high - theirs.low
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.06 * width)


def test_copies_of_an_object_in_its_picture_add_no_certainty() -> None:
    """Exactly. Red when objects are drawn instead of pictures, which makes the interval narrower by half here."""
    once = resampled([MEANS], NAMES)
    assert np.allclose(resampled([np.repeat(MEANS, 4, axis=0)], np.repeat(NAMES, 4)), once, rtol=1e-12)
    apart = interval(resampled([np.repeat(MEANS, 4, axis=0)], [str(i) for i in range(240)])[0])
    low, high = interval(once[0])
    assert apart[1] - apart[0] == pytest.approx((high - low) / 2, rel=0.15)


def test_differences_are_paired() -> None:
    """Red when two runs see other pictures in a draw, or equal ones differ."""
    better = MEANS + np.array([0.1, 0])
    old, new, same = resampled([MEANS, better, MEANS], NAMES)
    assert interval(new - old) == pytest.approx((0.1, 0.1))
    assert (old == same).all()


def test_the_draws_depend_on_the_seed_alone() -> None:
    """Red when a further run, or another order of the samples, changes the interval of a difference."""
    order = DRAW.permutation(60)
    shuffled = resampled([MEANS[order]], [NAMES[i] for i in order])
    assert np.allclose(resampled([MEANS], NAMES), shuffled, rtol=1e-12)
    assert not np.allclose(resampled([MEANS], NAMES), resampled([MEANS], NAMES, seed=1))


def test_one_picture_and_nothing_to_find() -> None:
    """Red when a single picture, or a draw without any pixel in either mask, divides by zero."""
    assert (resampled([MEANS[:3]], ["a", "a", "a"], resamples=5) == MEANS[:3, 0].mean()).all()
    drawn = resampled([np.array([[0, 0], [1, 2]])], ["a", "b"], resamples=50)
    assert set(drawn[0]) == {0.5, 1.0}
