"""The logged norms are those of the complete gradient, whatever the sharding, and a dead part raises the alarm."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pseudo_gumbel.hooks.frozen_reader_hook import FrozenCopy
from pseudo_gumbel.hooks.gradient_flow_hook import GradientFlowHook, groups_beyond
from pseudo_gumbel.readers import FrozenReader, StudentReader, TeacherReader
from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import ConfigError, TrainingError
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.tiny import tiny_batch, tiny_pseudo_gumbel
from tests.toy import ToyData, ToyModel, toy_config

assert GradientFlowHook  # registered by its import


def _train(
    work_dir: Path,
    stage: int,
    ranks: int,
    accumulation: int,
    dead: str | None,
    options: dict,
    beyond: set[str] | None = None,
) -> Any:
    cfg = toy_config(
        work_dir, 2, 4 // ranks, accumulation, hooks=[{"type": "GradientFlowHook", "interval": 1, **options}]
    )
    cfg.launcher = "pytorch"
    cfg.optim_wrapper.clip_grad = dict(max_norm=1e-3)  # norms are those before clipping
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    norms: list[dict[str, float]] = []

    class Watch:
        priority = 100

        def before_train(self, runner: Any) -> None:
            model = unwrap_model(runner.model)
            if beyond is not None:
                model.groups_beyond = lambda kind: beyond
            if dead == "adapter":
                model.features = lambda x: model.frozen(x) + model.adapter(x).detach()

        def after_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
            scalars = runner.message_hub.log_scalars
            norms.append({k.split("/")[-1]: v.current() for k, v in scalars.items() if "/grad_norm/" in k})

    runner._hooks.append(Watch())
    try:
        runner.train()
    except TrainingError as error:
        return str(error)
    return norms


def _expected(accumulation: int) -> dict[str, float]:
    """The first step's norms by plain autograd on the joint batch."""
    model, data = ToyModel(), ToyData()
    model.train()
    for start in range(accumulation):
        rows = slice(4 * start, 4 * start + 4)
        (model(data.x[rows], data.y[rows], mode="loss")["loss"] / accumulation).backward()
    groups = {
        name: float(torch.cat([p.grad.flatten() for p in params]).norm())
        for name, params in model.gradient_groups().items()
    }
    assert model.text_embeds_grad_norm is not None
    return {"text_embeds": float(model.text_embeds_grad_norm) * accumulation, **groups}


@pytest.mark.parametrize(
    ("stage", "ranks", "accumulation"), [(0, 1, 1), (0, 2, 1), (1, 2, 2), (2, 1, 2), (2, 2, 2), (3, 2, 2)]
)
def test_norms_are_those_of_the_joint_batch(tmp_path: Path, stage: int, ranks: int, accumulation: int) -> None:
    """Red when a rank's slice or own gradient is measured, after clipping, or with the accumulation's factor."""
    expected = _expected(accumulation)
    for norms in run_ranks(ranks, _train, tmp_path, stage, ranks, accumulation, None, {}):
        assert norms[accumulation - 1] == pytest.approx(expected, rel=1e-4)
        assert len(norms) == 2 * accumulation
        if accumulation == 2:
            assert norms[0] == {}, "measured inside the accumulation window"


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_cut_link_ends_the_run_when_asked(tmp_path: Path, stage: int) -> None:
    """Red when a detached part goes unnoticed, or only one rank stops."""
    for message in run_ranks(2, _train, tmp_path, stage, 2, 1, "adapter", {"on_dead": "raise"}):
        assert "optimizer step 1" in message
        assert "adapter (norm 0.0)" in message
        assert "head (norm" not in message


def test_a_cut_link_only_warns_by_default(tmp_path: Path) -> None:
    (norms,) = run_ranks(1, _train, tmp_path, 0, 1, 1, "adapter", {})
    assert len(norms) == 2
    assert norms[0]["adapter"] == 0


def test_interval_counts_optimizer_steps(tmp_path: Path) -> None:
    (norms,) = run_ranks(1, _train, tmp_path, 0, 1, 2, None, {"interval": 2})
    assert [bool(step) for step in norms] == [False, False, False, True]


def test_unknown_reaction_is_refused() -> None:
    with pytest.raises(ConfigError, match="on_dead='stop'"):
        GradientFlowHook(on_dead="stop")  # type: ignore[arg-type]


@pytest.mark.parametrize(("beyond", "ends"), [({"adapter"}, False), ({"head"}, True), (set(), True)])
def test_only_groups_that_no_loss_reaches_may_be_still(tmp_path: Path, beyond: set[str], ends: bool) -> None:
    """The adapter is cut. Red when a group beyond reach ends the run, or another cut passes because of it."""
    (end,) = run_ranks(1, _train, tmp_path, 0, 1, 1, "adapter", {"on_dead": "raise"}, beyond)
    assert isinstance(end, str) == ends
    assert not ends or "adapter (norm 0.0)" in end


def test_a_window_reaches_what_any_of_its_batches_reaches() -> None:
    """Red when the last kind decides, or the groups of all kinds are added up."""
    beyond = {"cycle": {"head", "decoder"}, "caption": {"decoder"}, "refer": set()}
    model = SimpleNamespace(groups_beyond=beyond.__getitem__)
    assert groups_beyond(model, ["cycle"]) == {"head", "decoder"}
    assert groups_beyond(model, ["cycle", "caption"]) == {"decoder"}
    assert groups_beyond(model, ["cycle", "refer"]) == set()
    assert groups_beyond(model, []) == set()
    assert groups_beyond(object(), ["cycle"]) == set()


@pytest.mark.parametrize(
    ("config", "reader", "kind", "beyond"),
    [
        ("pseudo_gumbel_tiny", StudentReader, "cycle", set()),
        ("pseudo_gumbel_tiny", TeacherReader, "cycle", {"mask_decoder", "seg_head"}),
        ("pseudo_gumbel_tiny", FrozenReader, "cycle", {"mask_decoder", "seg_head"}),
        ("word_trials_tiny", StudentReader, "cycle", {"mask_decoder", "seg_head"}),
        ("word_trials_tiny", TeacherReader, "refer", set()),
        ("word_trials_tiny", TeacherReader, "caption", {"mask_decoder", "seg_head"}),
    ],
)
def test_the_model_knows_which_groups_a_batch_leaves_alone(config: str, reader: Any, kind: Any, beyond: set) -> None:
    """Against the gradients themselves. Red when a reader that learns counts as constant, or the other way round."""
    model = tiny_pseudo_gumbel(config)
    model.teacher, model.reader = EMATeacher(model), reader()
    if reader is FrozenReader:
        model.reader.weights = FrozenCopy(model)
    losses = model(tiny_batch(kind, 2), mode="loss")
    sum(loss for name, loss in losses.items() if "loss" in name).backward()
    still = {
        name
        for name, params in model.gradient_groups().items()
        if not any(param.grad is not None and param.grad.any() for param in params)
    }
    assert still == beyond
    assert model.groups_beyond(kind) & model.gradient_groups().keys() == beyond


def test_supervised_losses_of_no_weight_reach_nothing() -> None:
    """Red when masks without a single labelled one end in an alarm about a cut link."""
    model = tiny_pseudo_gumbel("word_trials_tiny", supervised_weight=0)
    assert model.groups_beyond("refer") == model.gradient_groups().keys()
    assert groups_beyond(model, ["cycle", "refer"]) == {"mask_decoder", "seg_head"}
