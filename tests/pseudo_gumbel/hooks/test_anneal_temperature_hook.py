"""The temperature of a run: each step's by the formula, the same after a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pseudo_gumbel.estimators import SoftGumbel, TeacherWords
from pseudo_gumbel.hooks.anneal_temperature_hook import AnnealTemperatureHook
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import ConfigError
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.toy import ToyModel, toy_config

HOOK = dict(type="AnnealTemperatureHook", begin=2.0, end=0.5)
assert AnnealTemperatureHook  # registered by its import


class Captioner(ToyModel):
    """The toy model with an estimator, which notes the temperature of every forward."""

    estimator: Any = SoftGumbel(temperature=9.0)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: list[float] = []

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.seen.append(self.estimator.temperature)
        return super().forward(*args, **kwargs)


def _train(work_dir: Path, stage: int, until: int, resume: str | None) -> tuple[list[float], float]:
    """The temperature of each micro-batch of a run of 5 steps that ends after ``until``, and the last logged one."""
    cfg = toy_config(work_dir, 5, accumulation=2, hooks=[dict(HOOK)], checkpoint_interval=1)
    cfg.model.type = f"{__name__}.Captioner"
    cfg.launcher = "pytorch"
    launch.use_checkpoint(cfg, resume, None)
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)

    class Stop:
        priority = 100

        def after_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
            runner.train_loop.stop_training = batch_idx + 1 >= 2 * until

    runner._hooks.append(Stop())
    runner.train()
    return unwrap_model(runner.model).seen, runner.message_hub.get_scalar("train/temperature").current()


@pytest.mark.parametrize("stage", [0, 2])
def test_each_step_has_its_temperature_after_a_resume_too(tmp_path: Path, stage: int) -> None:
    """Red when it moves with micro-batches, starts anew on resume, or does not end at ``end``."""
    expected = [2.0 * 0.25 ** (step / 4) for step in range(5)]
    ((seen, logged),) = run_ranks(1, _train, tmp_path / "whole", stage, 5, None)
    assert seen == pytest.approx([value for value in expected for _ in range(2)])
    assert logged == pytest.approx(0.5)
    ((first, _),) = run_ranks(1, _train, tmp_path / "cut", stage, 2, None)
    ((rest, _),) = run_ranks(1, _train, tmp_path / "cut", stage, 5, "")
    assert len(first) == 4
    assert first + rest == seen


def _train_without_temperature(work_dir: Path) -> str:
    Captioner.estimator = TeacherWords()
    try:
        _train(work_dir, 0, 5, None)
    except ConfigError as error:
        return str(error)
    return "no error"


def test_an_estimator_without_a_temperature_is_refused(tmp_path: Path) -> None:
    """Red when a run anneals what nothing reads."""
    (message,) = run_ranks(1, _train_without_temperature, tmp_path)
    assert "TeacherWords has no temperature" in message


@pytest.mark.parametrize("options", [dict(begin=0), dict(end=-1.0), dict(curve="cosine")])
def test_an_option_outside_its_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"AnnealTemperatureHook.{next(iter(options))}="):
        AnnealTemperatureHook(**options)
