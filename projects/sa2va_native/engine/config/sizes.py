"""Sizes stand in the model, and again where the data are made ready for it. They must agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def model_sizes(model: Any) -> dict[str, tuple[int, str]]:
    """What a model takes, by parameter of ``SampleTransform``, with the place that says so.

    Args:
        model: config of :class:`sa2va_native.models.Sa2VA`.
    """
    from transformers import InternVLConfig, Sam2VideoConfig

    internvl, sam2 = InternVLConfig(**_plain(model["internvl"])), Sam2VideoConfig(**_plain(model["sam2"]))
    picture, patch = internvl.vision_config.image_size[0], internvl.vision_config.patch_size[0]
    prompted = sam2.prompt_encoder_config
    return {
        "image_size": (picture, "internvl.vision_config.image_size"),
        "grounding_size": (sam2.image_size, "sam2.image_size"),
        "grid_size": (
            int(picture // patch * internvl.downsample_ratio),
            f"internvl: {picture} px in patches of {patch}, times {internvl.downsample_ratio:g}",
        ),
        "mask_size": (
            4 * (prompted.image_size // prompted.patch_size),
            f"sam2: a quarter of {prompted.image_size} px",
        ),
    }


def size_problems(cfg: Any, model: Any, path: str) -> Iterator[str]:
    """Every size of a loader's transform that is not the model's.

    Args:
        cfg: the whole config.
        model: the part of it that :class:`sa2va_native.models.Sa2VA` is built from.
        path: where that part stands, e.g. ``"model.sa2va"``.
    """
    sizes = None
    for loader in _LOADERS:
        transform = ((cfg.get(loader) or {}).get("dataset") or {}).get("transform") or {}
        for name in ("image_size", "grounding_size", "grid_size", "mask_size"):
            if name not in transform:
                continue
            sizes = sizes or model_sizes(model)
            (expected, place), key = sizes[name], f"{loader}.dataset.transform.{name}"
            if transform[name] != expected:
                yield (
                    f"{key} = {transform[name]}, and the model takes {expected} ({path}.{place}). "
                    f"Set {key}={expected}, or change the model."
                )


def _plain(settings: Any) -> dict[str, Any]:
    return settings.to_dict() if hasattr(settings, "to_dict") else dict(settings)
