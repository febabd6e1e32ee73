"""Watches that gradient reaches every trained part of the model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import nn

from sa2va_native.engine.run.optimizer_steps import accumulation_steps, deepspeed_engine, upcoming_step
from sa2va_native.errors import ConfigError, TrainingError
from sa2va_native.parallel.parameters import full_gradient
from sa2va_native.parallel.unwrap import unwrap_model


@HOOKS.register_module()
class GradientFlowHook(Hook):
    """Logs the L2 norm of each parameter group's gradient, before clipping, and raises an alarm when one is dead.

    Logs ``grad_norm/<group>`` for every group of ``model.gradient_groups()`` and, when the accumulation window held a
    cycle batch, ``grad_norm/text_embeds``: the gradient of that micro-batch's loss at the differentiable words. The
    values do not depend on the number of ranks, the accumulation (text_embeds) or the ZeRO stage.

    A zero is no alarm in groups that no loss of the window's batches can reach (``model.groups_beyond(kind)``): the
    mask decoder, for one, while a window holds cycle batches alone and the estimator reads without gradient.

    Args:
        interval: optimizer steps between two measurements. Under ZeRO each gathers all gradients once.
        on_dead: what to do if a norm is zero or not finite: ``"warn"`` in the log, or ``"raise"``.

    Raises:
        TrainingError: while training, with ``on_dead="raise"``; on all ranks.
    """

    priority = "NORMAL"

    def __init__(self, interval: int = 10, on_dead: Literal["warn", "raise"] = "warn") -> None:
        if on_dead not in ("warn", "raise"):
            raise ConfigError(f"GradientFlowHook.on_dead={on_dead!r}: use 'warn' or 'raise'.")
        self.interval, self.on_dead = interval, on_dead
        self.kinds: set[str] = set()  #: of the batches of this accumulation window, the same on all ranks

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.kinds.add(getattr(data_batch, "kind", ""))

    def before_optimizer_step(self, runner: Any) -> None:
        """Called on all ranks before every optimizer step; they run the same collectives."""
        model: Any = unwrap_model(runner.model)
        local, model.text_embeds_grad_norm = getattr(model, "text_embeds_grad_norm", None), None
        kinds, self.kinds = self.kinds, set()
        step = upcoming_step(runner)
        if step % self.interval:
            return
        scale = _loss_scale(runner)
        norms = {name: gradient_norm(params) / scale for name, params in model.gradient_groups().items()}
        text_embeds = _joint_norm(local, runner)
        if text_embeds is not None:
            norms = {"text_embeds": text_embeds * accumulation_steps(runner) / scale, **norms}
        for name, norm in norms.items():
            runner.message_hub.update_scalar(f"train/grad_norm/{name}", norm)
        runner.logger.info(f"step {step} grad_norm  " + "  ".join(f"{name} {norm:.3g}" for name, norm in norms.items()))
        beyond = groups_beyond(model, kinds)
        dead = {n: norm for n, norm in norms.items() if (norm == 0 and n not in beyond) or not math.isfinite(norm)}
        if dead:
            self._alarm(runner, step, dead)

    def _alarm(self, runner: Any, step: int, dead: dict[str, float]) -> None:
        text = (
            f"optimizer step {step}: no usable gradient in "
            + ", ".join(f"{name} (norm {norm})" for name, norm in dead.items())
        ) + ". A zero means that a link of the chain is cut."
        if self.on_dead == "raise":
            raise TrainingError(text)
        runner.logger.warning(text)


@torch.no_grad()
def gradient_norm(params: Iterable[nn.Parameter]) -> float:
    """L2 norm of the complete gradient of some parameters, before the optimizer step. A collective under ZeRO."""
    squares = [gradient.float().norm().square() for param in params if (gradient := full_gradient(param)) is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def groups_beyond(model: Any, kinds: Iterable[str]) -> set[str]:
    """Groups that batches of none of these kinds train by design; none if the model does not tell."""
    if not hasattr(model, "groups_beyond"):
        return set()
    beyond = [model.groups_beyond(kind) for kind in kinds]
    return set.intersection(*beyond) if beyond else set()


def _joint_norm(local: torch.Tensor | float | None, runner: Any) -> float | None:
    """The norm over the joint batch of all ranks: each rank's loss is a mean over its own samples."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return None if local is None else float(local)
    engine = deepspeed_engine(runner)
    device = engine.device if engine is not None else next(unwrap_model(runner.model).parameters()).device
    pair = torch.zeros(2, device=device)
    if local is not None:
        pair[0], pair[1] = float(local) ** 2, 1.0
    dist.all_reduce(pair)
    return float(pair[0].sqrt()) / dist.get_world_size() if pair[1] > 0 else None


def _loss_scale(runner: Any) -> float:
    """The factor that an fp16 loss scaler put on the gradients; 1 without a scaler."""
    scaler = getattr(runner.optim_wrapper, "loss_scaler", None)
    return float(scaler.get_scale()) if scaler is not None else 1.0
