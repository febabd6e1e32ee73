"""Overlays of an evaluation: of which samples, under which name, and what is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sa2va_native.evaluation.drawing import PREDICTED, TRUE
from sa2va_native.evaluation.overlay_writer import MARGIN, SIDE, OverlayWriter, draw_overlay
from sa2va_native.structures import DrawKey
from tests.tiny import tiny_batch


def result(kind: str = "refer", **more: Any) -> dict[str, Any]:
    true, found = np.zeros((128, 128), bool), np.zeros((128, 128), bool)
    true[16:64, 16:64], found[64:112, 64:112] = True, True
    return {
        "kind": kind, "source": "val", "text": "the red star", "caption": None, "gt_mask": true, "pred_mask": found,
        "cycle_mask": None, **more,
    }  # fmt: skip


def near(picture: Image.Image, row: int, column: int, colour: tuple[int, int, int]) -> bool:
    """Whether a pixel of the 128 x 128 picture is nearer to a colour than the white below it is."""
    scale = SIDE / 128
    seen = picture.getpixel((round(MARGIN + column * scale), round(MARGIN + row * scale)))
    return float(np.abs(np.subtract(seen, colour)).mean()) < 60  # type: ignore[arg-type]


def test_both_masks_are_where_they_are_in_the_picture() -> None:
    """Red when true and predicted mask are exchanged, or drawn transposed."""
    drawn = draw_overlay(Image.new("RGB", (128, 128), "white"), result())
    assert near(drawn, 16, 40, TRUE)
    assert near(drawn, 64, 100, PREDICTED)
    assert not near(drawn, 40, 40, TRUE), "the true mask is a line"
    assert not near(drawn, 100, 20, PREDICTED)


def test_the_first_samples_of_each_source_and_kind_are_drawn(tmp_path: Path) -> None:
    """Red when one source uses up another's share, a name of a source is taken for a path, or ranks share a name."""
    writer = OverlayWriter(tmp_path / "new/overlays", samples=2)
    batch = tiny_batch("refer", 3)
    for start, source in ((0, "a/b"), (3, "c")):
        batch.keys[:] = [DrawKey(0, start + i) for i in range(3)]
        writer.process({"batch": batch}, [result(source=source) for _ in range(3)])
    assert sorted(path.name for path in (tmp_path / "new/overlays").iterdir()) == [
        "a_b_refer_000000.png", "a_b_refer_000001.png", "c_refer_000003.png", "c_refer_000004.png",
    ]  # fmt: skip
    assert writer.evaluate(6) == {}


@pytest.mark.parametrize(
    "sample",
    [
        result(pred_mask=None),
        result("cycle", text=None),
        result("cycle", caption="a red star", cycle_mask=np.ones((128, 128), bool)),
        result("caption", caption="word " * 60),
        result("caption", text="x" * 300, caption=""),
    ],
)
def test_whatever_is_missing_is_drawn(sample: dict[str, Any]) -> None:
    """Red when a sample without mask, caption or text ends the evaluation."""
    drawn = draw_overlay(Image.new("RGB", (60, 30)), sample)
    assert drawn.width == SIDE + 2 * MARGIN
    assert drawn.height > SIDE


def test_a_clip_is_drawn_by_its_first_frame_and_a_batch_from_before_a_kill_not_again(tmp_path: Path) -> None:
    """Red when frames are taken for rows of a mask, or a batch without data is looked up."""
    writer, clip, still = OverlayWriter(tmp_path), result("clip"), result()
    for key in ("gt_mask", "pred_mask"):
        clip[key] = np.stack([clip[key], ~clip[key]])
    batch = tiny_batch("refer", 1)
    writer.process({"batch": batch}, [clip])
    writer.process({"batch": batch}, [still])
    writer.process(None, [result()])
    drawn, alone = sorted(tmp_path.iterdir())
    assert drawn.name.startswith("val_clip")
    assert alone.name.startswith("val_refer")
    assert drawn.read_bytes() == alone.read_bytes()
