"""The refreshed reader's copy: when it is replaced, by whom, and that a restart does not renew it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from pseudo_gumbel.hooks.ema_teacher_hook import EMATeacherHook
from pseudo_gumbel.hooks.frozen_reader_hook import FrozenReaderHook
from pseudo_gumbel.hooks.refreshed_reader_hook import RefreshedReaderHook
from pseudo_gumbel.readers import FrozenReader, RefreshedReader, TeacherReader
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.optimizer_steps import just_stepped
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import ConfigError
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.toy import ToyModel, toy_config, whole_weights

assert EMATeacherHook  # registered by its import


class Read(ToyModel):
    """A model with a reader."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.reader, self.teacher = RefreshedReader(), None


@HOOKS.register_module()
class Weights(Hook):
    """Keeps student, teacher and copy after each optimizer step."""

    priority = "LOW"

    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if just_stepped(runner):
            model: Any = unwrap_model(runner.model)
            states = {"student": whole_weights(runner), "copy": model.reader.weights.state_dict()}
            if model.teacher:
                states["teacher"] = model.teacher.state_dict()
            self.seen.append({key: state["adapter.weight"].clone() for key, state in states.items()})


def _train(
    work_dir: Path, stage: int, ranks: int, steps: int, resume: str | None, source: str = "student"
) -> list[dict[str, torch.Tensor]]:
    hooks = [dict(type="RefreshedReaderHook", interval=3, source=source), dict(type="Weights")]
    if source == "teacher":
        hooks = [dict(type="EMATeacherHook", decay=0.5), *hooks]
    cfg = toy_config(work_dir, steps, 4 // ranks, accumulation=2, hooks=hooks, checkpoint_interval=1)
    cfg.model.type = f"{__name__}.Read"
    cfg.launcher = "pytorch"
    launch.use_checkpoint(cfg, resume, None)
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    runner.train()
    return next(hook for hook in runner.hooks if isinstance(hook, Weights)).seen


def _check(seen: list[dict[str, torch.Tensor]], source: str = "student") -> None:
    """The copy of eight steps: of the start, of step 3, of step 6."""
    start = dict(Read().named_parameters())["adapter.weight"].detach()
    copies = [start, start, *[seen[2][source]] * 3, *[seen[5][source]] * 3]
    for number, (step, expected) in enumerate(zip(seen, copies, strict=True), 1):
        assert torch.equal(step["copy"], expected), f"step {number}"
    assert not torch.equal(seen[2]["student"], seen[5]["student"])


@pytest.mark.parametrize("source", ["student", pytest.param("teacher", marks=pytest.mark.slow)])
def test_the_copy_is_renewed_every_interval_also_across_a_restart(tmp_path: Path, source: str) -> None:
    """Red when micro-batches are counted, the copy follows the student, lags by a step, or is renewed by a restart.

    Restarted right after a refresh (3) and between two (5); both go on bit for bit as the uninterrupted run.
    """
    (whole,) = run_ranks(1, _train, tmp_path / "whole", 0, 1, 8, None, source)
    _check(whole, source)
    cut = []
    for steps, resume in ((3, None), (5, ""), (8, "")):
        cut += run_ranks(1, _train, tmp_path / "cut", 0, 1, steps, resume, source)[0]
    assert len(cut) == 8
    for number, (one, other) in enumerate(zip(whole, cut, strict=True), 1):
        assert all(torch.equal(one[name], other[name]) for name in one), f"step {number}"


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_the_copy_under_zero(tmp_path: Path, stage: int) -> None:
    """Red when a rank's slice is not renewed, or a restart puts together the slices of different steps."""
    cut: list[list[dict[str, torch.Tensor]]] = [[], []]
    for steps, resume in ((5, None), (8, "")):
        for rank, seen in enumerate(run_ranks(2, _train, tmp_path, stage, 2, steps, resume)):
            cut[rank] += seen
    for seen in cut:
        _check(seen)


def test_a_copy_that_nobody_reads_with_is_refused() -> None:
    """Red when either hook fills the memory with weights for another reader."""
    model = Read()
    with pytest.raises(ConfigError, match=r"model\.reader=RefreshedReader"):
        FrozenReaderHook().make(model)
    for reader in (TeacherReader(), FrozenReader()):
        model.reader = reader  # type: ignore[assignment]
        with pytest.raises(ConfigError, match=rf"model\.reader={type(reader).__name__}"):
            RefreshedReaderHook().make(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [(dict(interval=0), "interval=0"), (dict(source="ema"), "source='ema'")],
)
def test_bad_options_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RefreshedReaderHook(**options)


def test_a_teacher_is_needed_to_copy_it() -> None:
    with pytest.raises(ConfigError, match="EMATeacherHook"):
        RefreshedReaderHook(source="teacher").make(Read())
