"""Where scalars and panels go, and under which number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer

from pseudo_gumbel.cli.train import parse_args
from sa2va_native.engine.config.config_check import config_problems
from sa2va_native.engine.config.trackers import TRACKERS, use_trackers
from sa2va_native.engine.run import launch
from sa2va_native.errors import ConfigError
from tests.toy import toy_config

WB = """
from mmengine.config import read_base

with read_base():
    from pseudo_gumbel.configs.sa2va_tiny import *

from mmengine.visualization import LocalVisBackend, WandbVisBackend

_settings = dict(project="x", mode="offline")
visualizer["vis_backends"] = [dict(type=WandbVisBackend, init_kwargs=_settings), dict(type=LocalVisBackend)]
"""


def test_a_config_that_names_a_tracker_which_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when the dry run lets it start, and the start ends in a traceback after the model was built."""
    monkeypatch.setattr("sa2va_native.engine.config.packages.find_spec", lambda name: None)
    (tmp_path / "wb.py").write_text(WB)
    problems = list(config_problems(launch.read_config(str(tmp_path / "wb.py"))))
    said = "vis_backends[0].type = WandbVisBackend needs the package wandb, not installed here: pip install wandb."
    assert [problem for problem in problems if said in problem]
    with pytest.raises(ConfigError, match="pip install wandb"):
        launch.load_config(str(tmp_path / "wb.py"))


def test_a_file_of_scalars_is_not_written_twice(tmp_path: Path) -> None:
    """Red when a config that has one gets a second, so that each line is there twice, or can no longer be dumped."""
    (tmp_path / "wb.py").write_text(WB)
    cfg = launch.read_config(str(tmp_path / "wb.py"))
    for _ in range(2):
        use_trackers(cfg, [])
        assert len(cfg.visualizer.vis_backends) == 2
    compile(cfg.pretty_text, "config", "exec")
    cfg = toy_config(tmp_path)
    for _ in range(2):
        use_trackers(cfg, [])
        assert [str(backend["type"]).rpartition(".")[2] for backend in cfg.visualizer.vis_backends] == [
            "JsonLinesVisBackend"
        ]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_missing_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when it is noticed after the model was built, or without the command that helps."""
    monkeypatch.setattr("sa2va_native.engine.config.trackers.find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=f"^--tracker {name} needs the package .*: pip install {name}[.]$"):
        use_trackers(toy_config(tmp_path), [name])


def test_trackers_are_listed_or_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """Red when the second option replaces the first, or a misspelt name trains without it."""
    asked = ["--tracker", "wandb,mlflow", "--tracker", "swanlab"]
    assert parse_args(["CONFIG", *asked], "train").tracker == ["wandb", "mlflow", "swanlab"]
    assert parse_args(["CONFIG"], "train").tracker == []
    with pytest.raises(SystemExit, match="2"):
        parse_args(["CONFIG", "--tracker", "wand"], "train")
    assert "wand: expected wandb, swanlab, mlflow, clearml" in capsys.readouterr().err


def test_a_step_has_one_number_everywhere(tmp_path: Path) -> None:
    """Three steps of two micro-batches. Red when TensorBoard or the JSON lines count micro-batches."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cfg = toy_config(tmp_path, steps=3, accumulation=2)
    cfg.visualizer = dict(type="Visualizer", vis_backends=[dict(type="TensorboardVisBackend")])
    use_trackers(cfg, [])
    runner = launch.build_runner(cfg)
    runner.train()
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    log = EventAccumulator(str(events.parent))
    log.Reload()
    assert [point.step for point in log.Scalars("loss")] == [1, 2, 3]
    lines = [json.loads(line) for line in (events.parent / "scalars.json").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert [line["loss"] for line in lines] == pytest.approx([point.value for point in log.Scalars("loss")])
    assert sorted(file.name for file in events.parent.iterdir()) == sorted([events.name, "scalars.json"])


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_takes_what_a_run_gives(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when a run ends at its first panel or at its end. Nothing leaves the machine."""
    for variable, value in (("WANDB_MODE", "offline"), ("SWANLAB_MODE", "offline"), ("CLEARML_OFFLINE_MODE", "1")):
        monkeypatch.setenv(variable, value)
    pytest.importorskip(name, reason=f"{name} is not installed: pip install {name}")
    cfg = launch.read_config("pseudo_gumbel_tiny", work_dir=str(tmp_path / "run"))
    cfg.visualizer = dict(type="Visualizer", vis_backends=[])
    assert use_trackers(cfg, [name]) == f"trackers: {name}; run run"
    MMLogger.get_instance(f"trackers_{name}", log_file=str(tmp_path / "log"))
    visualizer = Visualizer(name, vis_backends=cfg.visualizer.vis_backends, save_dir=str(tmp_path / "run"))
    visualizer.add_config(cfg)
    for step in (1, 2):
        visualizer.add_scalars({"loss": 1 / step, "iter": 2 * step}, step, "log.json")
        visualizer.add_image("panel", np.zeros((4, 4, 3), np.uint8), step)
    visualizer.close()
    if name == "mlflow":
        _require_mlflow(cfg)


def _require_mlflow(cfg: Config) -> None:
    import mlflow

    client: Any = mlflow.MlflowClient(cfg.visualizer.vis_backends[-1].tracking_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("pseudo-gumbel").experiment_id])
    assert run.info.run_name == "run"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5)]
    panels = [file.path for file in client.list_artifacts(run.info.run_id, "panel")]
    assert panels == ["panel/step_000001.png", "panel/step_000002.png"]
