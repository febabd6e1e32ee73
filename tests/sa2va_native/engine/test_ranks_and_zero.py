"""Ranks, ZeRO stages and DistributedDataParallel compute the same training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed, use_precision
from sa2va_native.errors import ConfigError
from sa2va_native.parallel.parameters import gather_slices, local_tensor
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.toy import ToyModel, toy_config, whole_weights

STAGES = [0, 1, 2, 3]  # 0: no DeepSpeed


def make_runner(work_dir: Path, stage: int, precision: str = "fp32", **options: Any) -> Any:
    cfg = toy_config(work_dir, **options)
    cfg.launcher = "pytorch"
    if stage:
        use_deepspeed(cfg, f"zero{stage}", precision)
    return launch.build_runner(cfg)


def weights(runner: Any) -> dict[str, torch.Tensor]:
    # a tensor that no loss reaches is left alone by torch and decayed by DeepSpeed
    return {name: value.float() for name, value in whole_weights(runner).items() if not name.startswith("unused")}


def train(work_dir: Path, stage: int, options: dict[str, Any]) -> dict[str, torch.Tensor]:
    runner = make_runner(work_dir, stage, **options)
    runner.train()
    return weights(runner)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """One process, plain torch, joint batch of 4."""
    options = {"steps": 5, "batch_size": 4, "accumulation": 2}
    return run_ranks(1, train, tmp_path_factory.mktemp("reference"), 0, options)[0]


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("stage", STAGES)
def test_weights_do_not_depend_on_ranks_or_stage(
    reference: dict[str, torch.Tensor], tmp_path: Path, stage: int, ranks: int
) -> None:
    """Red when gradients do not synchronise (a forward past the wrapper), or are summed instead of averaged."""
    options = {"steps": 5, "batch_size": 4 // ranks, "accumulation": 2}
    for rank_weights in run_ranks(ranks, train, tmp_path, stage, options):
        torch.testing.assert_close(rank_weights, reference, rtol=0, atol=1e-5)


class _Arriving:
    """What a collective that was not waited for gives: its output is there after ``wait`` and not before."""

    def __init__(self, output: torch.Tensor, arrived: torch.Tensor) -> None:
        self.output, self.arrived = output, arrived

    def wait(self) -> None:
        self.output.copy_(self.arrived)


def _train_over_a_slow_network(*args: Any) -> dict[str, torch.Tensor]:
    at_once = torch.distributed.all_gather_into_tensor

    def gather(output_tensor: torch.Tensor, input_tensor: torch.Tensor, group: Any, async_op: bool = False) -> Any:
        if not async_op:
            return at_once(output_tensor, input_tensor, group)
        arrived = torch.empty_like(output_tensor)
        at_once(arrived, input_tensor, group)
        return _Arriving(output_tensor.fill_(torch.nan), arrived)

    torch.distributed.all_gather_into_tensor = gather
    return train(*args)


def test_every_gathered_weight_is_waited_for(reference: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """Red when ZeRO-3 waits for the last of several gathers only, which over gloo says nothing of the others."""
    options = {"steps": 5, "batch_size": 2, "accumulation": 2}
    for rank_weights in run_ranks(2, _train_over_a_slow_network, tmp_path, 3, options):
        torch.testing.assert_close(rank_weights, reference, rtol=0, atol=1e-5)


def _forward_past_the_wrapper(work_dir: Path) -> dict[str, torch.Tensor]:
    runner = make_runner(work_dir, 0, steps=5, batch_size=2, accumulation=2)
    wrapper = runner.model
    wrapper.train_step = wrapper.module.train_step  # the mistake
    runner.train()
    return weights(runner)


def test_a_forward_past_the_wrapper_is_seen(reference: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """The comparison above can fail: the known mistake makes the ranks drift apart."""
    first, second = run_ranks(2, _forward_past_the_wrapper, tmp_path)
    assert max((first[name] - second[name]).abs().max() for name in reference) > 1e-3


def _clip(work_dir: Path, stage: int, max_norm: float) -> dict[str, torch.Tensor]:
    cfg = toy_config(work_dir, steps=3, optimizer="SGD", lr=0.5)
    cfg.launcher = "pytorch"
    cfg.optim_wrapper.clip_grad = dict(max_norm=max_norm)
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    runner.train()
    return weights(runner)


def test_gradients_are_clipped_alike(tmp_path: Path) -> None:
    """Red when ``clip_grad`` gets lost on the way to DeepSpeed."""
    plain, unclipped = (run_ranks(1, _clip, tmp_path / str(norm), 0, norm)[0] for norm in (0.1, 1e6))
    assert max((plain[name] - unclipped[name]).abs().max() for name in plain) > 1e-2
    for stage in (2, 3):
        (clipped,) = run_ranks(1, _clip, tmp_path / f"zero{stage}", stage, 0.1)
        torch.testing.assert_close(clipped, plain, rtol=0, atol=1e-5)


def test_bf16_without_deepspeed_is_autocast_over_float32_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when the weights themselves become bf16: AdamW at lr 1e-5 would then drop most updates."""
    cfg = toy_config(tmp_path)
    with pytest.raises(ConfigError, match="bf16 without a GPU needs DeepSpeed"):
        use_precision(cfg, "bf16")
    monkeypatch.setattr("sa2va_native.parallel.process_group.has_cuda", lambda: True)
    use_precision(cfg, "bf16")
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.dtype) == ("AmpOptimWrapper", "bfloat16")
    use_precision(cfg, "fp32")
    assert cfg.optim_wrapper.type == "OptimWrapper"
    assert "dtype" not in cfg.optim_wrapper


def _tiny_updates(work_dir: Path, stage: int) -> tuple[torch.dtype, torch.Tensor]:
    runner = make_runner(work_dir, stage, "bf16", steps=40, lr=1e-5)
    runner.param_schedulers = None
    runner.train()
    from deepspeed.utils import safe_get_full_fp32_param

    param = dict(unwrap_model(runner.model).named_parameters())["head.1.weight"]
    return gather_slices(param, local_tensor(param)).dtype, safe_get_full_fp32_param(param).float().clone()


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_bf16_keeps_small_updates_in_float32_master_weights(tmp_path: Path, stage: int) -> None:
    """Red when AdamW works on bf16 weights: at lr 1e-5 nearly every update would round to nothing."""
    before = dict(ToyModel().named_parameters())["head.1.weight"].detach().bfloat16().float()
    dtype, after = run_ranks(1, _tiny_updates, tmp_path, stage)[0]
    assert dtype == torch.bfloat16
    # Adam moves each weight by at most lr a step, and most move nearly that much when the gradient keeps its sign.
    moved = (after - before).abs()
    assert (moved > 1e-6).float().mean() > 0.9, "only weights near 0 can move by so little in bf16"
    assert moved.max() < 40 * 1e-5 * 1.5
