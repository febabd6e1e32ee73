"""Sizes are set in the model, and again where the data are prepared for it. They must agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
_HALVES = ("mllm", "grounding")


def model_sizes(model: Any, resolve: Callable[[Any], Any]) -> dict[str, tuple[int, str]]:
    """The sizes that a model takes, by parameter of ``SampleTransform``, each with the half that takes it.

    Args:
        model: config of :class:`sa2va_native.models.Sa2VA`.
        resolve: the class behind a ``type``.
    """
    return {
        name: (size, half)
        for half in _HALVES
        for name, size in resolve(model[half]["type"]).data_sizes(_plain(model[half])).items()
    }


def size_problems(cfg: Any, model: Any, path: str, resolve: Callable[[Any], Any]) -> Iterator[str]:
    """Every size of a loader's transform that is not the model's.

    Args:
        cfg: the whole config.
        model: the part of it that :class:`sa2va_native.models.Sa2VA` is built from.
        path: where that part is, e.g. ``"model.sa2va"``.
        resolve: the class behind a ``type``.
    """
    for half in _HALVES:
        if not (model.get(half) or {}).get("type"):
            yield f"config key {path}.{half} has no type. Give the class of that half, as in configs/_base_/models."
            return
    sizes = None
    for loader in _LOADERS:
        transform = ((cfg.get(loader) or {}).get("dataset") or {}).get("transform") or {}
        for name in ("image_size", "grounding_size", "grid_size", "mask_size"):
            if name not in transform:
                continue
            sizes = sizes or model_sizes(model, resolve)
            (expected, half), key = sizes[name], f"{loader}.dataset.transform.{name}"
            if transform[name] != expected:
                yield (
                    f"{key} = {transform[name]}, but the model takes {expected} ({path}.{half}). "
                    f"Set {key}={expected}, or change the model."
                )


def _plain(settings: Any) -> dict[str, Any]:
    return settings.to_dict() if hasattr(settings, "to_dict") else dict(settings)
