"""A run stopped and resumed equals the run that was not stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sa2va_native.engine.checkpoints.checkpointing import find_latest_checkpoint
from sa2va_native.engine.checkpoints.weights import load_weights
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.quiet_constructor import QuietOptimWrapperConstructor
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import CheckpointError
from tests.ranks import run_ranks
from tests.toy import ToyModel, toy_config, whole_weights


def make_runner(work_dir: Path, stage: int, steps: int, resume: str | None, fused: bool | None = None) -> Any:
    cfg = toy_config(work_dir, steps, batch_size=2, accumulation=2, model={"dropout": 0.5}, checkpoint_interval=2)
    cfg.launcher = "pytorch"
    cfg.optim_wrapper.constructor = QuietOptimWrapperConstructor.__name__
    cfg.optim_wrapper.optimizer.fused = fused
    cfg.randomness.diff_rank_seed = True  # each rank drops out other things, and must get its own state back
    launch.use_checkpoint(cfg, resume, None)
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    return launch.build_runner(cfg)


def train(*args: Any) -> tuple[dict[str, torch.Tensor], list[int]]:
    runner = make_runner(*args)
    runner.train()
    return whole_weights(runner), runner.train_dataloader.dataset.read


@pytest.mark.parametrize(("stage", "ranks"), [(0, 1), (0, 2), (1, 2), (2, 2), (3, 2)])
def test_resume_is_bitwise_equal(tmp_path: Path, stage: int, ranks: int) -> None:
    """Red when optimizer, schedule, sampler position or any random state (dropout!) is not restored exactly."""
    whole = run_ranks(ranks, train, tmp_path / "whole", stage, 4, None)
    run_ranks(ranks, train, tmp_path / "cut", stage, 2, None)
    resumed = run_ranks(ranks, train, tmp_path / "cut", stage, 4, "")
    for (expected, _), (got, read) in zip(whole, resumed, strict=True):
        assert all(torch.equal(expected[name], got[name]) for name in expected)
        assert len(read) <= 4 * 2, "data of finished steps was read again"


@pytest.mark.parametrize(("stage", "ranks"), [(0, 1), (2, 1), pytest.param(3, 2, marks=pytest.mark.slow)])
def test_resume_with_a_fused_optimizer_is_bitwise_equal(tmp_path: Path, stage: int, ranks: int) -> None:
    """Red when DeepSpeed refuses a fused optimizer, or its count of steps, which is a tensor, is not restored."""
    whole = run_ranks(ranks, train, tmp_path / "whole", stage, 4, None, True)
    run_ranks(ranks, train, tmp_path / "cut", stage, 2, None, True)
    resumed = run_ranks(ranks, train, tmp_path / "cut", stage, 4, "", True)
    for (expected, _), (got, _) in zip(whole, resumed, strict=True):
        assert all(torch.equal(expected[name], got[name]) for name in expected)


def _train_in_form(*args: Any) -> tuple[dict[str, torch.Tensor], set[bool]]:
    runner = make_runner(*args)
    runner.train()
    groups = runner.optim_wrapper.optimizer.param_groups
    return whole_weights(runner), {group["fused"] for group in groups}


@pytest.mark.parametrize(("stage", "fused"), [(0, False), (0, True), (2, True)])
def test_the_config_says_whether_a_resumed_optimizer_is_fused(tmp_path: Path, stage: int, fused: bool) -> None:
    """Red when the checkpoint of an older run turns it off again, as torch would have it, or moments are lost."""
    whole, _ = run_ranks(1, _train_in_form, tmp_path / "whole", stage, 4, None, fused)[0]
    run_ranks(1, train, tmp_path / "cut", stage, 2, None, not fused)
    resumed, forms = run_ranks(1, _train_in_form, tmp_path / "cut", stage, 4, "", fused)[0]
    assert forms == {fused}
    torch.testing.assert_close(resumed, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("wrote", "reads"), [(0, 2), (2, 0)])
def test_resume_with_and_without_deepspeed_is_told_apart(tmp_path: Path, wrote: int, reads: int) -> None:
    """Red when a file meets DeepSpeed, or a folder the plain runner, with a traceback about something else."""
    run_ranks(1, train, tmp_path, wrote, 2, None)
    with pytest.raises(RuntimeError, match=r"was written with(out)? DeepSpeed.*--load-from"):
        run_ranks(1, train, tmp_path, reads, 4, "")


def _load_from(work_dir: Path, stage: int, path: str) -> dict[str, torch.Tensor]:
    cfg = toy_config(work_dir, 1, lr=0.0)
    cfg.launcher = "pytorch"
    launch.use_checkpoint(cfg, None, path)
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    runner.train()
    return whole_weights(runner)


@pytest.mark.parametrize(("wrote", "reads"), [(0, 2), (2, 0), (3, 3), (3, 1)])
def test_weights_travel_between_stages(tmp_path: Path, wrote: int, reads: int) -> None:
    """Red when --load-from takes nothing, or 16-bit copies, from a checkpoint of another ZeRO stage."""
    trained = run_ranks(2, train, tmp_path / "a", wrote, 2, None)[0][0]
    path = find_latest_checkpoint(tmp_path / "a")
    loaded = run_ranks(1, _load_from, tmp_path / "b", reads, path)[0]
    torch.testing.assert_close(loaded, trained, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("adapter.bias"), "lacks 1 tensors, e.g. adapter.bias"),
        (lambda state: state.update(more=torch.zeros(1)), "has unknown 1 tensors, e.g. more"),
        (lambda state: state.update({"adapter.bias": torch.zeros(3)}), "does not fit the model"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    """Red when ``--load-from`` is lenient, and a part of the model silently begins at random."""
    state = ToyModel().state_dict()
    change(state)
    torch.save({"state_dict": state}, tmp_path / "iter_1.pth")
    with pytest.raises(CheckpointError, match=message):
        load_weights(ToyModel(), tmp_path / "iter_1.pth")


def test_resume_and_load_from_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        launch.use_checkpoint(toy_config(tmp_path), "", "x.pth")


def test_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pth does not exist"):
        launch.use_checkpoint(toy_config(tmp_path), "nowhere.pth", None)
