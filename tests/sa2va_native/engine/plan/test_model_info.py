"""Counts of the built modules, and the plan that follows from a config."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sa2va_native.engine.plan.memory_plan import Sharding
from sa2va_native.engine.plan.model_info import components, counts, memory_plan, shadows, shapes, sharding
from sa2va_native.engine.plan.skeleton import build_skeleton, find_sa2va
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed, use_engine
from sa2va_native.files.paths import ROOT
from tests.tiny import tiny_pseudo_gumbel

TINY = "configs/pseudo_gumbel_tiny.py"


def test_the_4b_model_has_the_reported_counts() -> None:
    """Red when a layer, the vocabulary, LoRA's rank or what is trained differs from the report."""
    model = build_skeleton(launch.read_config("configs/pseudo_gumbel_4b.py"))
    assert counts(model) == (4_181_278_002 - 882_276_933, 882_276_933, 151_679 * 2048)
    parts = components(model)
    trained = {
        name: (part.trainable_parameters, part.trainable_tensors)
        for name, part in parts.items()
        if part.trainable_tensors
    }
    assert trained == {
        "lora": (239_468_544, 504),
        "embeddings": (621_277_184, 2),
        "projector": (12_595_200, 6),
        "mask_decoder": (4_215_109, 131),
        "seg_head": (4_720_896, 4),
    }
    assert parts["vision_tower"].parameters == 304_012_288
    assert parts["sam2"].parameters + parts["mask_decoder"].parameters == 224_430_130


@pytest.mark.slow  # a process of its own, for its time and memory
def test_the_tool_needs_a_minute_and_3_gb_at_most() -> None:
    """Red when weights are allocated, or something else than JSON is printed."""
    call = [sys.executable, str(ROOT / "tools/model_info.py"), "configs/pseudo_gumbel_4b.py", "--json", "--ranks", "4"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 3e9 / 1024
    info = json.loads(done.stdout)
    assert (info["total"], info["trainable"]) == (4_181_278_002, 882_276_933)
    assert round(100 * info["trainable_share"], 2) == 21.10
    assert sum(part["parameters"] for part in info["components"].values()) == info["total"]
    states = {item["name"]: item["size"] for item in info["memory_plan"]["items"]}
    assert states["frozen weights"] + states["trained weights"] == 2 * 4_181_278_002
    assert states["EMA shadow"] == 882_276_933
    assert states["float32 masters"] == 4 * -(-882_276_933 // 4)


def test_components_make_up_the_whole() -> None:
    """Red when a parameter is counted in two parts, e.g. the mask decoder in SAM 2, or in none."""
    model = tiny_pseudo_gumbel()
    parts = components(model)
    assert sum(part.parameters for part in parts.values()) == sum(p.numel() for p in model.parameters())
    assert parts["sam2"].trainable_tensors == 0
    assert parts["mask_decoder"].tensors == parts["mask_decoder"].trainable_tensors == 131


def test_the_largest_layer_is_counted_without_its_submodules() -> None:
    model = nn.Sequential(nn.Linear(3, 4).requires_grad_(False), nn.Linear(4, 5))
    assert counts(model) == (16, 25, 25)


def test_prompt_lengths_are_those_of_the_prompts() -> None:
    """Red when the plan assumes other lengths than the model's own prompts have."""
    model = tiny_pseudo_gumbel().student
    sizes = shapes(model, batch=3)
    region = torch.ones(1, 8, 8, dtype=torch.bool)
    (prompt,) = model.caption_prompts(region)
    assert (sizes.batch, sizes.caption_prompt, sizes.caption) == (3, len(prompt), 12)
    assert sizes.caption_prompt > 2 * 64
    assert sizes.map_side == 8


@pytest.mark.parametrize(
    ("name", "expected"),
    [("zero1", Sharding(stage=1, ranks=4)), ("zero2", Sharding(stage=2, ranks=4, overlap_comm=True))],
)
def test_sharding_is_what_deepspeed_would_do(name: str, expected: Sharding) -> None:
    cfg = launch.read_config(TINY)
    use_deepspeed(cfg, name)
    assert sharding(cfg, 4) == expected


@pytest.mark.parametrize(("name", "fused"), [("tiny", False), ("mid", True), ("4b", True)])
def test_whether_the_optimizer_is_fused_is_read_from_the_config(name: str, fused: bool) -> None:
    """Red when it is fused where published figures were made without, or the plan does not know of it."""
    cfg = launch.read_config(f"configs/pseudo_gumbel_{name}.py")
    for engine in ("none", "zero2"):
        use_engine(cfg, engine)
        assert sharding(cfg, 2).fused == fused


def test_offload_and_buckets_are_read_from_the_json(tmp_path: Path) -> None:
    settings = json.loads((ROOT / "configs/deepspeed/zero3.json").read_text())
    settings["zero_optimization"] |= {
        "offload_optimizer": {"device": "cpu"},
        "reduce_bucket_size": 1000,
        "stage3_max_live_parameters": 2000,
    }
    (tmp_path / "mine.json").write_text(json.dumps(settings))
    cfg = launch.read_config(TINY)
    use_deepspeed(cfg, str(tmp_path / "mine.json"), "fp32")
    found = sharding(cfg, 2)
    assert (found.stage, found.bf16, found.offload_optimizer, found.offload_parameters) == (3, False, True, False)
    assert (found.reduce_bucket, found.max_live) == (1000, 2000)


def test_the_plan_follows_the_config() -> None:
    """Red when a supervised run is planned with a teacher, or batch size and checkpointing change nothing."""
    peaks = {}
    for name in ("sa2va_tiny", "pseudo_gumbel_tiny"):
        cfg = launch.read_config(f"configs/{name}.py")
        use_deepspeed(cfg, "zero2")
        model = build_skeleton(cfg)
        assert shadows(cfg) == (name == "pseudo_gumbel_tiny")
        names = {item.name for item in memory_plan(cfg, model, 2).items}
        assert ("EMA shadow" in names) == ("key-value cache" in names) == (name == "pseudo_gumbel_tiny")
        peaks[name] = memory_plan(cfg, model, 2).peak
    assert peaks["sa2va_tiny"] < peaks["pseudo_gumbel_tiny"]
    assert memory_plan(cfg, model, 2, checkpointing=True).peak < peaks["pseudo_gumbel_tiny"]
    find_sa2va(model).language_model.gradient_checkpointing_enable({"use_reentrant": False})
    assert memory_plan(cfg, model, 2) == memory_plan(cfg, model, 2, checkpointing=True)
    cfg.train_dataloader.batch_size *= 2
    assert memory_plan(cfg, model, 2).peak > memory_plan(cfg, model, 2, checkpointing=True).exact
