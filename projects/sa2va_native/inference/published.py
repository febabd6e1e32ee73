"""A directory of Sa2VA, published or exported: its config, tokenizer and weights as a model."""

from __future__ import annotations

import json
from pathlib import Path

from sa2va_native.checkpoints.sa2va_config import from_sa2va
from sa2va_native.errors import CheckpointError
from sa2va_native.models.sa2va import Sa2VA


def is_published(path: str | Path) -> bool:
    """Whether it is a directory with a ``config.json``."""
    return (Path(path) / "config.json").is_file()


def published_model(folder: str | Path, dtype: str = "float32") -> Sa2VA:
    """The model of a directory, on the CPU.

    Args:
        folder: as ``ByteDance/Sa2VA-4B`` on the hub, or written by ``convert-checkpoint``.
        dtype: see :class:`Sa2VA`.

    Raises:
        CheckpointError: its config is not one of Sa2VA, or its weights do not fit or are not all there.
        ConfigError: its tokenizer cannot be loaded.
    """
    file = Path(folder) / "config.json"
    try:
        halves = from_sa2va(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{file} is not the config of a Sa2VA ({type(error).__name__}: {error}). Give an exported directory, or a "
            "download of one such as ByteDance/Sa2VA-4B."
        ) from error
    return Sa2VA(halves["mllm"], halves["grounding"], tokenizer=str(folder), weights=str(folder), dtype=dtype)
