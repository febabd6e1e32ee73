"""The large sets in their native layouts, with a fault each, through training on two ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from projects.sa2va.datasets.scene_set import write_scene_set
from projects.sa2va.engine import launch
from projects.sa2va.paths import ROOT
from projects.sa2va.structures import Batch
from tests.ranks import run_ranks
from tests.sa2va.datasets.native import (
    open_images_line,
    sa1b_members,
    write_open_images,
    write_pair,
    write_sa1b,
    write_sav,
    write_sav_pairs,
    write_tar,
)

SIZES = {"labelled": 6, "mask_only": 4, "test": 2, "test_heldout": 2}


def write_sets(root: Path) -> dict[str, str]:
    """Each set with one bad record; adapter -> its root."""
    write_pair(write_sav_pairs(root / "SavPairs") / "bad.npz", mask2=None)
    write_sav(root / "SavVideos")
    write_sav(root / "SavVideos", "sav_000002").with_name("sav_000002.mp4").write_bytes(b"")
    broken = {**sa1b_members(9), "sa_9.json": b"{"}
    write_tar(write_sa1b(root / "Sa1b", "tar") / "sa_000009.tar", broken)
    lines = [open_images_line(f"m{i}.png", "p1" if i < 3 else "p2") for i in (1, 2, 3)]
    write_open_images(root / "OpenImages", [*lines, "cut"])
    return {name: str(root / name) for name in ("SavPairs", "SavVideos", "Sa1b", "OpenImages")}


def train(roots: dict[str, str], scenes: str, work_dir: str) -> tuple[list[str], list[float]]:
    """Ids of the samples that this rank trained on, and its losses."""
    from projects.pseudo_gumbel.model import PseudoGumbel
    from projects.sa2va.datasets.find_sets import find_mask_sets

    cfg = launch.load_config(str(ROOT / "configs/pseudo_gumbel_tiny.py"), None, work_dir)
    for source in cfg.train_dataloader.dataset.sources + cfg.test_dataloader.dataset.sources:
        source.dataset.update(root=scenes, settings=dict(sizes=SIZES))
    cfg.train_dataloader.dataset.sources = [
        dict(kind="cycle", dataset=found.config) for root in roots.values() for found in find_mask_sets(root)
    ]
    cfg.train_dataloader.dataset.report_file = str(Path(work_dir) / "bad.jsonl")
    cfg.train_dataloader.batch_sampler.pattern = ("cycle",)
    cfg.train_dataloader.update(batch_size=4, num_workers=1)
    cfg.train_cfg.max_steps = 4
    cfg.launcher = "pytorch"
    launch.use_checkpoint(cfg, None, None)
    launch.use_deepspeed(cfg, "zero2", "fp32")
    trained, losses, cycle_loss = [], [], PseudoGumbel.cycle_loss

    def watched(model: PseudoGumbel, batch: Batch, *args: Any) -> dict[str, Any]:
        trained.extend(batch.sample_ids)
        result = cycle_loss(model, batch, *args)
        losses.extend(float(value) for name, value in result.items() if name.startswith("loss"))
        return result

    PseudoGumbel.cycle_loss = watched  # type: ignore[method-assign]
    launch.build_runner(cfg).train()
    return trained, losses


@pytest.mark.slow
def test_every_set_trains_on_two_ranks_and_its_bad_record_is_named(tmp_path: Path) -> None:
    """Red when an adapter's samples do not fit the transform, the collation or the model, or a bad record gets lost,
    stops the run or lets the ranks run apart.
    """
    scenes = write_scene_set(tmp_path / "scenes", sizes=SIZES)
    roots = write_sets(tmp_path)
    (tmp_path / "work").mkdir()
    ranks = run_ranks(2, train, roots, str(scenes), str(tmp_path / "work"), timeout=400)
    trained = {sample.split("#")[0] for ids, _ in ranks for sample in ids}
    assert {f"{folder}masklet_data_{i}.npz" for i, folder in enumerate(("", "sav_000/", "sav_001/deep/"))} <= trained
    assert "sav_000/sav_000001_manual.json" in trained
    assert {f"sa_00000{shard}.tar/sa_{i}.json" for i, shard in ((1, 1), (2, 0), (3, 1))} <= trained
    assert "train-annotations-object-segmentation.csv" in trained
    for ids, losses in ranks:
        assert len(ids) == 4 * 2 * 4, "steps, micro-steps, samples"
        assert np.isfinite(losses).all()
        assert max(losses) > 0
    bad = {json.loads(line)["path"].split("/")[-1] for line in (tmp_path / "work/bad.jsonl").read_text().splitlines()}
    assert bad == {"bad.npz", "sav_000002.mp4", "sa_9.json", "train-annotations-object-segmentation.csv"}
