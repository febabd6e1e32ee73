"""What one process sets aside, all know; it costs nothing for what is usable."""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sa2va_native.datasets.unusable_items import UnusableItems


def find(aside: UnusableItems, items: list[int], ready: Callable[[], object]) -> None:
    ready()
    for item in items:
        aside.add(item, "odd" if item % 2 else "even")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_count_together_and_an_item_once(method: str) -> None:
    """Red when findings of several processes overwrite one another, or two that find the same item count it twice."""
    aside = UnusableItems(("even", "odd"))
    aside.add(0, "even")
    context = multiprocessing.get_context(method)
    barrier = context.Barrier(3)
    ranges = [list(range(first, first + 4000)) for first in (0, 2000, 4000)]
    workers = [context.Process(target=find, args=(aside, items, barrier.wait)) for items in ranges]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert aside.counts() == {"even": 4000, "odd": 4000}
    assert 7999 in aside
    assert 8000 not in aside


def test_items_of_any_size_cost_the_same() -> None:
    """Red when memory follows the set: SA-1B has a billion masks."""
    aside = UnusableItems(("bad",))
    aside.add(10**12, "bad")
    assert 10**12 in aside
    assert 10**12 - 1 not in aside
    assert os.path.getsize(aside._path) < 100


def test_its_file_goes_with_it_and_not_with_a_worker() -> None:
    """Red when a worker's end takes the file away from the others, or the file stays for ever."""
    aside = UnusableItems(("bad",))
    path = Path(aside._path)
    worker = os.fork()
    if not worker:
        atexit._run_exitfuncs()  # as a process that ends in peace does
        os._exit(0)
    os.waitpid(worker, 0)
    assert path.exists()
    del aside
    gc.collect()
    assert not path.exists()


def test_a_record_that_was_written_in_part_hangs_nobody() -> None:
    """Red when a full disk makes every worker ask for the rest of it for ever."""
    aside = UnusableItems(("bad",))
    aside.add(3, "bad")
    with open(aside._path, "ab") as file:
        file.write(b"half")
    assert 3 in aside
    assert 4 not in aside


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    aside = UnusableItems(("bad",))
    monkeypatch.setattr(os, "write", lambda *_: 4)
    with pytest.raises(OSError, match="no space left"):
        aside.add(3, "bad")
