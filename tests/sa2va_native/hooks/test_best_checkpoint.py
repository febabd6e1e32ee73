"""The checkpoint of the best evaluation: which one it is, that it is whole, and that a resumed run knows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import BaseLoop

from sa2va_native.engine.checkpoints.checkpointing import checkpoint_damage, find_latest_checkpoint, read_seal
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from tests.ranks import run_ranks
from tests.toy import toy_config, whole_weights

KEY = "val/refer_ciou"
#: By step, of which the second is the best, and the last of no number.
SCORES = {1: 0.2, 2: 0.6, 3: 0.4, 4: float("nan")}


def train(
    work_dir: Path, stage: int, steps: int, resume: str | None = None, scores: Any = None, key: Any = KEY
) -> dict[str, torch.Tensor]:
    """A checkpoint at each step, and an evaluation if a ``key`` is given."""
    cfg = toy_config(work_dir, steps, batch_size=2, model={"dropout": 0.5}, checkpoint_interval=1)
    cfg.default_hooks.logger = None  # it wants to know the evaluation's data
    cfg.default_hooks.checkpoint.update(save_best=key, save_last=True)
    cfg.train_cfg.val_interval = 1
    cfg.launcher = "pytorch"
    launch.use_checkpoint(cfg, resume, None)
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)

    class Evaluation(BaseLoop):
        def __init__(self) -> None: ...

        def run(self) -> dict[str, float]:
            torch.rand(1)  # as a data loader does
            figures = {KEY: (scores or SCORES)[runner.iter], "val/loss": float(runner.iter)}
            runner.call_hook("after_val_epoch", metrics=figures)
            return figures

    if key is not None:
        runner._val_loop = Evaluation()
    runner.train()
    return whole_weights(runner)


def best(work_dir: Path) -> list[str]:
    return sorted(path.name for path in work_dir.glob("best_*"))


@pytest.mark.parametrize(("stage", "ranks"), [(0, 1), (2, 2), (3, 1)])
def test_an_evaluation_leaves_the_weights_as_they_are(tmp_path: Path, stage: int, ranks: int) -> None:
    """Red when dropout goes on from where an evaluation left the random state."""
    without = run_ranks(ranks, train, tmp_path / "without", stage, 3, None, None, None)
    evaluated = run_ranks(ranks, train, tmp_path / "evaluated", stage, 3)
    for one, other in zip(without, evaluated, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("stage", "ranks"), [(0, 1), (2, 2)])
def test_the_best_is_kept_whole_and_resumes_like_any_other(tmp_path: Path, stage: int, ranks: int) -> None:
    """Red when a later, worse one replaces it, the one before stays, or it is another step's."""
    expected = run_ranks(ranks, train, tmp_path, stage, 4)
    assert best(tmp_path) == ["best_val_refer_ciou_iter_2.pth"]
    path = tmp_path / best(tmp_path)[0]
    assert checkpoint_damage(path) is None
    seal = read_seal(path)
    assert seal is not None
    assert seal.about["step"] == 2
    resumed = run_ranks(ranks, train, tmp_path, stage, 4, str(path))
    for one, other in zip(expected, resumed, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert best(tmp_path) == ["best_val_refer_ciou_iter_2.pth"]


def test_a_resumed_run_knows_what_was_best(tmp_path: Path) -> None:
    """Red when the checkpoint of the same step was written before the evaluation: then any later one is a new best."""
    run_ranks(1, train, tmp_path, 0, 2)
    run_ranks(1, train, tmp_path, 0, 4, "")
    assert best(tmp_path) == ["best_val_refer_ciou_iter_2.pth"]
    assert str(find_latest_checkpoint(tmp_path)).endswith("iter_4.pth"), "the best is not what a run goes on from"
    run_ranks(1, train, tmp_path, 0, 2, None, {1: 0.1, 2: 0.05})
    assert best(tmp_path) == ["best_val_refer_ciou_iter_1.pth"], "a new run begins anew"
    (earlier,) = (tmp_path / "earlier_runs").iterdir()
    assert best(earlier) == ["best_val_refer_ciou_iter_2.pth"]


def test_a_figure_that_nobody_reports_is_named(tmp_path: Path) -> None:
    """Red when it is a KeyError after hours of training."""
    with pytest.raises(RuntimeError, match=r"ConfigError: .*save_best='val/refer_iou'.*val/refer_ciou"):
        run_ranks(1, train, tmp_path, 0, 1, None, None, "val/refer_iou")


def test_several_figures_have_a_best_each(tmp_path: Path) -> None:
    """Red when the second one written holds what hooks had kept for the first."""
    run_ranks(1, train, tmp_path, 0, 3, None, None, [KEY, "val/loss"])
    assert best(tmp_path) == ["best_val_loss_iter_3.pth", "best_val_refer_ciou_iter_2.pth"]
    for name, step in zip(best(tmp_path), (3, 2), strict=True):
        states = torch.load(tmp_path / name, weights_only=False)
        assert states["meta"]["run"]["step"] == step
        assert len(states["random_states"]) == 1
