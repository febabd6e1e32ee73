"""Pictures beside the predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from sa2va_native.evaluation.prediction_writer import PredictionWriter
from tests.sa2va_native.evaluation.test_run_comparison import predictions
from tests.tiny import tiny_batch


def test_of_two_frames_the_one_with_the_masks_is_kept(tmp_path: Path) -> None:
    """Red when a report draws the masks of the second frame on the first one."""
    batch, path = tiny_batch("cycle", 2, two_frames=True), tmp_path / "predictions.jsonl"
    PredictionWriter(path).process({"batch": batch}, predictions(0, ("cycle",))[:2])
    assert batch.mask_side is not None
    for line, pixels in zip(path.read_text().splitlines(), batch.mask_side.pixel_values, strict=True):
        kept = np.asarray(Image.open(json.loads(line)["picture"]))
        np.testing.assert_array_equal(kept, pixels.permute(1, 2, 0).numpy())
