"""What the train loop settles before a run is built."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner

from sa2va_native.engine.run import launch
from sa2va_native.engine.run.optimizer_steps import just_stepped
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import DataError
from tests.ranks import run_ranks
from tests.toy import ToyData, toy_config


@HOOKS.register_module(force=True)
class LearningRates(Hook):
    """The learning rate of every optimizer step."""

    priority = "VERY_HIGH"  # before the schedule moves on
    seen: list[float] = []  # noqa: RUF012  a run builds its own hook

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        if just_stepped(runner):
            self.seen.append(runner.optim_wrapper.get_lr()["lr"][0])


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_cosine_without_an_end_ends_with_the_run(tmp_path: Path, accumulation: int) -> None:
    """Red when its end counts micro-batches, as MMEngine's default does, or stays at the config's ``max_steps``."""
    cfg = toy_config(tmp_path, steps=6, accumulation=accumulation, lr=0.1, hooks=[dict(type="LearningRates")])
    cfg.param_scheduler = [
        dict(type="LinearLR", start_factor=0.5, by_epoch=False, begin=0, end=2),
        dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=2),
    ]
    LearningRates.seen.clear()
    Runner.from_cfg(cfg).train()
    cosine = [0.05 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert LearningRates.seen == pytest.approx([0.05, 0.1, *cosine], abs=1e-9)


def test_a_run_shorter_than_its_warm_up_starts(tmp_path: Path) -> None:
    """Red when a schedule that would end before it begins is an error: every trial run of few steps."""
    cfg = toy_config(tmp_path, steps=1)
    cfg.param_scheduler = [dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=5)]
    Runner.from_cfg(cfg).train()


class LocalData(ToyData):
    """As on machines of which one misses a file."""

    def __len__(self) -> int:
        return super().__len__() - get_rank()


def start(work_dir: Path) -> str:
    cfg = toy_config(work_dir, steps=1)
    cfg.train_dataloader.dataset.type = f"{__name__}.LocalData"
    cfg.launcher = "pytorch"
    with pytest.raises(DataError) as refused:
        launch.build_runner(cfg).train()
    return str(refused.value)


def test_ranks_with_different_sets_are_refused(tmp_path: Path) -> None:
    """Red when they train on, each on other samples of what should be one batch."""
    for said in run_ranks(2, start, tmp_path):
        assert "ranks have sets of [64, 63] samples" in said


def evaluates(work_dir: Path, stage: int) -> bool:
    """Whether a run with a ``val_loop`` comes to it."""
    cfg = toy_config(work_dir, steps=1)
    cfg.launcher = "pytorch"
    use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner, evaluated = launch.build_runner(cfg), []

    class Evaluation(BaseLoop):
        def __init__(self) -> None: ...

        def run(self) -> None:
            evaluated.append(True)

    runner._val_loop = Evaluation()
    runner.train()
    return bool(evaluated)


def test_evaluation_is_refused_where_ranks_would_wait_for_each_other(tmp_path: Path) -> None:
    """Red when it starts under ZeRO-3 on ranks that have different numbers of batches, and never ends."""
    with pytest.raises(RuntimeError, match="ConfigError: val_cfg under ZeRO-3"):
        run_ranks(2, evaluates, tmp_path, 3)
    for stage, ranks in ((2, 2), (3, 1)):
        assert all(run_ranks(ranks, evaluates, tmp_path, stage))
