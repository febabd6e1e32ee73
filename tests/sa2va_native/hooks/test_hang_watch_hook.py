"""A rank that hangs is named after a bounded time, and the ranks that wait for it end."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from mmengine.dist import get_rank

from sa2va_native.engine.run import launch
from sa2va_native.errors import ConfigError
from sa2va_native.hooks import hang_watch_hook
from sa2va_native.hooks.hang_watch_hook import HangWatchHook, who_hangs
from tests.ranks import run_ranks
from tests.toy import ToyData, toy_config


class HangingData(ToyData):
    """From its third micro-batch on rank 1 hangs: it waits for data, or all of it is stopped for ten seconds."""

    def __init__(self, stop: bool) -> None:
        super().__init__()
        self.stop = stop

    def __getitem__(self, index: int):
        if get_rank() == 1 and len(self.read) >= 4:
            stopped = os.getpid()
            if self.stop and not os.fork():
                time.sleep(10)
                if os.getppid() == stopped:  # it may have been killed meanwhile
                    os.kill(stopped, signal.SIGKILL)
                os._exit(0)
            if self.stop:
                os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(1000)
        return super().__getitem__(index)


def train(work_dir: Path, stop: bool) -> None:
    hang_watch_hook._BEAT = 0.3
    cfg = toy_config(work_dir, 100, batch_size=2, hooks=[dict(type="HangWatchHook", minutes=0.05)])
    cfg.train_dataloader.dataset = dict(type=f"{__name__}.HangingData", stop=stop)
    cfg.launcher = "pytorch"
    launch.build_runner(cfg).train()


@pytest.mark.parametrize(
    ("stop", "named"),
    [
        (False, "rank 1 is waiting for data, micro-batch 3, behind the others. Look at"),
        pytest.param(True, "rank 1 gives no sign of life. Look at", marks=pytest.mark.slow),
    ],
)
def test_the_rank_that_hangs_is_named(
    tmp_path: Path, stop: bool, named: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Red when the other waits for half an hour, or ends without a name, or names the wrong one."""
    with pytest.raises(RuntimeError, match="rank 0 died with exit code 1"):
        run_ranks(2, train, tmp_path, stop)
    assert f"rank 0: TrainingError: no progress for 0.05 minutes: {named}" in capfd.readouterr().err


def test_ranks_are_told_apart() -> None:
    """Red when a rank that waits is blamed, or all are when none is behind."""
    data, computing = (3, 0, "waiting for data"), (3, 1, "computing")
    before, now = ([json.dumps([beat, *place]) for place in (computing, data, data)] for beat in (5, 9))
    assert who_hangs(before, now) == "ranks 1, 2 are waiting for data, micro-batch 4, behind the others"
    assert who_hangs(before[:1], now[:1]) == "all ranks are computing, micro-batch 4"
    assert who_hangs(before, [now[0], before[1], now[2]]) == "rank 1 gives no sign of life"
    assert who_hangs(["", before[1]], ["", now[1]]) == "rank 0 gives no sign of life"


def test_a_time_that_is_none_is_refused() -> None:
    for minutes in (0, -1, float("nan")):
        with pytest.raises(ConfigError, match=r"HangWatchHook\.minutes"):
            HangWatchHook(minutes)
