"""Lets the words become harder, or softer, in the course of a run."""

from __future__ import annotations

from typing import Any, Literal

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from pseudo_gumbel.schedules import CURVES, annealed
from sa2va_native.engine.run.optimizer_steps import accumulation_steps, just_stepped, optimizer_steps
from sa2va_native.errors import ConfigError
from sa2va_native.parallel.unwrap import unwrap_model


@HOOKS.register_module()
class AnnealTemperatureHook(Hook):
    """Sets the estimator's ``temperature`` before each optimizer step: ``begin`` at the first, ``end`` at the last.

    The value depends on the number of the step and the run's length alone, so a resumed run has the same one. Logs
    ``temperature``. The config's own ``model.estimator.temperature`` has no effect beside it.

    Args:
        begin: temperature of the first step, > 0.
        end: temperature of the last step, > 0.
        curve: ``"geometric"``, equal ratios from step to step, or ``"linear"``, equal differences.

    Raises:
        ConfigError: an option outside its range; when a run begins, an estimator without a temperature.
    """

    priority = "NORMAL"

    def __init__(
        self, begin: float = 2.0, end: float = 0.5, curve: Literal["geometric", "linear"] = "geometric"
    ) -> None:
        for name, value in (("begin", begin), ("end", end)):
            if value <= 0:
                raise ConfigError(f"AnnealTemperatureHook.{name}={value}: a temperature must be positive")
        if curve not in CURVES:
            raise ConfigError(f"AnnealTemperatureHook.curve={curve!r}: use one of {', '.join(CURVES)}")
        self.begin, self.end, self.curve = begin, end, curve
        self.estimator: Any = None

    def before_train(self, runner: Any) -> None:
        self.estimator = getattr(unwrap_model(runner.model), "estimator", None)
        if not hasattr(self.estimator, "temperature"):
            raise ConfigError(
                f"AnnealTemperatureHook: {type(self.estimator).__name__} has no temperature. Use it with a Gumbel "
                "estimator, such as SoftGumbel, or leave it out."
            )

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        steps = runner.max_iters // accumulation_steps(runner)
        temperature = annealed(optimizer_steps(runner), steps, self.begin, self.end, self.curve)
        self.estimator.temperature = temperature

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if just_stepped(runner):
            runner.message_hub.update_scalar("train/temperature", self.estimator.temperature)
