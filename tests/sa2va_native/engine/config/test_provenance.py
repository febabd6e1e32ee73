"""Each value of a config knows the file that set it."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from sa2va_native.engine.config.provenance import leaves, provenance
from sa2va_native.files.paths import ROOT
from tests.ranks import call_tool

CONFIGS = ROOT / "configs"
SHIPPED = sorted(path for path in CONFIGS.rglob("*.py") if "_base_" not in path.parts)


def test_the_last_file_that_set_a_value_is_named() -> None:
    """Values that a base, a base's base, and the child set. Red when all is the child's, which holds all in the end."""
    origins = provenance(CONFIGS / "ablations/no_ema.py")
    for place, file in {
        ("default_hooks", "ema_teacher", "decay"): "ablations/no_ema.py",
        ("default_hooks", "caption_panel", "interval"): "pseudo_gumbel_tiny.py",
        ("default_hooks", "logger", "interval"): "_base_/default_runtime.py",
        ("model", "estimator", "temperature"): "pseudo_gumbel_4b.py",
        # `sa2va=model` only puts the base's dict elsewhere
        ("model", "sa2va", "lora", "r"): "_base_/models/sa2va_tiny.py",
        ("train_dataloader", "dataset", "sources", 0, "dataset", "split"): "pseudo_gumbel_tiny.py",
        ("train_dataloader", "dataset", "sources", 1, "dataset", "split"): "_base_/datasets/scenes.py",
        ("param_scheduler", 0, "end"): "_base_/schedules/tiny.py",
        ("log_level",): "_base_/default_runtime.py",
    }.items():
        assert origins[place] == CONFIGS / file, place


def test_a_value_set_in_a_list_is_the_childs() -> None:
    """Red when only dicts are looked into."""
    origins = provenance(CONFIGS / "sa2va_mid.py")
    assert origins["param_scheduler", 0, "end"] == CONFIGS / "sa2va_mid.py"
    assert origins["param_scheduler", 0, "start_factor"] == CONFIGS / "_base_/schedules/cosine.py"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_value_has_an_origin(path: Path) -> None:
    """Red when our reading of a config has other values than MMEngine's, which the run takes."""
    cfg = Config.fromfile(path).to_dict()
    assert {place for place, _ in leaves(cfg)} <= provenance(path).keys()


def test_a_config_that_sets_nothing_has_no_origins(tmp_path: Path) -> None:
    """Red when showing it ends in a traceback."""
    (tmp_path / "empty.py").touch()
    assert provenance(tmp_path / "empty.py") == {}


def test_the_tool_shows_values_and_their_files() -> None:
    """Child, base and command line in one picture. Red when an override is shown as the file's, or not at all."""
    tool, only = (
        ROOT / "tools/print_config.py",
        ["--only", "optim_wrapper.optimizer", "model.sa2va.lora", "model.estimator"],
    )
    override = ["--cfg-options", "optim_wrapper.optimizer.lr=0.5"]
    (ended,) = call_tool(tool, CONFIGS / "pseudo_gumbel_4b.py", *only, *override)
    assert ended.status == 0, ended.output
    shown = [line.split() for line in ended.output.splitlines()]
    assert ["lr", "0.5", "command", "line"] in shown
    assert ["weight_decay", "0.05", "_base_/schedules/cosine.py"] in shown
    assert ["r", "128", "_base_/models/sa2va_internvl25_4b.py"] in shown
    assert ["top_k", "128", "pseudo_gumbel_4b.py"] in shown
    assert not [line for line in shown if line[:1] == ["max_steps"]], "outside --only"
    assert shown.index(["model"]) < shown.index(["lora"]), "the names above a part say where it is"


def test_a_part_that_is_not_there_is_named() -> None:
    (ended,) = call_tool(ROOT / "tools/print_config.py", CONFIGS / "sa2va_tiny.py", "--only", "modle.lora")
    assert ended.status == 1
    assert "ConfigError: --only modle.lora: the config has no such key. Did you mean 'model.lora'?" in ended.output
