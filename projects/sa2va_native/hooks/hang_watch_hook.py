"""Names the rank that hangs, and ends a run whose ranks wait for it."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from datetime import timedelta
from typing import Any

from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch.distributed.distributed_c10d import _get_default_store

from sa2va_native.errors import ConfigError

#: Seconds between two signs of life.
_BEAT = 5.0
_KEY = "hang_watch/{}"


@HOOKS.register_module()
class HangWatchHook(Hook):
    """Ends a run of several ranks when this one has not moved for a while, and says which rank it waits for.

    Every rank tells the others in the store of the process group where it is, from a thread. A rank hangs if it is
    behind the others, or gives no sign of life. Without this, a rank that waits ends after 10 minutes (NCCL) or 30
    (gloo), with a message that names none.

    Args:
        minutes: that one micro-batch, evaluation batch or checkpoint may take, > 0.

    Raises:
        ConfigError: ``minutes`` is not positive.
    """

    priority = "LOWEST"  # after what others do in an iteration

    def __init__(self, minutes: float = 9.0) -> None:
        if not minutes > 0:
            raise ConfigError(f"HangWatchHook.minutes={minutes}: more than 0. Leave the hook out to wait for ever.")
        self.minutes = minutes
        self._done = threading.Event()
        self._move(0, 0, "starting")

    def before_train(self, runner: Any) -> None:
        self._move(runner.iter, 0, "waiting for data")
        if get_world_size() > 1:
            watch = threading.Thread(
                target=self._watch, args=(get_rank(), get_world_size()), name="hang-watch", daemon=True
            )
            watch.start()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self._move(runner.iter, 1, "computing")

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self._move(runner.iter + 1, 0, "waiting for data")

    def after_val_iter(self, runner: Any, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        self._move(runner.iter, -1, "evaluating")

    def after_train(self, runner: Any) -> None:
        self._done.set()

    def _move(self, iteration: int, order: int, doing: str) -> None:
        self._place, self._since = (iteration, order, doing), time.monotonic()

    def _watch(self, rank: int, ranks: int) -> None:
        store, beats = _get_default_store().clone(), 0
        store.set_timeout(timedelta(seconds=10 * _BEAT))
        keys = [_KEY.format(other) for other in range(ranks)]
        looked: list[list[str]] = []  # what all ranks said at each beat since this one waits
        while not self._done.wait(_BEAT):
            beats += 1
            waits = time.monotonic() - self._since > self.minutes * 60
            try:
                store.set(keys[rank], json.dumps([beats, *self._place]))
                said = [store.get(key).decode() if store.check([key]) else "" for key in keys] if waits else []
                looked = [*looked, said] if waits else []
                hanging = who_hangs(looked[-4], said) if len(looked) > 3 else None
            except RuntimeError:  # rank 0 keeps the store
                hanging = "rank 0 gives no sign of life" if waits else None
            if hanging and not self._done.is_set():
                print(
                    f"\nrank {rank}: TrainingError: no progress for {self.minutes:g} minutes: {hanging}. Look at that "
                    "rank's data, disk and machine, then continue with --resume.",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(1)


def who_hangs(before: list[str], now: list[str]) -> str:
    """The ranks that give no sign of life, else those that are behind the others, in words.

    Args:
        before, now: what each rank said a few beats ago and now: a growing number and its place, which sorts, as JSON.
    """
    if silent := [rank for rank, text in enumerate(now) if text == before[rank]]:
        return f"{_ranks(silent)} {'give' if len(silent) > 1 else 'gives'} no sign of life"
    places = [tuple(json.loads(text)[1:]) for text in now]
    iteration, _, doing = last = min(places)
    behind = [rank for rank, place in enumerate(places) if place == last]
    where = f"{doing}, micro-batch {iteration + 1}"
    if len(behind) == len(now):
        return f"all ranks are {where}"
    return f"{_ranks(behind)} {'are' if len(behind) > 1 else 'is'} {where}, behind the others"


def _ranks(ranks: list[int]) -> str:
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"
