"""Counting in optimizer steps, and acting between backward and the step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import BaseLoop
from torch import nn

from sa2va_native.engine.run import launch
from sa2va_native.engine.run.optimizer_steps import (
    accumulation_steps,
    just_stepped,
    optimizer_steps,
    upcoming_step,
)
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.toy import ToyModel, toy_config


def _count(work_dir: Path, stage: int) -> dict[str, Any]:
    cfg = toy_config(work_dir, steps=3, batch_size=2, accumulation=4, checkpoint_interval=2)
    cfg.launcher = "pytorch"
    cfg.train_cfg.update(val_begin=2, val_interval=2)
    cfg.default_hooks.logger.interval = 2
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    seen: dict[str, Any] = {"upcoming": [], "after": [], "lr": [], "evaluated": [], "logged": []}

    class Evaluation(BaseLoop):
        def __init__(self) -> None: ...

        def run(self) -> None:
            seen["evaluated"].append(runner.iter)

    runner._val_loop = Evaluation()
    get_log = runner.log_processor.get_log_after_iter
    runner.log_processor.get_log_after_iter = lambda *args: seen["logged"].append(runner.iter + 1) or get_log(*args)

    class Watch:
        priority = 100

        def before_train(self, runner: Any) -> None:
            seen["accumulation"] = accumulation_steps(runner)

        def before_optimizer_step(self, runner: Any) -> None:
            seen["upcoming"].append(upcoming_step(runner))

        def after_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
            seen["after"].append((optimizer_steps(runner), just_stepped(runner)))
            seen["lr"].append(runner.optim_wrapper.get_lr()["lr"][0])

    runner._hooks.append(Watch())
    runner.train()
    seen["model"] = type(unwrap_model(runner.model)).__name__
    seen["saved"] = sorted(path.name for path in work_dir.glob("iter_*"))
    return seen


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_everything_happens_once_per_optimizer_step(tmp_path: Path, stage: int) -> None:
    """Red when hooks, schedule or checkpoints count micro-batches: 3 steps of 4 micro-batches."""
    (seen,) = run_ranks(1, _count, tmp_path, stage)
    assert seen["accumulation"] == 4
    assert seen["upcoming"] == [1, 2, 3]
    assert seen["after"] == [(n // 4, n % 4 == 0) for n in range(1, 13)]
    assert len(set(seen["lr"][:3])) == 1
    assert len(set(seen["lr"])) == 4, "one learning rate for each step"
    assert seen["saved"] == ["iter_8.pth"], "a checkpoint at step 2 of 3, between accumulation windows"
    assert seen["evaluated"] == [8, 12], "at step 2 and at the end"
    assert seen["logged"] == [8]
    assert seen["model"] == "ToyModel"


def _refuse(work_dir: Path, stage: int) -> list[Any]:
    cfg = toy_config(work_dir, steps=3, batch_size=2, accumulation=2)
    cfg.launcher = "pytorch"
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    called: list[Any] = []

    class First:
        priority = 90

        def before_optimizer_step(self, runner: Any) -> bool:
            return upcoming_step(runner) != 2

    class Second:
        priority = 100

        def before_optimizer_step(self, runner: Any) -> None:
            called.append(upcoming_step(runner))

    runner._hooks.extend([First(), Second()])
    runner.train()
    return called


@pytest.mark.parametrize("stage", [0, 2])
def test_a_hook_that_refuses_a_step_is_the_last_one_asked(tmp_path: Path, stage: int) -> None:
    """Red when a measurement of dropped gradients is logged, or a refused step is not counted."""
    assert run_ranks(1, _refuse, tmp_path, stage) == [[1, 3]]


def test_unwrap_leaves_a_submodule_called_module_alone() -> None:
    """Red for `getattr(model, "module", model)`."""
    model = ToyModel()
    model.module = nn.Linear(1, 1)
    assert unwrap_model(model) is model
    assert unwrap_model(nn.DataParallel(model)) is model
    with pytest.raises(TypeError, match="no torch module inside Tensor"):
        unwrap_model(torch.zeros(1))
