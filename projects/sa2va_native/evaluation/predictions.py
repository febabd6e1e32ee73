"""Results of a model's ``predict`` as JSON lines, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.errors import DataError

MASKS = ("pred_mask", "cycle_mask", "gt_mask")
_NEEDED = ("kind", "source", "sample_id", "picture_id", "text", "caption", "stopped", "attributes", *MASKS)


def encoded(sample: Mapping[str, Any]) -> dict[str, Any]:
    """A result with its masks, bool (H, W), as COCO RLE, those of a clip as a list of them; None stays None."""
    return {**sample, **{name: encoded_mask(sample[name]) for name in MASKS}}


def decoded(line: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`encoded` was made of, exactly."""
    return {**line, **{name: _decoded(line[name]) for name in MASKS}}


def encoded_mask(mask: np.ndarray | None) -> Any:
    """A mask, bool (H, W), as COCO RLE ready for JSON, one of a clip (F, H, W) as a list of them; None stays None."""
    if mask is None or mask.ndim == 2:
        return None if mask is None else encode_mask(mask)
    return [encode_mask(frame) for frame in mask]


def _decoded(code: Any) -> np.ndarray | None:
    # Not with the codec for data sets: a predicted mask may be empty.
    if code is None or isinstance(code, dict):
        return None if code is None else rle.decode(code).astype(bool)
    return np.stack([rle.decode(frame).astype(bool) for frame in code])


def read_predictions(path: Path) -> Iterator[dict[str, Any]]:
    """The samples of a file that ``PredictionWriter`` wrote, one after the other, with their masks as bool (H, W).

    Raises:
        DataError: there is no such file, or a line is not a whole sample.
    """
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). tools/test.py --predictions writes it.") from error
    with file:
        for number, line in enumerate(file, 1):
            try:
                sample = json.loads(line)
                missing = [name for name in _NEEDED if name not in sample]
            except (ValueError, TypeError) as error:
                raise DataError(f"{path}: line {number} is no sample ({error}). Was the evaluation killed?") from error
            if missing:
                raise DataError(
                    f"{path}: line {number} has no {', '.join(missing)}, as another version wrote it. Write it again "
                    "with tools/test.py --predictions."
                )
            yield decoded(sample)
