"""What the command line settles in a config before a run is built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import RUNNERS

from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed, use_engine
from sa2va_native.errors import CheckpointError, ConfigError
from sa2va_native.files.paths import ROOT
from sa2va_native.hooks.config_check_hook import ConfigCheckHook
from tests.ranks import run_ranks
from tests.tiny import tiny_sa2va
from tests.toy import toy_config, whole_weights


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


def test_a_hook_may_be_left_out() -> None:
    """Red when MMEngine asserts without a word that a hook is not None, which the dry run does not."""
    options = {"default_hooks.hang_watch": None, "default_hooks.timer": None}
    hooks = launch.read_config("pseudo_gumbel_tiny", options).default_hooks
    assert "hang_watch" not in hooks
    assert "checkpoint" in hooks
    assert hooks["timer"] is None, "which MMEngine adds by itself"


def test_custom_imports_of_an_option_are_imported() -> None:
    """Red when an option is taken and ignored."""
    with pytest.raises(ConfigError, match=r"custom_imports = .*No module named 'nowhere'"):
        launch.read_config("pseudo_gumbel_tiny", {"custom_imports.imports": "nowhere"})


@pytest.mark.parametrize("resume", [True, False])
def test_a_checkpoint_of_the_config_is_looked_at_like_one_of_an_option(tmp_path: Path, resume: bool) -> None:
    """Red when MMEngine resumes by itself what belongs to another run, or a missing file is taken for a folder."""
    cfg = toy_config(tmp_path)
    cfg.merge_from_dict({"resume": resume, "load_from": str(tmp_path / "iter_2.pth")})
    with pytest.raises(CheckpointError, match=r"iter_2\.pth does not exist"):
        launch.use_checkpoint(cfg, None, None)
    if resume:
        cfg.load_from = None
        (tmp_path / "iter_2.pth").write_bytes(b"damaged")
        with pytest.raises(CheckpointError, match="no undamaged checkpoint"):
            launch.use_checkpoint(cfg, None, None)


def test_a_model_that_takes_no_weights_says_so(tmp_path: Path) -> None:
    launch.use_weights(toy_config(tmp_path), None)
    with pytest.raises(ConfigError, match=r"cfg\.model is not a Sa2VA"):
        launch.use_weights(toy_config(tmp_path), ["a"])


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", "bfloat16"), (None, "bfloat16"), ("fp32", None)])
def test_bf16_under_deepspeed_builds_the_model_in_bf16(precision: str | None, dtype: str | None) -> None:
    """Red when 16 GB of float32 are kept next to the 8 GB that are trained; without bf16 the type stays."""
    cfg = load("pseudo_gumbel_tiny")
    use_deepspeed(cfg, "zero2", precision)
    assert cfg.model.sa2va.get("dtype") == dtype


@pytest.mark.parametrize(
    ("name", "options", "stage", "source"),
    [
        ("pseudo_gumbel_4b", {}, 2, "strategy of the config"),
        ("pseudo_gumbel_4b", {"default": "zero1"}, 2, "strategy of the config"),
        ("pseudo_gumbel_4b", {"name": "zero3"}, 3, "--deepspeed zero3"),
        ("pseudo_gumbel_4b", {"name": "none", "default": "zero2"}, None, "without DeepSpeed"),
        ("pseudo_gumbel_tiny", {}, None, "without DeepSpeed, float32"),
        ("pseudo_gumbel_tiny", {"default": "zero2"}, 2, "default of several ranks"),
        ("pseudo_gumbel_tiny", {"default": "zero2", "precision": "fp32"}, 2, "float32"),
    ],
)
def test_deepspeed_is_that_of_the_command_line_the_config_or_the_script(
    name: str, options: dict[str, Any], stage: int | None, source: str
) -> None:
    """In this order. Red when ZeRO-2 of the 4B config is lost or cannot be left out, or tiny needs DeepSpeed."""
    cfg = load(name)
    assert source in use_engine(cfg, **options)
    if stage is None:
        assert not {"strategy", "runner_type"} & cfg.keys()
        assert cfg.optim_wrapper.accumulative_counts
        return
    assert cfg.strategy.config.zero_optimization.stage == stage
    assert cfg.strategy.exclude_frozen_parameters
    assert cfg.optim_wrapper.type == "DeepSpeedOptimWrapper"
    expected = load(name).optim_wrapper
    assert cfg.strategy.gradient_accumulation_steps == expected.accumulative_counts
    assert cfg.strategy.gradient_clipping == expected.clip_grad.max_norm


def test_settings_of_deepspeed_may_stand_in_the_config() -> None:
    """Red when a dict instead of a json's name is refused, or may contradict the rest of the config."""
    cfg = load("pseudo_gumbel_4b")
    cfg.strategy.config = {"zero_optimization": {"stage": 1}}
    use_engine(cfg)
    assert cfg.strategy.config == {"zero_optimization": {"stage": 1}}
    use_engine(cfg, "zero3")  # once more, as for the config in a work dir
    assert (cfg.strategy.gradient_accumulation_steps, cfg.strategy.gradient_clipping) == (4, 1.0)
    cfg = load("pseudo_gumbel_4b")
    cfg.strategy.config = {"gradient_accumulation_steps": 7}
    with pytest.raises(ConfigError, match=r"strategy.config: gradient_accumulation_steps is 7, but the config says 4"):
        use_engine(cfg)


