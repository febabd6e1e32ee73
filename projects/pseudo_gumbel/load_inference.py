"""A trained model to ask, from whatever names it: config, run, exported directory or published weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.registry import MODELS

from sa2va_native.engine.checkpoints.checkpointing import checkpoints_of, is_run_checkpoint
from sa2va_native.engine.checkpoints.weights import load_weights, require_path
from sa2va_native.engine.config.config_check import check_model
from sa2va_native.engine.config.find_config import is_config
from sa2va_native.engine.run.launch import read_config, use_weights
from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import resolve
from sa2va_native.inference.published import is_published, published_model
from sa2va_native.inference.sa2va_inference import Sa2VAInference
from sa2va_native.parallel.process_group import has_cuda

#: What is asked where nothing else is named: the tiny model with its shipped weights.
DEFAULT_MODEL = "sa2va_tiny"


def load_inference(
    model: str | Path | None = None,
    checkpoint: str | Path | None = None,
    weights: str | Sequence[str] | None = None,
    teacher: bool = False,
    options: dict[str, Any] | None = None,
) -> Sa2VAInference:
    """A model to ask, on the GPU if there is one.

    Args:
        model: a config, by path or by the name of a shipped one; a run's work dir, whose newest checkpoint is taken, or
            one of its checkpoints, with the config that the run wrote beside them; or an exported or published
            directory of Sa2VA. None: what ``weights`` or ``checkpoint`` name by themselves, else :data:`DEFAULT_MODEL`.
        checkpoint: of a run, or its work dir, on top of the config's base weights.
        weights: base weights in place of the config's, see :class:`sa2va_native.models.Sa2VA`.
        teacher: take the checkpoint's EMA teacher instead of the student.
        options: single values of the config to override, e.g. ``{"model.max_new_tokens": 32}``.

    Raises:
        ConfigError: there is no such model, its config cannot be read, or the arguments exclude each other.
        CheckpointError: weights are missing or damaged, or do not fit.
    """
    given = [weights] if isinstance(weights, str) else list(weights or ())
    if model is None and len(given) == 1 and is_published(given[0]):
        (model,), given = given, []
    model = resolve(Path(model or checkpoint or DEFAULT_MODEL).expanduser())
    if is_published(model):
        if checkpoint or given or teacher or options:
            raise ConfigError(
                f"{model} holds all of a model: no checkpoint, teacher, other weights or options go with it. To put a "
                "run on top of it, name the run's config and give this directory as its weights."
            )
        return _on_device(published_model(model, "bfloat16" if has_cuda() else "float32"))
    if is_run(model):
        checkpoint = checkpoint or model
        model = config_of_run(model)
    elif model.suffix in (".safetensors", ".pt", ".bin"):
        raise ConfigError(f"{model} is a file of weights and has no config: name the config, and this as its weights.")
    elif not is_config(model) and model.is_dir():
        raise ConfigError(
            f"{model} is neither a run's work dir, which has iter_*.pth, nor an exported or published directory of "
            "Sa2VA, which has config.json and weights."
        )
    if teacher and checkpoint is None:
        raise ConfigError("a teacher without a checkpoint: base weights have none. Name a run or its checkpoint.")
    cfg = read_config(str(model), options)
    check_model(cfg)
    use_weights(cfg, given or None)
    built = MODELS.build(cfg.model)
    if checkpoint is not None:
        load_weights(built, require_path(checkpoint), _teacher_key() if teacher else None)
    return _on_device(getattr(built, "student", built), **_region_pooling(cfg))


def is_run(path: str | Path) -> bool:
    """Whether it is a work dir with checkpoints, or a checkpoint of a run."""
    path = Path(path)
    return path.suffix == ".pth" or (path.is_dir() and (is_run_checkpoint(path) or bool(checkpoints_of(path))))


def config_of_run(path: str | Path) -> Path:
    """The config that a run wrote into its work dir; the newest, should there be several.

    Args:
        path: the work dir, or a checkpoint in it.

    Raises:
        ConfigError: there is none.
    """
    path = Path(path)
    folder = path.parent if path.suffix == ".pth" else path
    configs = sorted(folder.glob("*.py"), key=lambda file: (file.stat().st_mtime_ns, file.name))
    configs = [file for file in configs if file.name != "zero_to_fp32.py"]  # which DeepSpeed puts there
    if not configs:
        raise ConfigError(f"{folder} has no config of its run: name the config, and this as its checkpoint.")
    return configs[-1]


def _on_device(model: Any, **options: Any) -> Sa2VAInference:
    return Sa2VAInference(model.to("cuda" if has_cuda() else "cpu").eval(), **options)


def _teacher_key() -> str:
    from pseudo_gumbel.hooks.ema_teacher_hook import EMATeacherHook

    return EMATeacherHook.checkpoint_key


def _region_pooling(cfg: Any) -> dict[str, Any]:
    """How the config's data choose the cells of a region, if they say it."""
    dataset = (cfg.get("test_dataloader") or cfg.get("train_dataloader") or {}).get("dataset") or {}
    transform = dataset.get("transform") or {}
    return {key: transform[key] for key in ("region_pooling",) if key in transform}
