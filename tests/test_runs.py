"""Whole runs of the shipped configs on small generated data: ranks, ZeRO stages, resume, ablations, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

from pseudo_gumbel.hooks.stranger_hook import StrangerHook
from sa2va_native.datasets.scenes.scene_set import write_scene_set
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.files.paths import ROOT
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.toy import whole_weights

SIZES = {"labelled": 6, "mask_only": 8, "test": 2, "test_heldout": 2}
#: A config of each family of estimators, and the ZeRO stage that it is tried under.
ESTIMATORS: list[tuple[str, int]] = [
    ("score_function_tiny", 2),
    ("best_of_n_tiny", 2),
    ("word_trials_tiny", 2),
    ("word_trials_tiny", 3),
    ("word_trials_contrast_tiny", 2),
    ("word_trials_refer_back_tiny", 3),
]
#: The specified method, and the recipes: words that are read without gradient, and learning to refer from masks alone.
RECIPES = ["pseudo_gumbel_tiny", "word_trials_tiny", "word_trials_masks_tiny"]
ABLATIONS = sorted(path.stem for path in (ROOT / "configs/ablations").glob("*.py") if not path.stem.endswith("_4b"))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene_set(tmp_path_factory.mktemp("data") / "scenes", sizes=SIZES)


def configure(
    name: str,
    scenes: Path,
    work_dir: Path,
    steps: int,
    batch_size: int,
    stage: int,
    resume: str | None,
    checkpointing: bool = False,
    features: Path | None = None,
) -> Any:
    cfg = launch.load_config(str(ROOT / f"configs/{name}.py"), None, str(work_dir))
    for source in cfg.train_dataloader.dataset.sources + cfg.test_dataloader.dataset.sources:
        source.dataset.update(root=str(scenes), settings=dict(sizes=SIZES))
    cfg.train_dataloader.batch_size = batch_size
    cfg.train_cfg.max_steps = steps
    cfg.default_hooks.checkpoint.interval = 2
    if checkpointing:
        cfg.model.sa2va.gradient_checkpointing = True
    if features:
        cfg.model.sa2va.feature_cache = dict(folder=str(features), max_gb=1)
    cfg.launcher = "pytorch"
    launch.use_checkpoint(cfg, resume, None)
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    return cfg


def train(*args: Any) -> dict[str, torch.Tensor]:
    """Tensors of student and teacher after a run, whole, by name."""
    return train_with_losses(*args)[0]


def train_with_losses(*args: Any) -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray]]:
    """The same, and every loss of every micro-batch by name."""
    runner = launch.build_runner(configure(*args))
    runner.train()
    losses = {
        name: log.data[0] for name, log in runner.message_hub.log_scalars.items() if name.startswith("train/loss")
    }
    model = unwrap_model(runner.model)
    state = {name: value.float() for name, value in whole_weights(runner).items()}
    if teacher := getattr(model, "teacher", None):
        state |= {f"teacher.{name}": tensor for name, tensor in teacher.state_dict().items()}
    return state, losses


def furthest(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_one_rank_equals_two_ranks_under_every_zero_stage(scenes: Path, tmp_path: Path, name: str) -> None:
    """After 5 steps of cycle and expressions in float32, to 1e-5.

    Red when a draw depends on the rank, a gradient is not synchronised, a stage loses a tensor, or a layer that is
    computed again sees other weights.
    """
    start = run_ranks(1, train, name, scenes, tmp_path / "start", 1, 4, 1, None, timeout=300)[0]
    one = run_ranks(1, train, name, scenes, tmp_path / "one", 5, 4, 1, None, timeout=300)[0]
    assert furthest(start, one) > 1e-4
    for stage in (1, 2, 3):
        two = run_ranks(2, train, name, scenes, tmp_path / f"zero{stage}", 5, 2, stage, None, timeout=500)
        for rank in two:
            assert furthest(one, rank) < 1e-5, f"ZeRO-{stage}"
    for stage in (2, 3):
        again = run_ranks(2, train, name, scenes, tmp_path / f"again{stage}", 5, 2, stage, None, True, timeout=500)
        assert furthest(one, again[0]) < 1e-5, f"ZeRO-{stage} with gradient checkpointing"


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "ranks"), [(0, 1), (2, 2)])
@pytest.mark.parametrize("name", RECIPES)
def test_resume_equals_the_run_that_was_not_stopped(
    scenes: Path, tmp_path: Path, name: str, stage: int, ranks: int
) -> None:
    """Bit for bit, teacher included."""
    whole = run_ranks(ranks, train, name, scenes, tmp_path / "whole", 4, 2, stage, None, timeout=300)
    run_ranks(ranks, train, name, scenes, tmp_path / "cut", 2, 2, stage, None, timeout=300)
    resumed = run_ranks(ranks, train, name, scenes, tmp_path / "cut", 4, 2, stage, "", timeout=300)
    for expected, got in zip(whole, resumed, strict=True):
        assert expected.keys() == got.keys()
        assert all(torch.equal(expected[key], got[key]) for key in expected)


def train_with_alarms(*args: Any) -> tuple[dict[str, torch.Tensor], dict[str, list[float]]]:
    """The same tensors and those of the stranger, and each ``escape/`` figure of each optimizer step."""
    cfg = configure(*args)
    cfg.default_hooks.reward_escape.update(interval=1, window=6)
    cfg.default_hooks.stranger = dict(type=StrangerHook.__name__, interval=1, window=6)
    runner = launch.build_runner(cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    figures = {name: log.data[0].tolist() for name, log in scalars.items() if name.startswith("train/escape/")}
    state = {name: value.float() for name, value in whole_weights(runner).items()}
    state |= {f"teacher.{name}": tensor for name, tensor in unwrap_model(runner.model).teacher.state_dict().items()}
    (stranger,) = [hook for hook in runner.hooks if isinstance(hook, StrangerHook)]
    return state | {f"stranger.{name}": tensor for name, tensor in stranger.shadow.state_dict().items()}, figures


@pytest.mark.slow
def test_alarms_are_those_of_the_joint_batch_and_change_nothing(scenes: Path, tmp_path: Path) -> None:
    """One rank, two under ZeRO-3, and one that is stopped and resumed.

    Red when a rank's captions count alone or in another order, ranks wait for each other, an alarm's reading changes
    the training, or a resumed run meets another stranger.
    """
    name = "pseudo_gumbel_tiny"
    plain = run_ranks(1, train, name, scenes, tmp_path / "plain", 4, 4, 0, None, timeout=600)[0]
    one, figures = run_ranks(1, train_with_alarms, name, scenes, tmp_path / "one", 4, 4, 0, None, timeout=600)[0]
    assert all(torch.equal(plain[key], one[key]) for key in plain)
    assert figures.keys() == {
        f"train/escape/{figure}"
        for figure in ("empty", "elsewhere", "distinct", "commonest", "own", "own_minus_stranger")
    }
    assert all(len(values) == 4 for values in figures.values())
    assert figures["train/escape/own_minus_stranger"][0] == 0, "the stranger is the student until the first step"
    for _, same in run_ranks(2, train_with_alarms, name, scenes, tmp_path / "two", 4, 2, 3, None, timeout=900):
        for figure, values in figures.items():
            assert same[figure] == pytest.approx(values, abs=0.01 if "own" in figure else 1e-6), figure
    run_ranks(1, train_with_alarms, name, scenes, tmp_path / "cut", 2, 4, 0, None, timeout=600)
    resumed, _ = run_ranks(1, train_with_alarms, name, scenes, tmp_path / "cut", 4, 4, 0, "", timeout=600)[0]
    assert one.keys() == resumed.keys()
    assert all(torch.equal(one[key], resumed[key]) for key in one)


@pytest.mark.slow
def test_a_run_with_a_feature_cache_equals_one_without_and_goes_on(scenes: Path, tmp_path: Path) -> None:
    """To 1e-5 with ZeRO-2 and two ranks; bit for bit after a resume, where one rank knows what it has stored.

    Red when features of another picture or of weights before loading are read, or a checkpoint misses something.
    """
    name = "pseudo_gumbel_tiny"
    plain = run_ranks(2, train, name, scenes, tmp_path / "plain", 4, 2, 2, None, timeout=300)[0]
    for _ in range(2):  # one that stores, one that reads
        cache = (False, tmp_path / "shared")
        for rank in run_ranks(2, train, name, scenes, tmp_path / "two", 4, 2, 2, None, *cache, timeout=300):
            assert furthest(plain, rank) < 1e-5
    whole = run_ranks(1, train, name, scenes, tmp_path / "whole", 4, 2, 0, None, False, tmp_path / "a", timeout=300)[0]
    for steps in (2, 4):
        arguments = (name, scenes, tmp_path / "cut", steps, 2, 0, "", False, tmp_path / "b")
        resumed = run_ranks(1, train, *arguments, timeout=300)[0]
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_two_ranks_then_four_then_one_equal_two_all_along(scenes: Path, tmp_path: Path, stage: int) -> None:
    """In float32, of the same global batch, to 1e-5, teacher included.

    Red when the optimizer, the teacher, a counter or the sampler's position does not find its place on other ranks.
    """
    name = "pseudo_gumbel_tiny"
    whole = run_ranks(2, train, name, scenes, tmp_path / "whole", 3, 2, stage, None, timeout=300)[0]
    for ranks, steps in ((2, 1), (4, 2), (1, 3)):
        arguments = (name, scenes, tmp_path / "cut", steps, 4 // ranks, stage, "")
        for rank in run_ranks(ranks, train, *arguments, timeout=500):
            assert steps < 3 or furthest(whole, rank) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sa2va_tiny", *(f"ablations/{name}" for name in ABLATIONS)])
def test_every_config_trains(scenes: Path, tmp_path: Path, name: str) -> None:
    state = run_ranks(1, train, name, scenes, tmp_path, 1, 2, 0, None, timeout=300)[0]
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "stage"), ESTIMATORS)
def test_every_family_of_estimators_trains_on_two_ranks(scenes: Path, tmp_path: Path, name: str, stage: int) -> None:
    """Ten steps. Red when a loss is not finite, or ranks read another number of times and wait or drift apart."""
    start = run_ranks(1, train, name, scenes, tmp_path / "start", 1, 4, 0, None, timeout=900)[0]
    arguments = (name, scenes, tmp_path / "run", 10, 2, stage, None)
    (first, losses), (second, _) = run_ranks(2, train_with_losses, *arguments, timeout=900)
    assert all(torch.isfinite(tensor).all() for tensor in first.values())
    assert furthest(first, second) == 0
    assert furthest(start, first) > 1e-4
    assert min(map(len, losses.values())) >= 10
    assert all(np.isfinite(values).all() for values in losses.values())


def test_ablations_change_one_thing() -> None:
    """Each differs from its base in one value, and the 4B one in the same as the tiny one.

    Red when a child config silently has no effect, or the two sizes ablate different things.
    """
    tiny, large = (Config.fromfile(ROOT / f"configs/pseudo_gumbel_{size}.py").to_dict() for size in ("tiny", "4b"))
    assert {path.stem for path in (ROOT / "configs/ablations").glob("*_4b.py")} == {f"{name}_4b" for name in ABLATIONS}
    for name in ABLATIONS:
        ablated = [Config.fromfile(ROOT / f"configs/ablations/{file}.py").to_dict() for file in (name, f"{name}_4b")]
        (change,) = _differences(tiny, ablated[0])
        assert [change] == _differences(large, ablated[1]), name
        values = [_value(config, change) for config in ablated]
        assert values[0] == _at_tiny_size(values[1]), name


def _differences(a: Any, b: Any, path: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict) and path.count(".") < 2:
        return [one for key in a.keys() | b.keys() for one in _differences(a.get(key), b.get(key), f"{path}.{key}")]
    return [] if a == b else [path]


def _at_tiny_size(value: Any) -> Any:
    sizes = {"top_k": 64, "num_points": 196}
    if isinstance(value, dict):
        return {key: sizes.get(key, _at_tiny_size(one)) for key, one in value.items()}
    return value


def _value(config: Any, path: str) -> Any:
    for key in path.split(".")[1:]:
        config = config[key]
    return config


def test_the_test_set_is_whole() -> None:
    cfg = Config.fromfile(ROOT / "configs/sa2va_tiny.py")
    assert {(source.name, source.kind) for source in cfg.test_dataloader.dataset.sources} == {
        (name, kind) for name in ("test", "test_heldout") for kind in ("refer", "cycle")
    }
    assert np.unique([metric.source for metric in cfg.test_evaluator]).tolist() == ["test", "test_heldout"]
