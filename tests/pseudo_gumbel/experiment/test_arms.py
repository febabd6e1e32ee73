"""The arms: every one is a config that can be read, and names select them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pseudo_gumbel.experiment.arms import BASES, CORE, GROUPS, RATES, SCHEDULES, best, find, grid
from pseudo_gumbel.experiment.runs import Run
from sa2va_native.engine.config.find_config import shipped_configs
from sa2va_native.errors import ConfigError

ARMS = {arm.name: arm for arm in find(None, GROUPS)}


@pytest.mark.parametrize("name", [arm.name for group in ("core", "ablations") for arm in GROUPS[group]])
def test_every_arm_is_a_config(name: str, tmp_path: Path) -> None:
    """Red when an arm sets a key that its config has no longer, or a class is renamed."""
    from sa2va_native.engine.run.launch import load_config

    arm = ARMS[name]
    file = tmp_path / "config.py"
    file.write_text(Run(arm, "shipped", 0, ("val", "test"), tmp_path).config())
    cfg = load_config(str(file), work_dir=str(tmp_path))
    assert cfg.train_dataloader.batch_size == 16
    assert [source["name"] for source in cfg.test_dataloader.dataset.sources] == ["val", "val", "test", "test"]
    assert {metric["source"] for metric in cfg.test_evaluator} == {"val", "test"}
    assert "caption_panel" not in cfg.default_hooks


def test_names_are_folders_of_their_own() -> None:
    """Red when two arms share a name, so that one's results count for the other."""
    names = [arm.name for group in GROUPS.values() for arm in group]
    assert len(set(names)) == len(names)
    assert all(arm.config in shipped_configs() for arm in CORE)


def test_names_select_arms() -> None:
    """Red when a pattern leaves the asked group, or a name of another group is not found."""
    assert [arm.name for arm in find(["spec*", "labelled"], ["core"])] == [
        "labelled",
        "specified",
        "specified_teacher_reader",
    ]
    assert [arm.name for arm in find(["word_trials/k_4"], ["core"])] == ["word_trials/k_4"]
    with pytest.raises(ConfigError, match="Did you mean 'labelled'"):
        find(["labeled"], ["core"])


def test_each_arm_has_the_same_grid() -> None:
    """Red when an arm gets more or fewer schedules to choose from than another."""
    arms = grid(CORE)
    counts = {
        name: sum(arm.name.split("/")[0] == name for arm in arms) for name in {a.name.split("/")[0] for a in arms}
    }
    assert set(counts.values()) == {len(RATES) * len(SCHEDULES)}
    assert {"labelled", "specified", "word_trials", "soft_gumbel"} <= set(counts)
    assert "base" not in counts


def test_the_best_arm_is_run_where_it_was_chosen() -> None:
    """Red when a schedule chosen on one base is run on another."""
    (arm,) = best({"partner": {"labelled": {"lr": 3e-4, "shape": "cosine"}}})
    assert arm.bases == ("partner",)
    assert arm.values["optim_wrapper.optimizer.lr"] == 3e-4
    assert arm.values["param_scheduler"] == SCHEDULES["cosine"]["param_scheduler"]
    assert set(arm.bases) < set(BASES)
