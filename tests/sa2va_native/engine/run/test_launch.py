"""What the command line settles in a config before a run is built."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from sa2va_native.engine.run import launch
from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import ROOT
from sa2va_native.hooks.config_check_hook import ConfigCheckHook
from tests.tiny import tiny_sa2va
from tests.toy import toy_config


def load(name: str) -> Any:
    return launch.load_config(str(ROOT / f"configs/{name}.py"))


@pytest.fixture(autouse=True)
def _no_weights_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SA2VA_WEIGHTS", raising=False)


@pytest.mark.parametrize("name", ["sa2va_4b", "pseudo_gumbel_4b"])
def test_a_model_without_weights_is_refused(name: str) -> None:
    """Red when a run of days begins with random weights because an option was forgotten."""
    with pytest.raises(ConfigError, match=r"no base weights: .* --weights .* SA2VA_WEIGHTS .* --weights none"):
        launch.use_weights(load(name), None)
    with pytest.raises(ConfigError, match="no base weights"):  # what `xtuner train` meets
        ConfigCheckHook().before_run(type("Runner", (), {"cfg": load(name)}))


def test_weights_come_from_the_option_the_config_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order. Red when weights meant for the 4B model reach the tiny one, which names its own."""
    monkeypatch.setenv("SA2VA_WEIGHTS", os.pathsep.join(["/w/internvl", "/w/sam2.pt"]))
    for name, options, expected in (
        ("pseudo_gumbel_4b", None, ["/w/internvl", "/w/sam2.pt"]),
        ("pseudo_gumbel_4b", ["a", "b"], ["a", "b"]),
        ("pseudo_gumbel_4b", ["none"], None),
        ("pseudo_gumbel_tiny", None, "assets/tiny/sa2va_tiny.safetensors"),
        ("pseudo_gumbel_tiny", ["mine"], ["mine"]),
    ):
        cfg = load(name)
        launch.use_weights(cfg, options)
        assert cfg.model.sa2va.weights == expected
    cfg = load("sa2va_4b")
    launch.use_weights(cfg, ["a"])
    assert cfg.model.weights == ["a"], "not nested under the method"


def test_a_model_that_takes_no_weights_says_so(tmp_path: Path) -> None:
    launch.use_weights(toy_config(tmp_path), None)
    with pytest.raises(ConfigError, match=r"cfg\.model is no Sa2VA"):
        launch.use_weights(toy_config(tmp_path), ["a"])


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", "bfloat16"), (None, "bfloat16"), ("fp32", None)])
def test_bf16_under_deepspeed_builds_the_model_in_bf16(precision: str | None, dtype: str | None) -> None:
    """Red when 16 GB of float32 stand beside the 8 GB that are trained with; without bf16 the type stays."""
    cfg = load("pseudo_gumbel_tiny")
    launch.use_deepspeed(cfg, "zero2", precision)
    assert cfg.model.sa2va.get("dtype") == dtype


def test_parameter_groups_are_those_of_the_config_under_deepspeed_too() -> None:
    """Red when DeepSpeed silently trains every parameter with one learning rate."""
    cfg = load("pseudo_gumbel_tiny")
    groups = {"custom_keys": {"lora": {"lr_mult": 0.5}}}
    cfg.optim_wrapper.paramwise_cfg = groups
    launch.use_deepspeed(cfg, "zero2")
    assert cfg.optim_wrapper.paramwise_cfg == groups


@pytest.mark.parametrize("clip", [{"type": "value", "clip_value": 1.0}, {"max_norm": 1.0, "norm_type": 1}])
def test_clipping_that_deepspeed_cannot_do_is_refused(clip: dict[str, Any]) -> None:
    """Red when such a run is silently clipped another way, or not at all."""
    cfg = load("pseudo_gumbel_tiny")
    cfg.optim_wrapper.clip_grad = clip
    with pytest.raises(ConfigError, match="DeepSpeed clips the norm of order 2"):
        launch.use_deepspeed(cfg, "zero2")


def test_a_model_built_in_bf16_is_the_float32_one_rounded() -> None:
    """So DeepSpeed's float32 masters are what they were when it did the rounding. LoRA's random weights included."""
    models = []
    for dtype in ("float32", "bfloat16"):
        torch.manual_seed(0)
        models.append(tiny_sa2va(dtype=dtype))
    expected, got = (dict(model.named_parameters()) for model in models)
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name].bfloat16(), got[name]) for name in expected)
    buffers = [dict(model.named_buffers()) for model in models]
    assert all(torch.equal(buffers[0][name], buffers[1][name]) for name in buffers[0]), "float32 in both"
