"""Reads what :class:`PredictionWriter` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pycocotools import mask as rle

from sa2va_native.errors import DataError
from sa2va_native.evaluation.prediction_writer import MASKS

_NEEDED = ("kind", "source", "sample_id", "picture_id", "text", "caption", "stopped", "attributes", *MASKS)


def read_predictions(path: Path) -> Iterator[dict[str, Any]]:
    """The samples of a file, one after the other, with their masks as bool (H, W).

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
            for name in MASKS:
                # Not with the codec for data sets: a predicted mask may be empty.
                sample[name] = None if sample[name] is None else rle.decode(sample[name]).astype(bool)
            yield sample
