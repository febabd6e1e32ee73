"""What is not finite is not saved, and a save that fails leaves what there was."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from sa2va_native.engine.checkpoints.checkpointing import find_latest_checkpoint
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.parallel.parameters import is_finite
from tests.ranks import run_ranks
from tests.toy import toy_config


class Spoil(Hook):
    """After the second step one rank's part of what is trained holds an infinity: a weight, or a moment."""

    priority = "VERY_HIGH"

    def __init__(self, what: str, rank: int) -> None:
        self.what, self.rank = what, rank

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        from sa2va_native.engine.checkpoints.live_state import _trained

        if runner.iter == 1 and runner.rank == self.rank:
            first = next(tensor for name, tensor in _trained(runner) if self.what in name and tensor.numel())
            first.data.view(-1)[-1] = float("inf")


def _train(work_dir: Path, stage: int, spoil: tuple[str, int] | None, largest: int | None = None) -> None:
    cfg = toy_config(work_dir, 2, checkpoint_interval=1)
    cfg.launcher = "pytorch"
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    if spoil:
        runner.register_hook(Spoil(*spoil))
    if largest:
        runner.register_hook(FullDisk(largest))
    runner.train()


@pytest.mark.parametrize(
    ("stage", "ranks", "what"),
    [
        (0, 1, "head.1.bias"),
        (0, 1, "exp_avg_sq"),
        *(pytest.param(stage, 2, what, marks=pytest.mark.slow) for stage in (2, 3) for what in ("fp32", "exp_avg_sq")),
    ],
)
def test_a_checkpoint_that_is_not_finite_is_never_written(tmp_path: Path, stage: int, ranks: int, what: str) -> None:
    """The last step of a run has no loss after it. Red when its weights are saved unseen, or ranks do not agree."""
    with pytest.raises(RuntimeError, match=f"after optimizer step 2 .*{what}.* is not finite: no checkpoint is"):
        run_ranks(ranks, _train, tmp_path, stage, (what, ranks - 1))
    assert [path.name for path in tmp_path.glob("*iter_*")] == ["iter_1.pth"]


class FullDisk(Hook):
    """After the first checkpoint no file may grow beyond some bytes."""

    priority = "LOWEST"

    def __init__(self, largest: int) -> None:
        self.largest = largest

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.largest, self.largest))


@pytest.mark.parametrize("stage", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_save_that_fails_leaves_what_there_was(tmp_path: Path, stage: int) -> None:
    """Red when a half-written checkpoint stays on a full disk, the one before is harmed, or a traceback says it."""
    with pytest.raises(RuntimeError, match=r"TrainingError: checkpoint .*iter_2.pth could not be written \("):
        run_ranks(1, _train, tmp_path, stage, None, 5000)
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / "iter_1.pth")
    assert [path.name for path in tmp_path.iterdir() if "iter_" in path.name] == ["iter_1.pth"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.float8_e5m2])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_value_among_many_is_seen(dtype: torch.dtype, value: float) -> None:
    """As torch.isfinite says. Red when a minimum hides a NaN, or a type has no such operation."""
    tensor = torch.ones(1000).to(dtype)
    assert is_finite(tensor)
    spoilt = torch.ones(1000)
    spoilt[777] = value
    assert not is_finite(spoilt.to(dtype))
    assert torch.isfinite(spoilt.to(dtype).float()).all() == is_finite(spoilt.to(dtype))


def test_what_has_no_such_values_is_finite() -> None:
    for one in (torch.arange(3), torch.ones(0), torch.ones(2, device="meta"), 1.0, None, torch.tensor(True)):
        assert is_finite(one)
