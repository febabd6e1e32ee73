"""The masks at a path given on the command line become the cycle's data."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from sa2va_native.engine.config.data_root import DataRoot, use_data_roots
from sa2va_native.engine.run import launch
from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import ROOT
from tests.sa2va_native.datasets.native import coco_folders


def config() -> Config:
    sources = [
        {"kind": "cycle", "dataset": {"type": "A"}, "weight": 2.0, "max_samples": 5},
        {"kind": "refer", "dataset": {"type": "B"}},
        {"kind": "cycle", "dataset": {"type": "C"}},
    ]
    return Config({"train_dataloader": {"dataset": {"sources": sources}}})


def test_training_sets_replace_the_cycle_sources(tmp_path: Path) -> None:
    """Red when the validation set is trained on, the referring mix is lost, or scenes stay with the user's masks."""
    root = coco_folders(tmp_path, {"train2017": "train2017", "val2017": "val2017"})
    cfg = config()
    use_data_roots(cfg, [DataRoot(str(root))])
    cycle, refer = cfg.train_dataloader.dataset.sources
    assert refer.dataset.type == "B"
    assert cycle.weight == 2.0
    assert "max_samples" not in cycle, "a cap meant for other data"
    assert cycle.dataset.ann_file == str(root / "annotations" / "instances_train2017.json")
    assert cycle.dataset.image_root == str(root / "train2017")


def test_own_data_replaces_the_cycle_sources(tmp_path: Path) -> None:
    """Red when a file of own data is not taken, or is read with an option of the set it replaces."""
    (tmp_path / "data.jsonl").touch()
    for path in (tmp_path, tmp_path / "data.jsonl"):
        cfg = config()
        use_data_roots(cfg, [DataRoot(str(path))])
        cycle, _ = cfg.train_dataloader.dataset.sources
        assert (cycle.kind, cycle.weight) == ("cycle", 2.0)
        assert cycle.dataset == {"type": "OwnData", "path": str(tmp_path / "data.jsonl")}


def test_a_config_without_masks_is_refused(tmp_path: Path) -> None:
    cfg = Config({"train_dataloader": {"dataset": {"sources": []}}})
    with pytest.raises(ConfigError, match="no source of kind 'cycle'"):
        use_data_roots(cfg, [DataRoot(str(tmp_path))])


def test_the_4b_config_keeps_its_expressions_and_sizes(tmp_path: Path) -> None:
    """Red when the config's sources cannot be replaced, or the masks would be read at another size."""
    cfg = launch.load_config(str(ROOT / "configs/pseudo_gumbel_4b.py"))
    use_data_roots(cfg, [DataRoot(str(coco_folders(tmp_path, {"mine": "images"})))])
    cycle, refer = cfg.train_dataloader.dataset.sources
    assert (cycle.kind, cycle.dataset.image_root) == ("cycle", str(tmp_path / "images"))
    assert (refer.kind, refer.dataset.root) == ("refer", "data/refcoco")
    transform = cfg.train_dataloader.dataset.transform
    sizes = (transform.image_size, transform.grounding_size, transform.grid_size, transform.mask_size)
    assert sizes == (448, 1024, 16, 256)