@pytest.mark.slow
def test_the_config_in_a_work_dir_is_read_by_another_process(tmp_path: Path) -> None:
    """Red when it names our strategy as registered, which nothing has done when it is read to resume or to test."""
    cfg = load("pseudo_gumbel_tiny")
    use_engine(cfg, "zero2", "fp32")
    cfg.dump(tmp_path / "written.py")
    tool = [sys.executable, str(ROOT / "tools/print_config.py"), str(tmp_path / "written.py")]
    ended = subprocess.run(tool, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(("name", "precision"), [("none", None), ("zero2", "fp32")])
def test_the_config_in_a_work_dir_can_run_otherwise(tmp_path: Path, name: str, precision: str | None) -> None:
    """Red when accumulation and clipping get lost on the way back, or bf16 weights train without float32 masters."""
    cfg, unchanged = load("pseudo_gumbel_tiny"), load("pseudo_gumbel_tiny")
    use_engine(cfg, "zero2", "bf16")
    cfg.dump(tmp_path / "written.py")
    written = launch.load_config(str(tmp_path / "written.py"))
    assert written.model.sa2va.dtype == "bfloat16"
    for one in (written, unchanged):
        use_engine(one, name, precision)
    assert "dtype" not in written.model.sa2va
    assert written.get("strategy") == unchanged.get("strategy")
    kept = ("accumulative_counts", "clip_grad") if name == "none" else ("type",)
    assert [written.optim_wrapper[key] for key in kept] == [unchanged.optim_wrapper[key] for key in kept]


@pytest.mark.parametrize("settings", [{}, {"zero_optimization": {"stage": 0}}])
def test_deepspeed_without_zero_is_refused(settings: dict[str, Any]) -> None:
    """Red when such a run dies in its first step, whose optimizer cannot be asked about overflow."""
    with pytest.raises(ConfigError, match=r"strategy.config: zero_optimization.stage is 0: .* --deepspeed none"):
        use_deepspeed(load("pseudo_gumbel_tiny"), settings)


def _train_with_the_configs_strategy(work_dir: Path, by_mmengine: bool) -> dict[str, torch.Tensor]:
    cfg = toy_config(work_dir, accumulation=2)
    cfg.strategy = dict(type="sa2va_native.engine.run.strategy.Sa2VADeepSpeedStrategy", config="zero2")
    cfg.runner_type = "FlexibleRunner"
    runner = RUNNERS.build(cfg) if by_mmengine else launch.build_runner(cfg)
    runner.train()
    assert runner.model.model.zero_optimization_stage() == 2
    assert runner.model.model.bfloat16_enabled()
    assert runner.model.model.gradient_accumulation_steps() == 2
    assert runner.model.model.global_steps == 4
    return whole_weights(runner)


def test_a_strategy_in_the_config_is_used_whoever_builds_the_runner(tmp_path: Path) -> None:
    """In one process. Red when ``xtuner train`` of such a config steps without accumulation, or past DeepSpeed."""
    ours, theirs = (
        run_ranks(1, _train_with_the_configs_strategy, tmp_path / str(flag), flag)[0] for flag in (False, True)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_parameter_groups_are_those_of_the_config_under_deepspeed_too() -> None:
    """Red when DeepSpeed silently trains every parameter with one learning rate."""
    cfg = load("pseudo_gumbel_tiny")
    groups = {"custom_keys": {"lora": {"lr_mult": 0.5}}}
    cfg.optim_wrapper.paramwise_cfg = groups
    use_deepspeed(cfg, "zero2")
    assert cfg.optim_wrapper.paramwise_cfg == groups


@pytest.mark.parametrize("clip", [{"type": "value", "clip_value": 1.0}, {"max_norm": 1.0, "norm_type": 1}])
def test_clipping_that_deepspeed_cannot_do_is_refused(clip: dict[str, Any]) -> None:
    """Red when such a run is silently clipped another way, or not at all."""
    cfg = load("pseudo_gumbel_tiny")
    cfg.optim_wrapper.clip_grad = clip
    with pytest.raises(ConfigError, match="DeepSpeed can only clip the norm of order 2"):
        use_deepspeed(cfg, "zero2")


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
