"""The recipe with soft words: its learning rates reach the optimizer, and it trains alike on one rank and two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from pseudo_gumbel.step import Captions
from sa2va_native.datasets.scenes.scene_set import write_scene_set
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.files.paths import ROOT
from tests.ranks import run_ranks
from tests.tiny import tiny_batch, tiny_pseudo_gumbel
from tests.toy import whole_weights

NAME = "soft_gumbel_tiny"
SIZES = {"labelled": 6, "mask_only": 8, "test": 2, "test_heldout": 2}
SLOW_PARTS = ("mask_decoder", "text_hidden_fcs")


def config() -> Any:
    return Config.fromfile(ROOT / f"configs/{NAME}.py")


def test_decoder_and_head_have_a_tenth_of_the_rate() -> None:
    """Red when a name of the schedule is no longer one of the model: MMEngine ignores names that match nothing."""
    model = tiny_pseudo_gumbel(NAME)
    wrapper = build_optim_wrapper(model, config().optim_wrapper)
    rates = {id(param): group["lr"] for group in wrapper.param_groups for param in group["params"]}
    for part, params in model.gradient_groups().items():
        expected = 1e-4 if part in ("mask_decoder", "seg_head") else 1e-3
        assert {rates[id(param)] for param in params} == {expected}, part
    assert len(model.student.part("mask_decoder")) == 131
    assert len(model.student.part("seg_head")) == 4


def test_two_steps_change_the_captioner_and_not_the_reader() -> None:
    """Red when gradient of the cycle reaches the mask side, whose teacher reads, or no longer the captioner."""
    model = tiny_pseudo_gumbel(NAME)
    before = {name: param.detach().clone() for name, param in model.named_parameters() if param.requires_grad}
    optimizer = torch.optim.SGD([param for param in model.parameters() if param.requires_grad], lr=0.01)
    for seed in range(2):
        losses = model(tiny_batch("cycle", 2, seed=seed), mode="loss")
        assert losses.keys() == {"loss_mask", "loss_dice", "loss_teacher_kl", "silent_captions"}
        optimizer.zero_grad()
        sum(loss for name, loss in losses.items() if "loss" in name).backward()
        optimizer.step()
    changed = {name for name, param in model.named_parameters() if not torch.equal(param, before.get(name, param))}
    parts = {model.student.part_of(name.removeprefix("student.")) for name in changed}
    assert parts == {"lora", "projector", "embeddings"}


@pytest.mark.parametrize("stopped", [True, False])
def test_a_batch_that_says_nothing_runs_the_same_forwards(stopped: bool) -> None:
    """Red when a rank whose captions are all empty fails with the stop word rated: the others would wait."""
    model = tiny_pseudo_gumbel(NAME)
    model.teacher_captions = lambda *_: Captions([torch.zeros(0, dtype=torch.long)] * 2, [stopped] * 2)
    model.record_next_step = True
    losses = model(tiny_batch(), mode="loss")
    assert model.last_step.mask_logits.shape[0] == 8
    total = sum(loss for name, loss in losses.items() if "loss" in name)
    assert float(total.detach()) == 0
    total.backward()
    assert all(not p.grad.any() for p in model.gradient_groups()["embeddings"] if p.grad is not None)


def _train(
    scenes: Path, work_dir: Path, batch_size: int, stage: int, **model: Any
) -> tuple[dict[str, torch.Tensor], set[float], set[float]]:
    """After 3 steps: the whole weights, all rates at their start, and all shares of it that were trained at."""
    cfg = launch.load_config(str(ROOT / f"configs/{NAME}.py"), None, str(work_dir))
    for source in cfg.train_dataloader.dataset.sources + cfg.test_dataloader.dataset.sources:
        source.dataset.update(root=str(scenes), settings=dict(sizes=SIZES))
    cfg.train_dataloader.batch_size = batch_size
    cfg.train_cfg.max_steps = 3
    cfg.launcher = "pytorch"
    cfg.model.update(model)
    launch.use_checkpoint(cfg, None, None)
    use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    starts, shares = set(), set()

    class Watch:
        priority = 100

        def before_optimizer_step(self, runner: Any) -> None:
            for group in runner.optim_wrapper.param_groups:
                starts.add(round(group["initial_lr"], 9))
                shares.add(round(group["lr"] / group["initial_lr"], 9))

    runner._hooks.append(Watch())
    runner.train()
    return whole_weights(runner), starts, shares


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2])
def test_two_ranks_equal_one(tmp_path: Path, stage: int) -> None:
    """After 3 steps in float32, to 1e-5. Red when DeepSpeed trains all parts at one rate, or draws differ by rank."""
    scenes = write_scene_set(tmp_path / "scenes", sizes=SIZES)
    ((expected, *rates),) = run_ranks(1, _train, scenes, tmp_path / "one", 4, stage, timeout=900)
    assert rates[0] == {1e-4, 1e-3}
    assert len(rates[1]) == 3, "one share of the rate for all groups, another one at each step"
    for weights, *of_rank in run_ranks(2, _train, scenes, tmp_path / "two", 2, stage, timeout=900):
        assert of_rank == rates
        assert max(float((weights[name] - value).abs().max()) for name, value in expected.items()) < 1e-5


def _train_anchored(*args: Any) -> tuple[dict[str, torch.Tensor], set[float], set[float]]:
    anchors = [dict(type=kind, weight=0.3) for kind in ("TeacherKL", "ForwardTeacherKL", "BaseKL")]
    return _train(*args, reader=dict(type="StudentReader"), regularizers=anchors)


@pytest.mark.slow
def test_anchors_under_zero3_equal_one_rank(tmp_path: Path) -> None:
    """With every anchor and the student as reader, to 1e-5.

    Red when an anchor's forward reads the student's weights for the teacher's, or leaves ranks out of step.
    """
    scenes = write_scene_set(tmp_path / "scenes", sizes=SIZES)
    ((expected, *_),) = run_ranks(1, _train_anchored, scenes, tmp_path / "one", 4, 1, timeout=900)
    for weights, *_ in run_ranks(2, _train_anchored, scenes, tmp_path / "two", 2, 3, timeout=900):
        assert max(float((weights[name] - value).abs().max()) for name, value in expected.items()) < 1e-5
