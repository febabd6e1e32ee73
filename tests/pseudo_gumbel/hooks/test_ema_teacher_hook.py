"""The teacher follows the student once per optimizer step, under any sharding, and survives a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pseudo_gumbel.hooks.ema_teacher_hook import EMATeacherHook
from pseudo_gumbel.schedules import ema_decay
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.optimizer_steps import just_stepped
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import CheckpointError, ConfigError
from sa2va_native.hooks.non_finite_loss_hook import NonFiniteLossHook
from sa2va_native.parallel.parameters import gather_slices, is_partitioned, local_tensor, without_padding
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.toy import toy_config

DECAY, WARMUP = 0.9, 2
HOOK = {"type": "EMATeacherHook", "decay": DECAY, "warmup": WARMUP, "interval": 1}
assert EMATeacherHook, NonFiniteLossHook  # registered by their imports


def _student(runner: Any) -> dict[str, torch.Tensor]:
    params = unwrap_model(runner.model).named_parameters()
    return {n: gather_slices(p, local_tensor(p)).detach().clone().float() for n, p in params if p.requires_grad}


def _train(work_dir: Path, stage: int, precision: str, ranks: int, steps: int, resume: str | None) -> dict[str, Any]:
    cfg = toy_config(work_dir, steps, batch_size=4 // ranks, accumulation=2, hooks=[dict(HOOK)], checkpoint_interval=2)
    cfg.launcher = "pytorch"
    launch.use_checkpoint(cfg, resume, None)
    if stage:
        use_deepspeed(cfg, f"zero{stage}", precision)
    runner = launch.build_runner(cfg)
    students: list[dict[str, torch.Tensor]] = []

    class Watch:
        priority = 100

        def before_train(self, runner: Any) -> None:
            students.append(_student(runner))
            for param in unwrap_model(runner.model).parameters():
                if is_partitioned(param):  # its padding is uninitialised memory: make sure that nothing reads it
                    padding = param.ds_tensor.numel() - without_padding(param, param.ds_tensor).numel()
                    teacher = unwrap_model(runner.model).teacher
                    for name, other in teacher.params.items():
                        if other is param and padding:
                            teacher.shadow[name][-padding:] = float("nan")

        def after_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
            if just_stepped(runner):
                students.append(_student(runner))

    runner._hooks.append(Watch())
    runner.train()
    scalars = {key: runner.message_hub.get_scalar(f"train/ema/{key}").current() for key in ("decay", "distance")}
    return {"students": students, "teacher": unwrap_model(runner.model).teacher.state_dict(), **scalars}


@pytest.mark.parametrize(("stage", "precision"), [(0, "fp32"), (1, "fp32"), (2, "bf16"), (3, "fp32"), (3, "bf16")])
def test_teacher_is_the_closed_form_of_the_students(tmp_path: Path, stage: int, precision: str) -> None:
    """Red for an update per micro-batch, one in bf16, a slice of another rank, or a decay off by one step."""
    for result in run_ranks(2, _train, tmp_path, stage, precision, 2, 4, None):
        expected = result["students"][0]
        for step, student in enumerate(result["students"][1:]):
            keep = ema_decay(step, DECAY, WARMUP)
            expected = {name: keep * expected[name] + (1 - keep) * student[name] for name in expected}
        assert len(result["students"]) == 5
        torch.testing.assert_close(result["teacher"], expected, rtol=1e-5, atol=1e-6)
        assert result["decay"] == pytest.approx(ema_decay(3, DECAY, WARMUP))
        last = result["students"][-1]
        apart = sum((last[name] - value).square().sum() for name, value in expected.items())
        size = sum(value.square().sum() for value in expected.values())
        assert result["distance"] == pytest.approx(float((apart / size).sqrt()), rel=1e-4)
        assert result["distance"] > 0


@pytest.mark.parametrize(("stage", "ranks"), [(0, 2), (2, 2), (3, 2)])
def test_teacher_survives_a_restart(tmp_path: Path, stage: int, ranks: int) -> None:
    """Red when the resumed teacher starts over as a copy of the student, or a rank receives another rank's slices."""
    whole = run_ranks(ranks, _train, tmp_path / "whole", stage, "fp32", ranks, 4, None)
    run_ranks(ranks, _train, tmp_path / "cut", stage, "fp32", ranks, 2, None)
    resumed = run_ranks(ranks, _train, tmp_path / "cut", stage, "fp32", ranks, 4, "")
    for expected, got in zip(whole, resumed, strict=True):
        for name, value in expected["teacher"].items():
            assert torch.equal(got["teacher"][name], value), name


def _skip_second_step(work_dir: Path, stage: int) -> list[dict[str, torch.Tensor]]:
    """The teacher after each optimizer step; micro-batch 2, of the second step, has a NaN loss on every rank."""
    hooks = [dict(HOOK), dict(type="NonFiniteLossHook")]
    cfg = toy_config(work_dir, 3, batch_size=2, accumulation=2, hooks=hooks, model={"bad_steps": (2,)})
    cfg.launcher = "pytorch"
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner, teachers = launch.build_runner(cfg), []

    class Watch:
        priority = 100

        def after_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
            if just_stepped(runner):
                teachers.append(unwrap_model(runner.model).teacher.state_dict())

    runner._hooks.append(Watch())
    runner.train()
    return teachers


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_skipped_step_leaves_the_teacher(tmp_path: Path, stage: int) -> None:
    """Red when the teacher is averaged once more with the weights that a skipped step left unchanged."""
    for first, skipped, third in run_ranks(2, _skip_second_step, tmp_path, stage):
        assert all(torch.equal(first[name], skipped[name]) for name in first)
        assert any(not torch.equal(skipped[name], third[name]) for name in first), "training did not go on"


def _resume_without_teacher(work_dir: Path) -> str:
    cfg = toy_config(work_dir, 2, checkpoint_interval=1)
    launch.build_runner(cfg).train()
    cfg = toy_config(work_dir, 4, hooks=[dict(HOOK)])
    launch.use_checkpoint(cfg, "", None)
    runner = launch.build_runner(cfg)
    try:
        runner.train()
    except CheckpointError as error:
        return str(error)
    return "no error"


def test_resuming_a_run_that_had_no_teacher_is_refused(tmp_path: Path) -> None:
    """Red when it silently begins with a copy of the trained student."""
    (message,) = run_ranks(1, _resume_without_teacher, tmp_path)
    assert "no EMA teacher" in message
    assert "--load-from" in message


@pytest.mark.parametrize("decay", [-0.1, 1.5])
def test_a_decay_that_is_no_share_is_refused(decay: float) -> None:
    """Red when a teacher runs away from the student, or never moves, without a word."""
    with pytest.raises(ConfigError, match=f"EMATeacherHook.decay={decay}"):
        EMATeacherHook(decay=decay)
