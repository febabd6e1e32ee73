"""The shipped configs are plain Python that states what it is, without names or dicts that act at a distance."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from sa2va_native.engine.config.provenance import run_config
from sa2va_native.files.paths import ROOT
from tests.tiny import tiny_pseudo_gumbel

CONFIGS = ROOT / "configs"
ALL = sorted(CONFIGS.rglob("*.py"))
SHIPPED = [path for path in ALL if "_base_" not in path.parts]


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_private_name_does_not_leave_its_file(path: Path) -> None:
    """Red when a config needs a name that Python's ``import *`` leaves out, and MMEngine's parser alone takes along."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {alias.asname or alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert {name for name in used if name.startswith("_")} <= bound


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_no_dict_stands_in_two_places(path: Path) -> None:
    """Red when a child that changes a value in one place changes it in another one too, e.g. of train and test data."""
    names = {name: value for name, value in run_config(path).items() if not name.startswith("_")}
    times = Counter(id(one) for one in _containers(names))
    assert max(times.values()) == 1


def test_reading_a_config_leaves_the_others_as_they_are() -> None:
    """Red when the tiny config's ``top_k`` is that of 4B afterwards."""
    before = {path: Config.fromfile(path) for path in SHIPPED}
    dicts = {path: cfg.to_dict() for path, cfg in before.items()}
    for path in reversed(SHIPPED):
        assert Config.fromfile(path).to_dict() == dicts[path]
        assert before[path].to_dict() == dicts[path]


def test_the_4b_config_alone_tells_the_method() -> None:
    """Red when a value of the method, its sources or the ZeRO stage moves to a file that a reader has to look for."""
    text = (CONFIGS / "pseudo_gumbel_4b.py").read_text()
    for part in (
        "from .sa2va_4b import *", "zero2", "temperature=0.7", "top_k=128", "mask_ratio=0.25", "decay=0.999",
        "interval=10", "interval=100", "SavPairs", "Sa1b", "OpenImages", '("cycle", "refer")',
    ):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize("size", ["tiny", "mid"])
def test_the_smaller_sizes_have_the_method_of_4b(size: str) -> None:
    """Red when a child does not follow a change of the method, or changes more of it than it says."""
    method, base = (Config.fromfile(CONFIGS / f"pseudo_gumbel_{one}.py").to_dict() for one in (size, "4b"))
    changed = {"tiny": {"top_k": 64}, "mid": {}}[size]
    assert method["model"]["estimator"] == {**base["model"]["estimator"], **changed}
    assert {**method["model"], "sa2va": 0, "estimator": 0} == {**base["model"], "sa2va": 0, "estimator": 0}
    assert method["default_hooks"].keys() == base["default_hooks"].keys()
    assert method["train_dataloader"]["batch_sampler"] == base["train_dataloader"]["batch_sampler"]
    supervised = Config.fromfile(CONFIGS / f"sa2va_{size}.py").to_dict()
    assert method["model"]["sa2va"] == supervised["model"]
    for key in ("optim_wrapper", "param_scheduler", "train_cfg", "test_dataloader", "test_evaluator"):
        assert method[key] == supervised[key], key


@pytest.mark.parametrize("size", ["tiny", "mid", "4b"])
def test_word_trials_differ_from_the_specified_method_in_what_they_state(size: str) -> None:
    """Red when a size has another recipe than 4B, or a value of another estimator stays behind."""
    trials, base = (
        Config.fromfile(CONFIGS / f"{name}_{size}.py").to_dict() for name in ("word_trials", "pseudo_gumbel")
    )
    recipe = Config.fromfile(CONFIGS / "word_trials_4b.py").to_dict()["model"]
    assert {**trials["model"], "sa2va": 0} == {**recipe, "sa2va": 0}
    assert trials["model"]["sa2va"] == base["model"]["sa2va"]
    scheduled = {"optim_wrapper", "param_scheduler"} if size == "tiny" else set()
    public = {name for name in base if not name.startswith("_")}
    assert {name for name in public if trials[name] != base[name]} == {"model", *scheduled}


@pytest.mark.parametrize(
    "name", ["word_trials_masks_tiny", "word_trials_masks_mid", "word_trials_masks_4b", "soft_gumbel_masks_tiny"]
)
def test_masks_alone_differ_in_what_they_state(name: str) -> None:
    """Red when a size has another recipe than its parent beside ReferBack, or an expression slips back in."""
    masks, parent = (Config.fromfile(CONFIGS / f"{one}.py").to_dict() for one in (name, name.replace("_masks", "")))
    public = {key for key in parent if not key.startswith("_")}
    assert {key for key in public if masks[key] != parent[key]} == {"model", "train_dataloader"}
    *others, refer_back = masks["model"].pop("regularizers")
    assert others == parent["model"].pop("regularizers", [])
    beside_expressions = Config.fromfile(CONFIGS / "word_trials_refer_back_tiny.py").to_dict()["model"]
    assert [refer_back] == beside_expressions["regularizers"]
    assert masks["model"] == parent["model"]
    ours, theirs = masks["train_dataloader"], parent["train_dataloader"]
    cycle = [source for source in theirs["dataset"].pop("sources") if source["kind"] == "cycle"]
    assert ours["dataset"].pop("sources") == cycle != []
    assert (ours["batch_sampler"].pop("pattern"), theirs["batch_sampler"].pop("pattern")[0]) == (("cycle",), "cycle")
    assert ours == theirs


def test_the_mask_side_is_slower_where_the_schedule_says_so() -> None:
    """Red when a rate's multiplier names no parameter, and so has no effect."""
    wrapper = Config.fromfile(CONFIGS / "word_trials_tiny.py").optim_wrapper
    model = tiny_pseudo_gumbel("word_trials_tiny")
    rates = {group["lr"] for group in build_optim_wrapper(model, wrapper).optimizer.param_groups}
    assert sorted(rates) == pytest.approx([1e-4, 1e-3])
    slow = [
        name for name, _ in model.named_parameters() if any(key in name for key in wrapper.paramwise_cfg.custom_keys)
    ]
    assert {model.student.part_of(name.removeprefix("student.")) for name in slow} == {"mask_decoder", "seg_head"}


def _containers(value: Any) -> list[Any]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    own = [value] if isinstance(value, (dict, list)) else []
    return own + [one for entry in inside for one in _containers(entry)]
