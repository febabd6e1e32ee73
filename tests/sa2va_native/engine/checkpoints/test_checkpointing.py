"""A kill at any moment leaves the checkpoints before it complete, and resuming finds the newest of them."""

from __future__ import annotations

import os
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sa2va_native.engine.checkpoints import checkpointing
from sa2va_native.engine.checkpoints.checkpointing import find_latest_checkpoint, require_checkpoint
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import CheckpointError, ConfigError
from sa2va_native.files import atomic
from sa2va_native.hooks.checkpoint_hook import StepCheckpointHook
from tests.ranks import run_ranks
from tests.toy import toy_config


def _train(work_dir: Path, stage: int, steps: int, resume: str | None, kill: Callable | None) -> int:
    cfg = toy_config(work_dir, steps, checkpoint_interval=1)
    cfg.launcher = "pytorch"
    launch.use_checkpoint(cfg, resume, None)
    start = int(Path(cfg.load_from).stem.removeprefix("iter_")) if cfg.get("load_from") else 0
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    if kill is not None:
        kill(runner)
    runner.train()
    return start


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_in_the_middle_of_a_file(runner: Any) -> None:
    """At step 3, when a torch file is half written."""
    original, count = torch.save, [0]

    def save(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        original(obj, f, *args, **kwargs)
        if runner.iter >= 2:
            if isinstance(f, (str, Path)):
                os.truncate(f, os.path.getsize(f) // 2)
            _die()

    torch.save = save
    del count


def _kill_before_the_rename(runner: Any) -> None:
    original = atomic.publish

    def publish(*args: Any, **kwargs: Any) -> None:
        if runner.iter >= 2:
            _die()
        original(*args, **kwargs)

    atomic.publish = publish


def _kill_in_the_flush(runner: Any) -> None:
    original = atomic._flush

    def flush(path: Path) -> None:
        if runner.iter >= 2:
            _die()
        original(path)

    atomic._flush = flush


@pytest.mark.parametrize("kill", [_kill_in_the_middle_of_a_file, _kill_before_the_rename, _kill_in_the_flush])
@pytest.mark.parametrize("stage", [0, 2])
def test_sigkill_while_writing_loses_only_that_step(tmp_path: Path, stage: int, kill: Callable) -> None:
    """Red when the third checkpoint shows up damaged, or blocks the next save."""
    with pytest.raises(RuntimeError, match="died with exit code -9"):
        run_ranks(1, _train, tmp_path, stage, 4, None, kill)
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / "iter_2.pth")
    assert run_ranks(1, _train, tmp_path, stage, 4, "", None) == [2]
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / "iter_4.pth")
    assert not list(tmp_path.glob("*.incomplete"))


def _torch_file(path: Path) -> Path:
    torch.save({"a": torch.arange(1000)}, path)
    return path


def test_newest_by_number_not_by_name_or_time(tmp_path: Path) -> None:
    """Red for a sort by text (iter_90 after iter_100) or by modification time."""
    _torch_file(tmp_path / "iter_100.pth")
    _torch_file(tmp_path / "iter_90.pth")
    (tmp_path / "last_checkpoint").write_text("iter_9")
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / "iter_100.pth")


def test_truncated_file_falls_back_and_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _torch_file(tmp_path / "iter_1.pth")
    newest = _torch_file(tmp_path / "iter_2.pth")
    os.truncate(newest, newest.stat().st_size - 30)
    assert not zipfile.is_zipfile(newest)
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / "iter_1.pth")
    with pytest.raises(CheckpointError, match=r"iter_2\.pth is truncated"):
        require_checkpoint(newest)


@pytest.mark.parametrize("damage", ["truncate", "delete"])
def test_folder_with_a_damaged_part_is_refused(tmp_path: Path, damage: str) -> None:
    """Red when a folder counts as complete because it is there: deleting an old one may have been interrupted."""
    temporary = tmp_path / "iter_5.pth.incomplete"
    temporary.mkdir()
    part = _torch_file(temporary / "mp_rank_00_model_states.pt")
    _torch_file(temporary / "zero_pp_rank_0_mp_rank_00_optim_states.pt")
    assert find_latest_checkpoint(tmp_path) is None, "a temporary folder is not a checkpoint"
    final = tmp_path / "iter_5.pth"
    checkpointing.commit_folder(temporary, final)
    assert find_latest_checkpoint(tmp_path) == str(final)
    os.truncate(final / part.name, 10) if damage == "truncate" else (final / part.name).unlink()
    assert find_latest_checkpoint(tmp_path) is None


def test_folder_of_another_strategy_is_accepted(tmp_path: Path) -> None:
    """XTuner's own strategy writes no manifest."""
    folder = tmp_path / "iter_5.pth"
    folder.mkdir()
    assert find_latest_checkpoint(tmp_path) is None
    _torch_file(folder / "mp_rank_00_model_states.pt")
    assert find_latest_checkpoint(tmp_path) == str(folder)


def test_saving_again_replaces_a_folder(tmp_path: Path) -> None:
    for content in (1, 2):
        temporary = checkpointing.unfinished_folder(tmp_path / "iter_1.pth")
        temporary.mkdir()
        torch.save(content, temporary / "mp_rank_00_model_states.pt")
        checkpointing.commit_folder(temporary, tmp_path / "iter_1.pth")
    assert torch.load(tmp_path / "iter_1.pth" / "mp_rank_00_model_states.pt") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["iter_1.pth"]


def test_keeping_one_checkpoint_is_refused() -> None:
    """MMEngine deletes the old one first: a kill would then leave none."""
    with pytest.raises(ConfigError, match="keep at least 2"):
        StepCheckpointHook(interval=1, max_keep_ckpts=1)
