"""A non-finite loss never reaches the weights, and a run that cannot recover ends on all ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import TrainingError
from sa2va_native.hooks.non_finite_loss_hook import NonFiniteLossHook
from sa2va_native.parallel.parameters import gather_slices, local_tensor
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.toy import toy_config

HOOK = {"type": "NonFiniteLossHook", "patience": 2}
assert NonFiniteLossHook  # registered by its import


def _train(
    work_dir: Path, stage: int, bad_micro_steps: tuple[int, ...], bad_rank: int, steps: int, bad_gradients: bool = True
) -> Any:
    cfg = toy_config(work_dir, steps, batch_size=2, accumulation=2, hooks=[dict(HOOK)], checkpoint_interval=1)
    cfg.launcher = "pytorch"
    cfg.param_scheduler = None
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    history: list[dict[str, torch.Tensor]] = []

    class Watch:
        priority = 100

        def after_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
            params = unwrap_model(runner.model).named_parameters()
            history.append({name: gather_slices(p, local_tensor(p)).detach().clone() for name, p in params})

    runner._hooks.append(Watch())

    def spoil(*_: Any, **__: Any) -> None:
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        model: Any = unwrap_model(runner.model)
        model.bad_steps, model.bad_gradients = bad_micro_steps if rank == bad_rank else (), bad_gradients

    class Spoil:
        priority = 0
        before_train_iter = staticmethod(spoil)

    runner._hooks.append(Spoil())
    error = None
    try:
        runner.train()
    except TrainingError as raised:
        error = str(raised)
    return history, error


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_one_bad_rank_skips_the_step_on_all(tmp_path: Path, stage: int, gradients: bool) -> None:
    """Red when NaN reaches the weights, when only the bad rank skips, or when the good ranks hang.

    Micro-steps 2 and 3 are optimizer step 2; only rank 1 sees the bad loss, in the first of them. Without bad
    gradients no rank but that one can know of it by itself.
    """
    for history, error in run_ranks(2, _train, tmp_path, stage, (2,), 1, 4, gradients):
        assert error is None
        assert all(torch.isfinite(value).all() for step in history for value in step.values())
        after_1, after_2, after_3 = history[1], history[3], history[5]
        assert all(torch.equal(after_1[name], after_2[name]) for name in after_1), "the bad update was applied"
        assert not torch.equal(after_2["adapter.weight"], after_3["adapter.weight"]), "training did not go on"


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_patience_ends_the_run_on_all_ranks(tmp_path: Path, stage: int) -> None:
    """Red when a rank goes on alone (deadlock), or when the message names no step, loss or checkpoint."""
    results = run_ranks(2, _train, tmp_path, stage, (4, 6), 1, 6)
    for rank, (history, error) in enumerate(results):
        assert len(history) == 7, "stopped at the boundary of optimizer step 4"
        assert "optimizer step 4" in error
        assert "2 steps in a row" in error
        # step 2 wrote the weights that steps 3 and 4 failed with; nothing was written since
        assert f"last good checkpoint is {tmp_path / 'iter_2.pth'}" in error
        assert sorted(path.name for path in tmp_path.glob("iter_*")) == ["iter_2.pth", "iter_4.pth"]
        assert ("nan" in error) == (rank == 1)


def test_patience_counts_consecutive_steps_only(tmp_path: Path) -> None:
    """Red when scattered bad steps add up: micro-steps 0, 4 and 8 are optimizer steps 1, 3 and 5."""
    ((history, error),) = run_ranks(1, _train, tmp_path, 0, (0, 4, 8), 0, 6)
    assert error is None
    assert len(history) == 12
