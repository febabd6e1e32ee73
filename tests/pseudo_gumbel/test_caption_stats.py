"""Caption statistics by hand-counted examples."""

from __future__ import annotations

import pytest

from pseudo_gumbel.caption_stats import caption_statistics
from sa2va_native.evaluation.diversity import distinct_n


def test_distinct_n_counts_by_hand() -> None:
    """Red when captions are joined: 'dog a' is not a bigram of ["a dog", "a cat"]."""
    assert distinct_n(["a dog", "a cat"], 1) == 3 / 4
    assert distinct_n(["a dog", "a cat"], 2) == 1.0
    assert distinct_n(["red red red"], 1) == 1 / 3
    assert distinct_n(["red red red"], 2) == 1 / 2


def test_nothing_said_is_zero_not_an_error() -> None:
    assert distinct_n(["", "one"], 2) == 0.0
    assert caption_statistics([], [], [], 0.0)["length"] == 0


def test_statistics() -> None:
    stats = caption_statistics(["a dog", "a cat"], [2, 4], [True, False], 0.25)
    assert stats == pytest.approx(
        {"length": 3, "stop_rate": 0.5, "distinct_1": 0.75, "distinct_2": 1.0, "agreement": 0.25}
    )
