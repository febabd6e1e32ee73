"""A work dir that is gone is one clear error, or made again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sa2va_native.engine.checkpoints.checkpointing import find_latest_checkpoint
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import TrainingError
from tests.ranks import run_ranks
from tests.toy import toy_config


def folder_is_a_file(work_dir: Path) -> None:
    work_dir.rename(work_dir.with_name("moved"))
    work_dir.touch()


def folder_removed(work_dir: Path) -> None:
    shutil.rmtree(work_dir)


def train(work_dir: Path, stage: int, happens: Callable[[Path], None]) -> str:
    """Three steps with a checkpoint each; something happens after the second. Returns the error."""
    cfg = toy_config(work_dir, 3, checkpoint_interval=1)
    cfg.default_hooks.logger = None  # it writes too, and would meet the accident first
    cfg.launcher = "pytorch"
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)

    class Accident:
        priority = 0

        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            if runner.iter == 2:
                happens(work_dir)

    runner._hooks.append(Accident())
    try:
        runner.train()
    except TrainingError as error:
        return str(error)
    return "no error"


def test_a_work_dir_that_was_replaced_by_a_file(tmp_path: Path) -> None:
    """Red when it ends in a traceback."""
    (message,) = run_ranks(1, train, tmp_path / "run", 0, folder_is_a_file)
    assert "could not be written" in message
    assert find_latest_checkpoint(tmp_path / "moved") == str(tmp_path / "moved/iter_2.pth")


@pytest.mark.parametrize("stage", [0, 2])
def test_a_work_dir_that_was_removed_is_made_again(tmp_path: Path, stage: int) -> None:
    """Red when what was trained since is lost with it."""
    assert run_ranks(1, train, tmp_path / "run", stage, folder_removed) == ["no error"]
    assert find_latest_checkpoint(tmp_path / "run") == str(tmp_path / "run/iter_3.pth")
