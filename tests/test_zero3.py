"""ZeRO-3 with every weight split over the ranks: each forward is a collective, whatever samples a rank holds."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from sa2va_native.datasets.scenes.scene_set import write_scene_set
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.files.paths import ROOT
from sa2va_native.structures import Batch
from tests.ranks import run_ranks
from tests.toy import whole_weights

SIZES = {"labelled": 6, "mask_only": 8, "test": 2, "test_heldout": 2}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene_set(tmp_path_factory.mktemp("data") / "scenes", sizes=SIZES)


def train(
    scenes: Path, work_dir: Path, batch_size: int, stage: int, regions: int = 1
) -> tuple[list[Batch], dict[str, torch.Tensor]]:
    """4 steps over still pictures, two frames and expressions.

    The teacher says nothing of the second sample of each joint batch.

    Returns:
        this rank's cycle batches, and the whole weights after.
    """
    from pseudo_gumbel.model import PseudoGumbel
    from pseudo_gumbel.step import Captions

    cfg = launch.load_config(str(ROOT / "configs/pseudo_gumbel_tiny.py"), None, str(work_dir))
    two_frames, refer = cfg.train_dataloader.dataset.sources
    stills = copy.deepcopy(two_frames)
    stills.dataset.split = refer.dataset.split
    cfg.train_dataloader.dataset.sources = [stills, two_frames, refer]
    for source in cfg.train_dataloader.dataset.sources:
        source.dataset.update(root=str(scenes), settings=dict(sizes=SIZES))
    cfg.train_dataloader.update(batch_size=batch_size)
    cfg.train_dataloader.batch_sampler.update(pattern=("cycle", "cycle", "refer", "cycle"), regions_per_picture=regions)
    cfg.train_cfg.max_steps = 4
    cfg.launcher = "pytorch"
    launch.use_checkpoint(cfg, None, None)
    use_deepspeed(cfg, f"zero{stage}", "fp32")
    if stage == 3:
        cfg.strategy.config["zero_optimization"]["stage3_param_persistence_threshold"] = 0

    batches: list[Batch] = []
    forward, captions = PseudoGumbel.forward, PseudoGumbel.teacher_captions

    def watched(model: PseudoGumbel, batch: Batch, mode: str = "tensor") -> Any:
        batches.append(batch)
        return forward(model, batch, mode)

    def half_silent(*args: Any) -> Captions:
        said = captions(*args)
        return said._replace(
            ids=[ids[: 0 if key.sample else None] for ids, key in zip(said.ids, batches[-1].keys, strict=True)]
        )

    PseudoGumbel.forward, PseudoGumbel.teacher_captions = watched, half_silent  # type: ignore[method-assign]
    runner = launch.build_runner(cfg)
    runner.train()
    return [batch for batch in batches if batch.kind == "cycle"], whole_weights(runner)


@pytest.mark.slow
def test_ranks_with_other_samples_stay_in_step(scenes: Path, tmp_path: Path) -> None:
    """A still picture next to two frames, an empty caption next to a spoken one: as one rank with the joint batch.

    Red when a rank leaves out a forward that its own samples do not need: the others gather weights with a rank that is
    already elsewhere, which ends in a mismatch of sizes or in waiting.
    """
    ((_, expected),) = run_ranks(1, train, scenes, tmp_path / "one", 2, 1, timeout=300)
    ranks = run_ranks(2, train, scenes, tmp_path / "two", 1, 3, timeout=300)
    stills = [[batch.mask_side is None for batch in batches] for batches, _ in ranks]
    assert any(first != second for first, second in zip(*stills, strict=True))
    for _, weights in ranks:
        assert max(float((weights[name] - value).abs().max()) for name, value in expected.items()) < 1e-5


@pytest.mark.slow
def test_ranks_with_other_numbers_of_pictures_stay_in_step(scenes: Path, tmp_path: Path) -> None:
    """Runs of three objects of a picture, cut by ranks of two: as one rank with the joint batch.

    Red when a rank with fewer pictures runs other collectives, or a run's draws depend on how it is cut.
    """
    ((_, expected),) = run_ranks(1, train, scenes, tmp_path / "one", 4, 1, 3, timeout=300)
    ranks = run_ranks(2, train, scenes, tmp_path / "two", 2, 3, 3, timeout=300)
    looks = [[len(set(batch.looks or ())) for batch in batches] for batches, _ in ranks]
    assert any(first != second for first, second in zip(*looks, strict=True))
    for _, weights in ranks:
        assert max(float((weights[name] - value).abs().max()) for name, value in expected.items()) < 1e-5
