"""Tools find the data that a config or a path means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mmengine.registry import DATASETS

from sa2va_native.datasets.check import Region
from sa2va_native.engine.config.config_check import check_config
from sa2va_native.engine.config.sources import region_of, sources_of, use_index_dirs
from sa2va_native.engine.run.launch import load_config
from sa2va_native.files.paths import ROOT
from tests.sa2va_native.datasets.native import write_sa1b


def test_a_config_means_its_training_sources_and_a_path_what_lies_there(tmp_path: Path) -> None:
    """Red when a tool looks at the test sets of a config, or loses its limits."""
    found = sources_of(str(ROOT / "configs/pseudo_gumbel_4b.py"))
    assert [(kind, config["root"]) for kind, config in found] == [
        ("cycle", "data/sav_pairs"),
        ("cycle", "data/sa1b"),
        ("cycle", "data/openimages"),
        ("refer", "data/refcoco"),
    ]
    assert found[-1][1]["split"] == "train"
    ((_, config),) = sources_of(str(write_sa1b(tmp_path, "tar")))
    assert len(DATASETS.build(config)) == 6


def test_a_config_brings_its_region_grid(tmp_path: Path) -> None:
    """Red when a tool shows or counts other cells than training has."""
    sizes = [region_of(str(ROOT / f"configs/pseudo_gumbel_{size}.py")).grid_size for size in ("4b", "tiny")]
    assert sizes == [16, 8]
    assert region_of(str(tmp_path)) == Region()
    config = tmp_path / "config.py"
    transform = "dict(grid_size=4, region_pooling='average', region_min_share=0.2)"
    config.write_text(f"train_dataloader = dict(dataset=dict(sources=[], transform={transform}, min_region_cells=3))")
    assert region_of(str(config)) == Region(4, "average", 0.2, 3)


def test_the_index_tool_leaves_an_index_that_is_opened_as_it_is(tmp_path: Path) -> None:
    """Red when the tool indexes with other settings than an adapter opens with, so that a run builds again."""
    root = write_sa1b(tmp_path / "sa1b", "tar")
    command = [sys.executable, ROOT / "tools/prepare_data/index.py", root]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert f"sa1b: Sa1b, 6 records: {root}/.index" in printed
    before = {path: path.stat().st_mtime_ns for path in (root / ".index").iterdir() if path.name != "lock"}
    ((_, config),) = sources_of(str(root))
    DATASETS.build(config)
    assert {path: path.stat().st_mtime_ns for path in (root / ".index").iterdir() if path.name != "lock"} == before


def test_indices_go_where_they_are_told(tmp_path: Path) -> None:
    """Red when a tool writes into a set that is read-only, though another folder was given; or adapters without an
    index are given one."""
    root, indices = write_sa1b(tmp_path / "sa1b", "tar"), str(tmp_path / "indices")
    ((_, config),) = sources_of(str(root), indices)
    DATASETS.build(config)
    assert not (root / ".index").exists()
    assert len(list((tmp_path / "indices").glob("sa1b-*/*.json"))) == 1
    found = sources_of(str(ROOT / "configs/pseudo_gumbel_4b.py"), indices)
    assert [config.get("index_dir") for _, config in found] == [indices, indices, indices, None]
    cfg = load_config(str(ROOT / "configs/pseudo_gumbel_4b.py"))
    use_index_dirs(cfg, indices)
    check_config(cfg)
    assert [source.dataset.get("index_dir") for source in cfg.train_dataloader.dataset.sources] == [indices] * 3 + [
        None
    ]
