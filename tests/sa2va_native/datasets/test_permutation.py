"""The order without memory: a permutation, and as even as one drawn by numpy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sa2va_native.datasets.permutation import Permutation


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 16, 17, 1000, 70_001])
def test_every_number_occurs_once(length: int):
    """Red when two places hold the same number: items would be drawn twice in a pass, and others never."""
    order = Permutation(length, (3, 1))
    assert sorted(order) == list(range(length))


def test_the_key_alone_makes_the_order():
    assert list(Permutation(500, (1, 2))) == list(Permutation(500, (1, 2)))
    assert list(Permutation(500, (1, 2))) != list(Permutation(500, (1, 3)))


def test_a_place_of_a_billion_is_found_at_once():
    """Red when something of the size of the set is held or walked."""
    order = Permutation(1_100_000_000, (0,))
    places = [0, 17, 1_099_999_999]
    assert len({order[place] for place in places}) == 3
    with pytest.raises(IndexError, match="place 1100000000 of 1100000000"):
        order[1_100_000_000]


def test_places_and_numbers_are_evenly_paired_over_keys():
    """Chi-square over 8,000 keys at several places, and for the step between neighbours.

    Red when some numbers come early, or neighbours stay near each other (too few rounds, a key that is not used).
    """
    length, keys = 40, 8_000
    drawn = np.array([[order[place] for place in (0, 1, 20, 39)] for order in orders(length, keys)])
    for column in drawn.T:
        assert stats.chisquare(np.bincount(column, minlength=length)).pvalue > 1e-4
    steps = (drawn[:, 1] - drawn[:, 0]) % length
    assert stats.chisquare(np.bincount(steps, minlength=length)[1:]).pvalue > 1e-4
    assert (steps > 0).all()


def test_one_long_order_looks_random():
    """Red when an order of many items runs in patterns: fixed points, rises, and the correlation of neighbours."""
    length = 70_001
    order = np.array(Permutation(length, (5,)))
    assert (order == np.arange(length)).sum() <= 8  # Poisson with mean 1: more in one of a million orders
    assert abs((np.diff(order) > 0).mean() - 0.5) < 4 * np.sqrt(1 / 12 / length)
    for lag in (1, 2, 256):
        assert abs(np.corrcoef(order[:-lag], order[lag:])[0, 1]) < 4 / np.sqrt(length)
    tenths = np.histogram2d(np.arange(length), order, bins=10)[0]
    assert stats.chisquare(tenths.ravel(), ddof=18).pvalue > 1e-4


def orders(length: int, keys: int) -> list[Permutation]:
    return [Permutation(length, (7, key)) for key in range(keys)]
