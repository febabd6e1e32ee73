"""Dry runs: every problem named, nothing started, nothing written."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

import sa2va_native.datasets.adapters.coco  # noqa: F401  registers CocoInstances
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.engine.plan import dry_run as module
from sa2va_native.engine.plan.dry_run import DryRun, Found, checkpoints_kept, dry_run
from sa2va_native.engine.plan.memory_plan import GIB, Sharding, checkpoint_size
from sa2va_native.engine.plan.model_info import counts
from sa2va_native.engine.plan.skeleton import build_skeleton
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed, use_engine
from sa2va_native.files.paths import ROOT
from tests.ranks import call_tool

CONFIG = "configs/pseudo_gumbel_tiny.py"
TRAIN = ROOT / "tools" / "train.py"


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A COCO-like folder: one picture, two objects."""
    root, mask = tmp_path / "coco", np.zeros((32, 32), dtype=bool)
    (root / "annotations").mkdir(parents=True)
    (root / "train").mkdir()
    Image.fromarray(np.zeros((32, 32, 3), dtype=np.uint8)).save(root / "train" / "1.png")
    mask[:20, :20] = True
    objects = [dict(id=i, image_id=1, segmentation=encode_mask(mask), area=400) for i in (1, 2)]
    content = dict(images=[dict(id=1, file_name="1.png", height=32, width=32)], annotations=objects)
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def cfg(masks: Path, tmp_path: Path) -> Any:
    """The tiny cycle on these masks alone, without human expressions."""
    cfg = launch.read_config(CONFIG, work_dir=str(tmp_path / "work" / "run"))
    source = dict(
        kind="cycle",
        dataset=dict(
            type="CocoInstances",
            ann_file=str(masks / "annotations/instances_train.json"),
            image_root=str(masks / "train"),
        ),
    )
    cfg.train_dataloader.dataset.sources = [source]
    cfg.train_dataloader.batch_sampler.pattern = ("cycle",)
    return cfg


def zero2(cfg: Any) -> None:
    use_deepspeed(cfg, "zero2")


def test_a_set_without_a_usable_sample_is_a_problem(cfg: Any, masks: Path) -> None:
    """Red when a run is said to start whose every sample is bad, or one bad sample keeps it from starting."""
    annotations = masks / "annotations" / "instances_train.json"
    content = json.loads(annotations.read_text())
    content["annotations"][0]["image_id"] = 7
    annotations.write_text(json.dumps(content))
    assert dry_run(cfg, [], ranks=1).problems == []
    (masks / "train" / "1.png").rename(masks / "train" / "2.png")
    (problem,) = dry_run(cfg, [], ranks=1).problems
    assert "CocoInstances: 2 of 2 samples were read, and none can be used. The first: " in problem
    assert "image_id 7 is not among the images. Run pseudo-gumbel check-data" in problem


@pytest.mark.parametrize("ranks", [1, 4])
def test_a_run_that_can_start(cfg: Any, tmp_path: Path, ranks: int) -> None:
    """Red when a check refuses a good config, the global batch is wrong, or the dry run leaves something behind."""
    report = dry_run(cfg, [zero2], ranks)
    assert report.problems == []
    text = str(report)
    assert text.endswith("No problem found: the run can start.")
    assert f"100 steps of {16 * ranks} samples: ranks {ranks} x batch 8 x micro-batches 2" in text
    assert f"draws {1600 * ranks:,} times from 2 samples to cycle: {800 * ranks:.2f} passes" in text
    assert "GPUs: 24 GB fits" in text
    assert not (tmp_path / "work").exists()


def test_what_runs_of_a_picture_cannot_do_is_said(cfg: Any) -> None:
    """Red when a plan hides that a batch cuts the objects of a picture apart."""
    cfg.train_dataloader.batch_sampler.regions_per_picture = 3
    facts = module.check_data(cfg, ranks=2).facts
    assert any("regions_per_picture=3 does not divide the batch of 8" in fact for fact in facts)
    cfg.train_dataloader.batch_sampler.regions_per_picture = 4
    assert not any("regions_per_picture" in fact for fact in module.check_data(cfg, ranks=2).facts)


