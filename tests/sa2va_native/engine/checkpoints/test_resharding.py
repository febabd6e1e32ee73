"""A DeepSpeed run goes on under another number of ranks, another ZeRO stage, another accumulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from sa2va_native.engine.checkpoints.zero_shards import MASTER, ZeroShards
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.optimizer_steps import optimizer_steps
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import CheckpointError
from tests.ranks import run_ranks
from tests.toy import ToyModel, toy_config, whole_weights

GLOBAL_BATCH = 12  # samples of a micro-batch of all ranks


def make_runner(
    work_dir: Path,
    ranks: int,
    stage: int | str,
    steps: int,
    resume: str | None,
    precision: str = "fp32",
    **options: Any,
) -> Any:
    options = {"batch_size": GLOBAL_BATCH // ranks, "accumulation": 2, **options}
    cfg = toy_config(work_dir, steps, checkpoint_interval=2, **options)
    cfg.launcher = "pytorch"
    cfg.log_level = "INFO"
    # One parameter group each, with learning rates of their own.
    cfg.optim_wrapper.paramwise_cfg = dict(custom_keys={"head": dict(lr_mult=0.5)})
    launch.use_checkpoint(cfg, resume, None)
    use_deepspeed(cfg, f"zero{stage}", precision)
    return launch.build_runner(cfg)


class Ended(NamedTuple):
    """A run that is done, on one rank."""

    weights: dict[str, torch.Tensor]
    iteration: int
    steps: int
    read: int  #: samples


def train(*args: Any, **options: Any) -> Ended:
    runner = make_runner(*args, **options)
    runner.train()
    return Ended(whole_weights(runner), runner.iter, optimizer_steps(runner), len(runner.train_dataloader.dataset.read))


def _train_with(options: dict, *args: Any) -> Ended:
    return train(*args, **options)


@pytest.mark.slow
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
    whole = run_ranks(wrote[1], train, tmp_path / "whole", wrote[1], wrote[0], 5, None)[0].weights
    run_ranks(wrote[1], train, tmp_path / "cut", wrote[1], wrote[0], 2, None)
    resumed = run_ranks(reads[1], train, tmp_path / "cut", reads[1], reads[0], 5, "")
    for weights, *counts in resumed:
        assert counts == [10, 5, 3 * 2 * GLOBAL_BATCH // reads[1]]
        torch.testing.assert_close(weights, whole, rtol=0, atol=1e-5)


def _resume_and_save(work_dir: Path, ranks: int, stage: int | str) -> dict[str, Any]:
    """Writes at once what was read."""
    runner = make_runner(work_dir, ranks, stage, 2, "", "bf16")
    runner.train()
    runner.strategy.save_checkpoint(str(work_dir / "again.pth"), extra_ckpt={"message_hub": {"runtime_info": {}}})
    return whole_weights(runner)


@pytest.mark.parametrize(
    ("wrote", "reads"),
    [
        ((2, 2), (2, 3)),
        ((3, 2), (3, 3)),
        pytest.param((2, 2), (3, 3), marks=pytest.mark.slow),
        pytest.param((3, 3), (2, 2), marks=pytest.mark.slow),
        pytest.param((2, 2), ("2_offload", 3), marks=pytest.mark.slow),
        pytest.param(("3_offload", 2), ("3_offload", 3), marks=pytest.mark.slow),
    ],
)
def test_what_is_read_is_what_was_written(tmp_path: Path, wrote: tuple, reads: tuple) -> None:
    """Bit for bit in bf16, on a number of ranks that divides no tensor.

    Red when master weights are made anew from the bf16 ones, or the bf16 ones are not those of the masters.
    """
    run_ranks(wrote[1], _train_with, {"precision": "bf16"}, tmp_path, wrote[1], wrote[0], 2, None)
    weights = run_ranks(reads[1], _resume_and_save, tmp_path, reads[1], reads[0])
    before, after = (ZeroShards(tmp_path / name) for name in ("iter_4.pth", "again.pth"))
    assert (after.stage, after.ranks) == (int(str(reads[0])[0]), reads[1])
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


def _resume_with_accumulation(work_dir: Path, batch_size: int, accumulation: int) -> Ended:
    return train(work_dir, 2, 2, 4, "", batch_size=batch_size, accumulation=accumulation)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch_size", "accumulation", "warned"), [(12, 1, False), (3, 4, False), (6, 1, True), (12, 2, True)]
)
def test_another_accumulation_goes_on_at_the_same_step(
    tmp_path: Path, batch_size: int, accumulation: int, warned: bool
) -> None:
    """Red when a run counts the micro-batches of the one before: it would end early or late, on other data."""
    whole = run_ranks(2, train, tmp_path / "whole", 2, 2, 4, None)[0].weights
    run_ranks(2, train, tmp_path / "cut", 2, 2, 2, None)
    resumed = run_ranks(2, _resume_with_accumulation, tmp_path / "cut", batch_size, accumulation)
    for weights, *counts in resumed:
        assert counts == [4 * accumulation, 4, 2 * accumulation * batch_size]
        same = all(torch.allclose(weights[name], whole[name], rtol=0, atol=1e-5) for name in whole)
        assert same is not warned
    logs = "".join(file.read_text() for file in (tmp_path / "cut").rglob("*.log"))
    told = f"A step of the checkpoint took 24 samples and one of this run takes {2 * batch_size * accumulation}, as"
    assert (told in logs) is warned


def test_a_checkpoint_inside_a_step_is_refused(tmp_path: Path) -> None:
    """Red when half a step is counted as a whole one. Our own hook writes none; MMEngine's does."""
    run_ranks(2, train, tmp_path, 2, 2, 2, None)
    file = tmp_path / "iter_4.pth/mp_rank_00_model_states.pt"
    states = torch.load(file)
    states["meta"]["iter"] = 3
    torch.save(states, file)
    (tmp_path / "iter_4.pth/manifest.json").unlink()
    with pytest.raises(RuntimeError, match=r"written 1 of 2 micro-batches into a step.*Set accumulative_counts=2"):
        run_ranks(2, _resume_with_accumulation, tmp_path, 4, 3)


def test_a_folder_without_the_part_of_one_rank_is_refused(tmp_path: Path) -> None:
    """Red when the parts of the others are taken for all: XTuner's own folders have no list of files."""
    run_ranks(2, train, tmp_path, 2, 3, 2, None)
    (tmp_path / "iter_4.pth/zero_pp_rank_0_mp_rank_00_optim_states.pt").unlink()
    with pytest.raises(CheckpointError, match=r"has the \*_optim_states.pt of 1 of 2 ranks"):
        ZeroShards(tmp_path / "iter_4.pth")


class LargerModel(ToyModel):
    """Trains one tensor more."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Linear(2, 2, bias=False)


def _resume_a_larger_model(work_dir: Path) -> None:
    cfg = toy_config(work_dir, 4)
    cfg.model.type = f"{__name__}.LargerModel"
    launch.use_checkpoint(cfg, "", None)
    use_deepspeed(cfg, "zero2", "fp32")
    launch.build_runner(cfg).train()


def test_a_run_that_trains_something_else_is_refused(tmp_path: Path) -> None:
    """Red when a tensor that the checkpoint does not have silently keeps its base weights."""
    run_ranks(2, train, tmp_path, 2, 2, 2, None)
    message = (
        r"has more.weight with shape None and this run trains it with \(2, 2\) \(None: not at all\). Use the config"
    )
    with pytest.raises(RuntimeError, match=message):
        run_ranks(1, _resume_a_larger_model, tmp_path)
