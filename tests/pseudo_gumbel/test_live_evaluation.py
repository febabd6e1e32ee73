"""A run that is evaluated while it trains ends with the weights of one that is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import ValLoop

from pseudo_gumbel.teacher_val_loop import TeacherValLoop
from sa2va_native.engine.checkpoints.weights import load_weights
from sa2va_native.engine.config.source_metrics import require_metrics
from sa2va_native.engine.config.values import require_complete
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import ConfigError
from sa2va_native.evaluation.scalar_logs import read_scalars
from sa2va_native.files.paths import ROOT
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.toy import whole_weights

LOADERS = ("val_dataloader", "test_dataloader")
SIZES = {"labelled": 6, "mask_only": 8, "test": 2, "test_heldout": 2}


def build(work_dir: Path, stage: int, evaluate: bool, config: str = "pseudo_gumbel_tiny") -> Any:
    """A run with dropout and a feature cache; evaluated on the very pictures that it trains on, at each step."""
    cfg = launch.load_config(str(ROOT / f"configs/{config}.py"), None, str(work_dir))
    for source in cfg.train_dataloader.dataset.sources + cfg.test_dataloader.dataset.sources:
        source.dataset.update(root=str(work_dir.with_name("scenes")), settings=dict(sizes=SIZES))
    cfg.train_dataloader.batch_size = 2
    cfg.train_cfg.update(max_steps=3, val_interval=1)
    model = cfg.model.sa2va if "sa2va" in cfg.model else cfg.model
    model.lora.lora_dropout = 0.5
    model.feature_cache = dict(folder=str(work_dir / "features"), max_gb=1)
    if evaluate:
        loader = cfg.test_dataloader.to_dict()
        sources = [source.to_dict() for source in cfg.train_dataloader.dataset.sources]
        loader["dataset"]["sources"] = [{**source, "name": source["kind"], "max_samples": 5} for source in sources]
        loader["batch_size"] = 3
        cfg.val_dataloader = loader
        figures = {"refer": "ReferringMetric", "cycle": "CycleMetric"}
        cfg.val_evaluator = [dict(type=figures[one["kind"]], source=one["kind"]) for one in sources]
        loop = "TeacherValLoop" if "sa2va" in cfg.model else "ValLoop"
        cfg.val_cfg = dict(type=loop)  # by name, as the config is written
        cfg.default_hooks.checkpoint.update(save_best="refer/refer_ciou")
    cfg.launcher = "pytorch"
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    return launch.build_runner(cfg)


def train(work_dir: Path, *options: Any) -> dict[str, torch.Tensor]:
    """Tensors of student and teacher after a run, by name."""
    runner = build(work_dir, *options)
    runner.train()
    teacher = getattr(unwrap_model(runner.model), "teacher", None)
    shadow = {} if teacher is None else {f"teacher {name}": one for name, one in teacher.state_dict().items()}
    return {**whole_weights(runner), **shadow}


def figures_of(work_dir: Path, checkpoint: str, key: str | None) -> dict[str, float]:
    """Of a checkpoint's student or teacher, evaluated alone."""
    runner = build(work_dir.with_name("again"), 0, True)
    load_weights(runner.model, checkpoint, key)
    loop = ValLoop(runner, runner._val_dataloader, runner._val_evaluator)
    return loop.run()


def logged(work_dir: Path) -> dict[str, dict[int, float]]:
    """The figures of the evaluations, by step."""
    return {
        name: dict(points) for name, points in read_scalars(work_dir).items() if "refer/" in name or "cycle/" in name
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "stage", "ranks"),
    [("pseudo_gumbel_tiny", 0, 1), ("word_trials_tiny", 2, 2), ("sa2va_tiny", 0, 1)],
)
def test_the_weights_are_those_of_a_run_without_it(tmp_path: Path, config: str, stage: int, ranks: int) -> None:
    """Red when an evaluation moves a random state, leaves dropout off or the teacher in, or fills the feature cache."""
    without = run_ranks(ranks, train, tmp_path / "without", stage, False, config, timeout=900)
    evaluated = run_ranks(ranks, train, tmp_path / "evaluated", stage, True, config, timeout=900)
    for one, other in zip(without, evaluated, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_student_and_teacher_are_what_their_checkpoint_gives_alone(tmp_path: Path) -> None:
    """Red when the teacher's figures are the student's, or the best checkpoint holds another step's weights."""
    run_ranks(1, train, tmp_path / "run", 0, True, timeout=900)
    evaluated = logged(tmp_path / "run")
    of_student = {"refer/refer_ciou", "refer/refer_giou", "cycle/cycle_iou", "cycle/cycle_giou"}
    assert evaluated.keys() == of_student | {f"teacher/{name}" for name in of_student}
    values = evaluated["refer/refer_ciou"]
    assert list(values) == [1, 2, 3]
    (best,) = (tmp_path / "run").glob("best_refer_refer_ciou_iter_*.pth")
    step = max(values, key=lambda step: (values[step], -step))
    assert best.name.endswith(f"iter_{2 * step}.pth"), "two micro-batches a step"
    for key, prefix in ((None, ""), ("ema_teacher", "teacher/")):
        (figures,) = run_ranks(1, figures_of, tmp_path / "run", str(best), key, timeout=900)
        assert figures == pytest.approx({name: evaluated[prefix + name][step] for name in of_student}, abs=1e-6)


def evaluate_without_teacher(work_dir: Path) -> str:
    runner = build(work_dir, 0, True)
    loop = TeacherValLoop(runner, runner._val_dataloader, runner._val_evaluator)
    with pytest.raises(ConfigError) as refused:
        loop.run()
    return str(refused.value)


def test_a_model_without_teacher_is_refused(tmp_path: Path) -> None:
    """Red when the student is evaluated twice, the second time as the teacher."""
    (said,) = run_ranks(1, evaluate_without_teacher, tmp_path / "run", timeout=600)
    assert "PseudoGumbel has no teacher. Add EMATeacherHook" in said


def test_the_example_of_the_page_is_a_config(tmp_path: Path) -> None:
    """Red when docs/evaluation.md shows a config that is refused, or whose evaluation reads the test set."""
    page = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S)
    (tmp_path / "mine.py").write_text(text)
    cfg = launch.load_config(str(tmp_path / "mine.py"), None, str(tmp_path / "run"))
    require_complete(cfg)
    require_metrics(cfg, "val")
    splits = {part: {one.dataset.split for one in cfg[part].dataset.sources} for part in LOADERS}
    assert splits == {"val_dataloader": {"val"}, "test_dataloader": {"test", "test_heldout"}}
    assert cfg.val_dataloader.dataset.keep_gt_masks
