"""Sizes of the data that the model does not take are named before anything is built."""

from __future__ import annotations

from typing import Any

import pytest

from sa2va_native.datasets.transforms import SampleTransform
from sa2va_native.engine.config.config_check import config_problems, resolve_type
from sa2va_native.engine.config.sizes import model_sizes
from sa2va_native.engine.run import launch
from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import ROOT
from sa2va_native.hooks.config_check_hook import ConfigCheckHook
from sa2va_native.inference.sa2va_inference import Sa2VAInference
from tests.tiny import tiny_sa2va

TINY = str(ROOT / "configs/pseudo_gumbel_tiny.py")
WRONG = {
    f"train_dataloader.dataset.transform.{name}": value
    for name, value in {"image_size": 96, "grid_size": 4, "mask_size": 64}.items()
}


def test_every_size_is_compared() -> None:
    """Red when a run dies with an IndexError in its first step."""
    problems = list(config_problems(launch.read_config(TINY, WRONG)))
    assert [problem.partition(" (")[0] for problem in problems] == [
        "train_dataloader.dataset.transform.image_size = 96, but the model takes 128",
        "train_dataloader.dataset.transform.grid_size = 4, but the model takes 8",
        "train_dataloader.dataset.transform.mask_size = 64, but the model takes 32",
    ]
    assert "Set train_dataloader.dataset.transform.mask_size=32, or change the model." in problems[-1]


def test_a_start_refuses_them_with_the_same_line() -> None:
    """Our tools before anything is built, and the hook, e.g. under ``xtuner train``. The test set's sizes count too."""
    expected = r"test_dataloader.dataset.transform.grounding_size = 64, but the model takes 128 \(model.sa2va.grounding"
    options = {"test_dataloader.dataset.transform.grounding_size": 64}
    with pytest.raises(ConfigError, match=expected):
        launch.load_config(TINY, options)
    with pytest.raises(ConfigError, match=expected):
        ConfigCheckHook().before_run(type("Runner", (), {"cfg": launch.read_config(TINY, options)}))


@pytest.mark.parametrize(
    ("name", "sizes"), [("4b", (448, 1024, 16, 256)), ("mid", (448, 1024, 16, 256)), ("tiny", (128, 128, 8, 32))]
)
def test_the_sizes_of_the_shipped_models(name: str, sizes: tuple[int, ...]) -> None:
    model = launch.read_config(str(ROOT / f"configs/sa2va_{name}.py")).model
    names = ("image_size", "grounding_size", "grid_size", "mask_size")
    assert tuple(model_sizes(model, resolve_type)[name][0] for name in names) == sizes


def test_the_sizes_of_a_config_are_those_of_the_model_built_from_it() -> None:
    """Red when the config is read by another rule than the model's classes follow."""
    transform: Any = Sa2VAInference(tiny_sa2va()).transform
    sizes = model_sizes(launch.read_config(TINY).model.sa2va, resolve_type)
    assert isinstance(transform, SampleTransform)
    assert {name: size for name, (size, _) in sizes.items()} == {name: getattr(transform, name) for name in sizes}


@pytest.mark.parametrize("key", [None, "type"])
def test_a_model_that_lacks_a_half_is_named(key: str | None) -> None:
    """Red when the start dies with a KeyError."""
    cfg = launch.read_config(TINY)
    cfg.model.sa2va.pop("grounding") if key is None else cfg.model.sa2va.grounding.pop(key)
    assert list(config_problems(cfg)) == [
        "config key model.sa2va.grounding has no type. Give the class of that half, as in configs/_base_/models."
    ]
