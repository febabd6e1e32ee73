"""A DeepSpeed run goes on under another number of ranks, another ZeRO stage, another accumulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from projects.sa2va.engine import launch
from projects.sa2va.engine.checkpointing import find_latest_checkpoint
from projects.sa2va.engine.parameters import gather_slices, local_tensor
from projects.sa2va.engine.unwrap import unwrap_model
from projects.sa2va.engine.zero_shards import MASTER, ZeroShards
from tests.ranks import run_ranks
from tests.toy import toy_config

GLOBAL_BATCH = 12  # samples of a micro-batch of all ranks


def make_runner(
    work_dir: Path, ranks: int, stage: int, steps: int, resume: str | None, precision: str = "fp32", **options: Any
) -> Any:
    options = {"batch_size": GLOBAL_BATCH // ranks, "accumulation": 2, **options}
    cfg = toy_config(work_dir, steps, checkpoint_interval=2, **options)
    cfg.launcher = "pytorch"
    cfg.log_level = "INFO"
    launch.use_checkpoint(cfg, resume, None)
    launch.use_deepspeed(cfg, f"zero{stage}", precision)
    # One parameter group each, with learning rates of their own.
    cfg.optim_wrapper.paramwise_cfg = dict(custom_keys={"head": dict(lr_mult=0.5)})
    return launch.build_runner(cfg)


def train(*args: Any, **options: Any) -> tuple[dict[str, torch.Tensor], int, int]:
    """Weights after a run, its last iteration and how many samples this rank read."""
    runner = make_runner(*args, **options)
    runner.train()
    params = unwrap_model(runner.model).named_parameters()
    weights = {name: gather_slices(param, local_tensor(param)).detach().clone() for name, param in params}
    return weights, runner.iter, len(runner.train_dataloader.dataset.read)


def _train_with(options: dict, *args: Any) -> Any:
    return train(*args, **options)


@pytest.mark.parametrize(
    ("wrote", "reads"),
    [((1, 2), (1, 1)), ((2, 2), (2, 1)), ((2, 2), (2, 4)), ((3, 2), (3, 1)), ((3, 2), (3, 4)), ((2, 2), (3, 2)),
     ((3, 2), (2, 4)), ((3, 2), (1, 1))],
    ids=lambda pair: f"zero{pair[0]}-{pair[1]}ranks",
)  # fmt: skip
def test_other_ranks_and_stages_go_on_as_the_run_would_have(
    tmp_path: Path, wrote: tuple[int, int], reads: tuple[int, int]
) -> None:
    """To 1e-5, in float32, the sum over the batch being taken in another order.

    Red when moments, master weights, a group's learning rate, the schedule, a counter or the sampler's position is
    lost, or padding of one layout gets into another.
    """
    whole = run_ranks(wrote[1], train, tmp_path / "whole", wrote[1], wrote[0], 5, None)[0][0]
    run_ranks(wrote[1], train, tmp_path / "cut", wrote[1], wrote[0], 2, None)
    resumed = run_ranks(reads[1], train, tmp_path / "cut", reads[1], reads[0], 5, "")
    for weights, iteration, read in resumed:
        assert iteration == 10
        assert read == 3 * 2 * GLOBAL_BATCH // reads[1]
        for name, value in whole.items():
            torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-5, msg=f"{name} differs")


def _resume_and_save(work_dir: Path, ranks: int, stage: int) -> dict[str, Any]:
    """Writes at once what was read."""
    runner = make_runner(work_dir, ranks, stage, 2, "", "bf16")
    runner.train()
    runner.strategy.save_checkpoint(str(work_dir / "again.pth"), extra_ckpt={"message_hub": {"runtime_info": {}}})
    params = unwrap_model(runner.model).named_parameters()
    return {name: gather_slices(param, local_tensor(param)).detach().clone() for name, param in params}


@pytest.mark.parametrize(("wrote", "reads"), [((2, 2), (2, 3)), ((3, 2), (3, 3)), ((2, 2), (3, 3)), ((3, 3), (2, 2))])
def test_what_is_read_is_what_was_written(tmp_path: Path, wrote: tuple[int, int], reads: tuple[int, int]) -> None:
    """Bit for bit in bf16, on a number of ranks that divides no tensor.

    Red when master weights are made anew from the bf16 ones, or the bf16 ones are not those of the masters.
    """
    run_ranks(wrote[1], _train_with, {"precision": "bf16"}, tmp_path, wrote[1], wrote[0], 2, None)
    weights = run_ranks(reads[1], _resume_and_save, tmp_path, reads[1], reads[0])
    before, after = (ZeroShards(tmp_path / name) for name in ("iter_4.pth", "again.pth"))
    assert (after.stage, after.ranks) == reads
    assert before.shapes == after.shapes
    assert before.keys == after.keys == [MASTER, "exp_avg", "exp_avg_sq"]
    assert before.scalars == after.scalars == {"step": 2}
    for name in before.shapes:
        assert all(torch.equal(before.whole(name, key), after.whole(name, key)) for key in before.keys), name
        assert all(torch.equal(rank[name], before.whole(name).bfloat16()) for rank in weights), name


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_shards_are_read_as_deepspeed_reads_them(tmp_path: Path, stage: int) -> None:
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    run_ranks(3, train, tmp_path, 3, stage, 2, None, timeout=120)
    folder = tmp_path / "iter_4.pth"
    shards = ZeroShards(folder)
    library = get_fp32_state_dict_from_zero_checkpoint(str(tmp_path), tag=folder.name, exclude_frozen_parameters=True)
    assert library.keys() == shards.shapes.keys()
    assert all(torch.equal(shards.whole(name), library[name]) for name in library)