def test_all_problems_are_named(cfg: Any, tmp_path: Path) -> None:
    """Red when the first problem hides the others, as in a real start."""
    source = cfg.train_dataloader.dataset.sources[0]
    other = dict(kind="refer", dataset=dict(type="ReferExpressions", root=str(tmp_path / "none"), split="train"))
    source.dataset.ann_file = str(tmp_path / "missing.json")
    cfg.train_dataloader.dataset.sources = [source, other]
    cfg.default_hooks.logger.intervall = 3
    cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    cfg.optim_wrapper.optimizer.lrr = 1.0
    cfg.model.sa2va.weights = str(tmp_path / "weights.safetensors")
    cfg.work_dir = "/proc/nowhere"
    report = dry_run(cfg, [lambda cfg: launch.use_checkpoint(cfg, str(tmp_path / "iter_2.pth"), None), zero2], 2)
    problems = "\n".join(report.problems)
    for expected in (
        "Did you mean 'interval'?",
        "Did you mean 'lr'?",
        "iter_2.pth does not exist",
        "missing.json: no such file",
        "none: no such folder",
        "weights.safetensors': no such file",
        "max_keep_ckpts=1",
        "work dir /proc/nowhere is not writable",
    ):
        assert expected in problems, expected
    for number, problem in enumerate(report.problems, 1):
        assert f"  {number}. {problem}" in str(report)


def test_what_the_runner_would_refuse_is_a_problem(cfg: Any) -> None:
    """Red when a start dies of a schedule, a loader, a backend, a level of the log or a half-given evaluation that the
    dry run takes."""
    cfg.param_scheduler[0].update(begin=10, end=5)
    cfg.log_level = "LOUD"
    cfg.visualizer.vis_backends = 5
    cfg.train_dataloader.persistent_workers = True
    cfg.test_evaluator = None
    problems = "\n".join(dry_run(cfg, [zero2], 1).problems)
    for expected in (
        "end should be larger than begin",
        "log_level = 'LOUD': expected",
        "test_evaluator is missing",
        "needs num_workers > 0",
        "vis_backends = 5: expected a list",
    ):
        assert expected in problems, problems


def test_weights_that_do_not_fit_are_a_problem(cfg: Any) -> None:
    cfg.model.sa2va.mllm.text_config.num_hidden_layers = 4
    (problem,) = dry_run(cfg, [zero2], 1).problems
    assert "language_model.layers.3" in problem


def test_a_missing_kind_is_a_problem(cfg: Any) -> None:
    cfg.train_dataloader.batch_sampler.pattern = ("cycle", "refer")
    (problem,) = dry_run(cfg, [zero2], 1).problems
    assert "kind 'refer' of the pattern has no source" in problem


def test_a_config_without_data_is_no_traceback(cfg: Any) -> None:
    cfg.pop("train_dataloader")
    assert any("train_dataloader" in problem for problem in dry_run(cfg, [], 1).problems)


