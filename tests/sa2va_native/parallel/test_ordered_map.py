"""Results come in order, and work is given out as they are taken."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

from sa2va_native.parallel.ordered_map import ordered_map


def late(number: int) -> int:
    time.sleep(0.02 if number % 3 == 0 else 0)
    return number


def test_endless_work_is_given_out_as_results_are_taken() -> None:
    """Red when results come as they end, or all work is read ahead: a set's files would be listed in memory."""
    work = itertools.count()
    with ThreadPoolExecutor(3) as pool:
        results = ordered_map(pool, late, work, ahead=5)
        assert list(itertools.islice(results, 20)) == list(range(20))
        assert next(work) <= 20 + 5
        assert list(ordered_map(pool, late, range(3), ahead=5)) == [0, 1, 2]
