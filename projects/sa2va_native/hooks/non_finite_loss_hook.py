"""Keeps a non-finite loss or gradient out of the weights, and ends a run that cannot recover."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from sa2va_native.engine.checkpoints.checkpointing import find_latest_checkpoint
from sa2va_native.engine.run.optimizer_steps import accumulation_steps, deepspeed_engine, upcoming_step
from sa2va_native.errors import TrainingError


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Skips the update of an optimizer step whose loss or gradient is not finite on any rank.

    Weights and optimizer stay as they were. After ``patience`` skipped steps in a row the run ends on all ranks and
    names the last checkpoint whose weights gave a finite loss; :class:`StepCheckpointHook` writes none meanwhile, so
    that it is still there. Costs one all-reduce of one number per optimizer step.

    Logs ``skipped_steps``, the number of skipped steps of this run, once it is not 0.

    Args:
        patience: consecutive skipped optimizer steps that end the run, at least 1.

    Raises:
        TrainingError: while training, after ``patience`` skipped steps; names step, loss and last good checkpoint.
    """

    priority = "VERY_HIGH"  # called before any other hook acts on the gradients

    def __init__(self, patience: int = 3) -> None:
        self.patience = patience
        self.consecutive = self.total = 0

    @property
    def weights_in_doubt(self) -> bool:
        """Whether the last optimizer step was skipped: perhaps the weights are to blame."""
        return self.consecutive > 0

    def before_optimizer_step(self, runner: Any) -> bool:
        """Whether the update may happen; the same answer on all ranks."""
        losses = torch.stack(runner.train_loop.optimizer_steps.losses)
        bad = ~torch.isfinite(losses).all()
        bad = (bad | _non_finite_gradients(runner)).float()
        if dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(bad, op=dist.ReduceOp.MAX)
        if not bad:
            self.consecutive = 0
            return True
        self.consecutive += 1
        self.total += 1
        runner.message_hub.update_scalar("train/skipped_steps", self.total)
        self._report(runner, [float(loss) for loss in losses])
        return False

    def _report(self, runner: Any, losses: list[float]) -> None:
        step = upcoming_step(runner)
        shown = ", ".join(f"{loss:.4g}" for loss in losses)
        what = f"optimizer step {step}: loss or gradient is not finite (losses of this rank: {shown})"
        if self.consecutive < self.patience:
            runner.logger.warning(f"{what}. The update is skipped ({self.consecutive} of {self.patience} in a row).")
            return
        # The first skipped step already used, without success, the weights that the step before it wrote.
        proved = (step - self.patience - 1) * accumulation_steps(runner)
        if good := find_latest_checkpoint(runner.work_dir, up_to=proved):
            kept = f"The last good checkpoint is {good}"
        elif newest := find_latest_checkpoint(runner.work_dir):
            kept = f"No checkpoint is known to be good: {newest} has the weights of these steps"
        else:
            kept = "No checkpoint was written yet"
        raise TrainingError(
            f"{what}, {self.patience} steps in a row. {kept}. Lower the learning rate, look at the samples of these "
            "steps, or raise `patience` of NonFiniteLossHook."
        )


def _non_finite_gradients(runner: Any) -> torch.Tensor:
    engine = deepspeed_engine(runner)
    if engine is not None:
        optimizer = engine.optimizer
        optimizer.check_overflow()  # agreed between the ranks
        bad, optimizer.overflow = bool(optimizer.overflow), False
        return torch.tensor(bad, device=engine.device)
    groups = runner.optim_wrapper.optimizer.param_groups
    gradients = [param.grad for group in groups for param in group["params"] if param.grad is not None]
    if not gradients:
        return torch.tensor(False)
    return ~torch.isfinite(torch.stack([norm.float() for norm in torch._foreach_norm(gradients)])).all()
