"""Where a run's scalars and panels go besides TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sa2va_native.errors import ConfigError

#: The project that runs are filed under, unless the tracker's own variable names another.
_PROJECT = "pseudo-gumbel"
_OURS = "sa2va_native.engine.run.vis_backends"


def _wandb(run: str, work_dir: Path) -> dict[str, Any]:
    project = os.environ.get("WANDB_PROJECT", _PROJECT)
    return dict(type=f"{_OURS}.StepWandbVisBackend", init_kwargs=dict(project=project, name=run))


def _swanlab(run: str, work_dir: Path) -> dict[str, Any]:
    settings = dict(project=os.environ.get("SWANLAB_PROJ_NAME", _PROJECT), experiment_name=run)
    return dict(type="swanlab.integration.mmengine.SwanlabVisBackend", init_kwargs=settings)


def _mlflow(run: str, work_dir: Path) -> dict[str, Any]:
    settings = dict(exp_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT), run_name=run, artifact_suffix=())
    server = os.environ.get("MLFLOW_TRACKING_URI")
    if not server:  # a data base in the work dir; MMEngine would choose files, which MLflow 3 refuses
        place = work_dir.absolute()
        server, settings["artifact_location"] = f"sqlite:///{place / 'mlflow.db'}", str(place / "mlflow")
    return dict(type=f"{_OURS}.StepMLflowVisBackend", tracking_uri=server, **settings)


def _clearml(run: str, work_dir: Path) -> dict[str, Any]:
    settings = dict(project_name=os.environ.get("CLEARML_PROJECT", _PROJECT), task_name=run)
    return dict(type="ClearMLVisBackend", init_kwargs=settings, artifact_suffix=(".py",))


_BACKENDS: dict[str, Callable[[str, Path], dict[str, Any]]] = {
    "wandb": _wandb,
    "swanlab": _swanlab,
    "mlflow": _mlflow,
    "clearml": _clearml,
}
#: The names that ``--tracker`` takes.
TRACKERS = tuple(_BACKENDS)


def use_trackers(cfg: Any, names: Sequence[str]) -> str | None:
    """Adds trackers to the config's visualizer, and a file of JSON lines if it has none.

    Args:
        cfg: MMEngine config, changed in place.
        names: of :data:`TRACKERS`.

    Returns:
        a fact for the dry run.

    Raises:
        ConfigError: a tracker's package is not installed.
    """
    names = list(dict.fromkeys(names))
    for name in names:
        if find_spec(name) is None:
            raise ConfigError(f"--tracker {name} needs the package {name}, not installed here: pip install {name}.")
    if not cfg.get("visualizer"):
        cfg.visualizer = dict(type="Visualizer")
    work_dir, backends = Path(cfg.work_dir), list(cfg.visualizer.get("vis_backends") or [])
    if not {_name(backend) for backend in backends} & {"LocalVisBackend", "JsonLinesVisBackend"}:
        backends.append(dict(type=f"{_OURS}.JsonLinesVisBackend"))
    cfg.visualizer.vis_backends = backends + [_BACKENDS[name](work_dir.name, work_dir) for name in names]
    return f"trackers: {', '.join(names)}; run {work_dir.name}" if names else None


def _name(backend: dict[str, Any]) -> str:
    """The name of a backend's class, which a config gives as itself, by path or as registered."""
    return str(getattr(backend["type"], "__name__", backend["type"])).rpartition(".")[2]
