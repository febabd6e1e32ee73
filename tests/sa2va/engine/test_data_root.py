"""A COCO-like folder given on the command line becomes the cycle's data."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from projects.sa2va.engine import launch
from projects.sa2va.engine.data_root import find_coco_sets, use_coco_root
from projects.sa2va.errors import ConfigError, DataError
from projects.sa2va.paths import ROOT


def make_root(root: Path, sets: dict[str, str]) -> Path:
    (root / "annotations").mkdir(parents=True)
    for name, pictures in sets.items():
        (root / "annotations" / f"instances_{name}.json").write_text("{}")
        (root / pictures).mkdir(parents=True, exist_ok=True)
    return root


def config() -> Config:
    sources = [
        {"kind": "cycle", "dataset": {"type": "A"}, "weight": 2.0, "max_samples": 5},
        {"kind": "refer", "dataset": {"type": "B"}},
        {"kind": "cycle", "dataset": {"type": "C"}},
    ]
    return Config({"train_dataloader": {"dataset": {"sources": sources}}})


def test_training_sets_replace_the_cycle_sources(tmp_path: Path) -> None:
    """Red when the validation set is trained on, the referring mix is lost, or scenes stay beside the user's masks."""
    root = make_root(tmp_path, {"train2017": "train2017", "val2017": "val2017"})
    cfg = config()
    use_coco_root(cfg, root)
    cycle, refer = cfg.train_dataloader.dataset.sources
    assert refer.dataset.type == "B"
    assert cycle.weight == 2.0
    assert "max_samples" not in cycle, "a cap meant for other data"
    assert cycle.dataset.ann_file == str(root / "annotations" / "instances_train2017.json")
    assert cycle.dataset.image_root == str(root / "train2017")


@pytest.mark.parametrize("pictures", ["mine", "images/mine", "images"])
def test_pictures_are_found_in_the_usual_places(tmp_path: Path, pictures: str) -> None:
    root = make_root(tmp_path, {"mine": pictures})
    assert find_coco_sets(root) == [(root / "annotations" / "instances_mine.json", root / pictures)]


def test_only_a_validation_set_is_taken(tmp_path: Path) -> None:
    assert len(find_coco_sets(make_root(tmp_path, {"val": "val"}))) == 1


def test_what_was_looked_for_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        find_coco_sets(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no annotations/instances_\*.json"):
        find_coco_sets(tmp_path)
    make_root(tmp_path, {"train": "elsewhere"})
    with pytest.raises(DataError, match=r"looked for the folders .*train, .*images"):
        find_coco_sets(tmp_path)


def test_a_config_without_masks_is_refused(tmp_path: Path) -> None:
    cfg = Config({"train_dataloader": {"dataset": {"sources": []}}})
    with pytest.raises(ConfigError, match="no source of kind 'cycle'"):
        use_coco_root(cfg, tmp_path)


def test_the_4b_config_keeps_its_expressions_and_sizes(tmp_path: Path) -> None:
    """Red when the config's sources cannot be replaced, or the masks would be read at another size."""
    cfg = launch.load_config(str(ROOT / "configs/pseudo_gumbel_4b.py"))
    use_coco_root(cfg, make_root(tmp_path, {"mine": "images"}))
    cycle, refer = cfg.train_dataloader.dataset.sources
    assert (cycle.kind, cycle.dataset.image_root) == ("cycle", str(tmp_path / "images"))
    assert (refer.kind, refer.dataset.root) == ("refer", "data/refcoco")
    transform = cfg.train_dataloader.dataset.transform
    sizes = (transform.image_size, transform.grounding_size, transform.grid_size, transform.mask_size)
    assert sizes == (448, 1024, 16, 256)
