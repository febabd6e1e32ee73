"""Results of many workers in the order of the work, with few items in flight."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def ordered_map(
    pool: Executor, function: Callable[[Work], Result], work: Iterable[Work], ahead: int
) -> Iterator[Result]:
    """Like ``pool.map``, for endless work: at most ``ahead`` items are submitted and not yet yielded."""
    waiting: deque[Future[Result]] = deque()
    for item in work:
        if len(waiting) == ahead:
            yield waiting.popleft().result()
        waiting.append(pool.submit(function, item))
    while waiting:
        yield waiting.popleft().result()