def test_a_disk_that_is_too_small(cfg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when the size of checkpoints is not compared, or only one of those kept is."""
    size = checkpoint_size(counts(build_skeleton(cfg)), Sharding(stage=2), shadows=1)
    usage = namedtuple("usage", "total used free")
    cfg.merge_from_dict({"default_hooks.checkpoint.interval": 10})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 3 * size))
    assert dry_run(cfg, [zero2], 1).problems == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 3 * size - 1))
    (problem,) = dry_run(cfg, [], 1).problems
    assert "3 checkpoints of" in problem
    assert "max_keep_ckpts" in problem


@pytest.mark.parametrize(("keep", "interval", "kept"), [(3, 10, 3), (-1, 30, 4), (3, 500, 1), (-1, 50, 2)])
def test_how_many_checkpoints_are_kept(keep: int, interval: int, kept: int) -> None:
    """The last one is written at the end, whatever the interval."""
    hook = dict(interval=interval, max_keep_ckpts=keep)
    assert checkpoints_kept(Config(dict(train_cfg=dict(max_steps=100), default_hooks=dict(checkpoint=hook)))) == kept


@pytest.mark.parametrize(("memory", "problem"), [(80 * GIB, None), (2 * GIB, "by estimate"), (1, "at the very least")])
def test_gpus_in_sight_are_compared(
    cfg: Any, monkeypatch: pytest.MonkeyPatch, memory: int, problem: str | None
) -> None:
    monkeypatch.setattr(module, "has_cuda", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    sizes = {0: 80 * GIB, 1: memory}
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=sizes[device]))
    problems = dry_run(cfg, [zero2], 1).problems
    assert [problem in text for text in problems] == ([] if problem is None else [True]), problems


def test_resuming_a_run_of_the_other_engine(cfg: Any, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "iter_2.pth")
    resume = [lambda cfg: launch.use_checkpoint(cfg, str(tmp_path / "iter_2.pth"), None), zero2]
    (problem,) = dry_run(cfg, resume, 1).problems
    assert "was written without DeepSpeed" in problem


def test_the_report_counts_its_problems() -> None:
    assert "1 problem keeps the run" in str(DryRun({"a": Found(["fact"], ["problem"])}))
    assert "2 problems keep the run" in str(DryRun({"a": Found(problems=["x"]), "b": Found(problems=["y"])}))


@pytest.mark.parametrize("broken", [False, True])
def test_the_command_plans_for_ranks_that_do_not_run(masks: Path, tmp_path: Path, broken: bool) -> None:
    """Red when --dry-run trains, asks for the ranks it plans for, or ends with the wrong status."""
    expressions = "train_dataloader.dataset.sources.1.dataset"
    (ended,) = call_tool(
        TRAIN, CONFIG, "--dry-run", "--ranks", 8, "--deepspeed", "zero3", "--work-dir", tmp_path / "run", "--data-root",
        tmp_path / "none" if broken else masks, "--cfg-options", f"{expressions}.root={tmp_path / 'scenes'}",
        f"{expressions}.settings.sizes.labelled=2", "train_dataloader.dataset.sources.0.dataset.split=labelled",
        f"train_dataloader.dataset.sources.0.dataset.root={tmp_path / 'scenes'}",
        "train_dataloader.dataset.sources.0.dataset.settings.sizes.labelled=2",
    )  # fmt: skip
    assert ended.status == (1 if broken else 0), ended.output
    assert "100 steps of 128 samples: ranks 8" in ended.output
    assert ("/none: no such" in ended.output) == broken
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # the 4B model three times
@pytest.mark.parametrize("ranks", [1, 4, 8])
def test_the_4b_config_is_planned_for(cfg: Any, ranks: int) -> None:
    big = launch.read_config("configs/pseudo_gumbel_4b.py", work_dir=cfg.work_dir)
    big.train_dataloader.dataset.sources = cfg.train_dataloader.dataset.sources
    big.train_dataloader.batch_sampler.pattern = ("cycle",)
    report = dry_run(big, [lambda cfg: launch.use_weights(cfg, ["none"]), use_engine], ranks)
    assert not [problem for problem in report.problems if "are free" not in problem]
    assert "DeepSpeed ZeRO-2, bf16 over float32 master weights (strategy of the config)" in str(report)
    assert f"samples: ranks {ranks} x batch 1 x micro-batches 4" in str(report)
    assert "4,181,278,002 parameters, 882,276,933 trained (21.10%)" in str(report)


@pytest.mark.slow  # whole runs
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_checkpoints_are_as_large_as_planned(cfg: Any, tmp_path: Path, stage: int) -> None:
    """Red when frozen weights get into checkpoints, or the plan forgets a part of them."""
    expected = checkpoint_size(counts(build_skeleton(cfg)), Sharding(stage=stage), shadows=1)  # type: ignore[arg-type]
    scenes = "train_dataloader.dataset.sources.1.dataset"
    (ended,) = call_tool(
        TRAIN, CONFIG, "--deepspeed", f"zero{stage}", "--work-dir", tmp_path / "run", "--max-steps", 1, "--data-root",
        tmp_path / "coco", "--cfg-options", "train_dataloader.batch_size=1", "optim_wrapper.accumulative_counts=1",
        f"{scenes}.root={tmp_path / 'scenes'}", f"{scenes}.settings.sizes.labelled=2",
        timeout=300,
    )  # fmt: skip
    assert ended.status == 0, ended.output
    (folder,) = (tmp_path / "run").glob("iter_*.pth")
    assert sum(file.stat().st_size for file in folder.rglob("*")) == pytest.approx(expected, rel=0.05)
