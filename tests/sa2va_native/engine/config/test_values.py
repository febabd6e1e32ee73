"""Numbers that cannot work are refused before anything is built."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from sa2va_native.engine.config.config_check import check_config, config_problems
from sa2va_native.engine.config.packages import package_problems
from sa2va_native.engine.config.reading import read_file
from sa2va_native.engine.config.values import completeness_problems, require_sections, value_problems
from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import ROOT
from tests.ranks import call_tool
from tests.toy import toy_config

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("train_cfg.max_steps", (0, -1, 1.5, "ten", None, [1], True, NAN, INF)),
        ("train_cfg.val_interval", (0,)),
        ("train_cfg.max_hours", (0, -1, NAN, "1h")),
        ("train_dataloader.batch_size", (0, -2, None, "4", 2.5)),
        ("train_dataloader.num_workers", (-1, 0.5)),
        ("optim_wrapper.accumulative_counts", (0, -1, 1.5)),
        ("optim_wrapper.optimizer.lr", (-1e-4, NAN, INF, "1e-4x", [1e-4])),
        ("optim_wrapper.optimizer.weight_decay", (-0.1,)),
        ("optim_wrapper.optimizer.betas", ((0.9, 1.0), (-0.1, 0.9), (0.9,), 0.9, (NAN, 0.9))),
        ("optim_wrapper.clip_grad", ({"max_norm": 0}, {"max_norm": -1.0}, {"max_norm": NAN})),
        ("param_scheduler.0.start_factor", (0, -1)),
        ("param_scheduler.0.begin", (-1,)),
        ("default_hooks.logger.interval", (0, -1)),
        ("default_hooks.checkpoint.interval", (0, -1, 0.5)),
        ("default_hooks.hang_watch.minutes", (0, -1, "a")),
        ("randomness.seed", (-1, 2**32, 0.5, "one")),
        ("optim_wrapper.optimizer.eps", (-1e-8, NAN)),
        ("env_cfg.mp_cfg.opencv_num_threads", (-1, [1, 2], "abc")),
        ("env_cfg.resource_limit", (0, None, "abc")),
        ("_helper.anything", (NAN,)),
    ],
)
def test_a_number_that_cannot_work_is_refused(tmp_path: Path, key: str, values: tuple[Any, ...]) -> None:
    """Red when a run dies of it later, or trains on it."""
    for value in values:
        cfg = toy_config(tmp_path)
        cfg.merge_from_dict({key: value})
        problems = list(value_problems(cfg.to_dict()))
        assert len(problems) == 1, (value, problems)
        assert problems[0].startswith(f"config key {key.replace('.0.', '[0].')}"), problems


def test_the_numbers_of_a_config_that_works_pass(tmp_path: Path) -> None:
    """Red when a legal value, or a key of the same name in a class from elsewhere, is refused."""
    cfg = toy_config(tmp_path)
    cfg.merge_from_dict({"train_cfg.max_hours": 0.5, "randomness.seed": None, "optim_wrapper.optimizer.lr": 0})
    cfg.merge_from_dict({"custom_hooks": [dict(type="elsewhere.Hook", interval=-1, decay=7)]})
    settings = dict(gradient_accumulation_steps="auto", gradient_clipping="auto")
    cfg.strategy = dict(type="sa2va_native.engine.run.strategy.Sa2VADeepSpeedStrategy", config=settings)
    assert not list(value_problems(cfg.to_dict()))


def test_the_config_check_asks_for_values(tmp_path: Path) -> None:
    """Red when neither the start nor the dry run looks at them."""
    cfg = toy_config(tmp_path)
    cfg.train_dataloader.batch_size = 0
    with pytest.raises(ConfigError, match=r"train_dataloader\.batch_size = 0: expected a whole number, 1 or more"):
        check_config(cfg)


@pytest.mark.parametrize(
    ("key", "value", "package"),
    [
        ("visualizer.vis_backends", [dict(type="ClearMLVisBackend")], "clearml"),
        ("model.mllm.attention", "flash_attention_2", "flash_attn"),
    ],
)
def test_a_choice_whose_package_is_missing_is_named(
    tmp_path: Path, key: str, value: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when the run ends in an import after the model was built."""
    monkeypatch.setattr("sa2va_native.engine.config.packages.find_spec", lambda name: None)
    cfg = toy_config(tmp_path)
    cfg.merge_from_dict({key: value})
    (problem,) = package_problems(cfg.to_dict())
    assert f"needs the package {package}, not installed here: pip install" in problem
    assert any(package in one for one in config_problems(cfg))


@pytest.mark.parametrize(
    ("key", "value"),
    [("train_dataloader", 5), ("model", "Sa2VA"), ("default_hooks", [1]), ("randomness", None), ("env_cfg", None)],
)
def test_a_part_that_is_no_dict_is_named(tmp_path: Path, key: str, value: Any) -> None:
    """Red when it ends in an AttributeError that names no place."""
    cfg = toy_config(tmp_path)
    cfg[key] = value
    with pytest.raises(ConfigError, match=f"config key {key} = .*: expected a dict"):
        require_sections(cfg)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("custom_hooks", 0),
        ("custom_hooks", [5]),
        ("visualizer.vis_backends", "abc"),
        ("env_cfg.mp_cfg", 5),
        ("env_cfg.dist_cfg", [1, 2]),
        ("env_cfg.mp_cfg.mp_start_method", [1, 2]),
        ("env_cfg.mp_cfg.mp_start_method", "forks"),
        ("log_level", "LOUD"),
    ],
)
def test_what_a_runner_cannot_be_made_of_is_named(key: str, value: Any) -> None:
    """Red when the start ends in MMEngine's TypeError, which names no place, and the dry run takes it."""
    cfg = read_file(ROOT / "configs/pseudo_gumbel_tiny.py")
    assert not list(completeness_problems(cfg))
    *parts, name = key.split(".")
    functools.reduce(lambda part, one: part[one], parts, cfg)[name] = value
    (problem,) = completeness_problems(cfg)
    assert problem.startswith(f"config key {key} = {value!r}: expected ")


@pytest.mark.parametrize(
    ("tool", "missing"),
    [
        (("train.py", "CONFIG", "--work-dir", "FOLDER"), "model, train_dataloader, train_cfg, optim_wrapper are"),
        (("train.py", "CONFIG", "--dry-run"), "model, train_dataloader, train_cfg, optim_wrapper are"),
        (("model_info.py", "CONFIG"), "model, train_dataloader, train_cfg, optim_wrapper are"),
        (("diagnose_cycle.py", "CONFIG"), "model, train_dataloader, train_cfg, optim_wrapper are"),
        (("test.py", "CONFIG"), "model, test_dataloader, test_cfg, test_evaluator are"),
        (("check_data.py", "CONFIG"), "train_dataloader is"),
        (("browse_data.py", "CONFIG", "--out", "FOLDER/a.png"), "train_dataloader is"),
    ],
)
def test_a_config_without_a_base_is_told_what_it_lacks(tmp_path: Path, tool: tuple[str, ...], missing: str) -> None:
    """Red when it ends in a KeyError or an AttributeError, in the dry run in one for each check."""
    config = tmp_path / "mine.py"
    config.write_text("log_level = 'INFO'\nmodel = None\n")
    named = [part.replace("CONFIG", str(config)).replace("FOLDER", str(tmp_path / "w")) for part in tool[1:]]
    (ended,) = call_tool(ROOT / "tools" / tool[0], *named)
    assert ended.status == 1, ended.output
    assert f"config key {missing} missing. Inherit" in ended.output
    assert "Error: '" not in ended.output
    assert "Traceback" not in ended.output
