"""The panel shows what it claims: outlines and tints are where the masks are."""

from __future__ import annotations

import numpy as np

from pseudo_gumbel.panel import MARGIN, TILE, draw_panel
from sa2va_native.evaluation.drawing import PREDICTED, REGION, TRUE


def make(**changes: object) -> np.ndarray:
    square = np.zeros((28, 28), dtype=np.float32)
    square[7:21, 7:21] = 1
    inputs: dict = dict(
        image=np.full((56, 56, 3), 128, dtype=np.uint8),
        region=square,
        mask_image=np.full((56, 56, 3), 128, dtype=np.uint8),
        pred_mask=square,
        gt_mask=square,
        teacher_caption="a dog",
        student_caption="a cat",
    )
    return draw_panel(**{**inputs, **changes})


def tile(panel: np.ndarray, index: int) -> np.ndarray:
    left = MARGIN + index * (TILE + MARGIN)
    top = next(row for row in range(panel.shape[0]) if tuple(panel[row, left + TILE // 2]) == (128, 128, 128))
    return panel[top : top + TILE, left : left + TILE]


def coloured(part: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (part == np.array(colour)).all(-1)


def test_each_mask_is_outlined_in_its_tile() -> None:
    """Red when tiles are swapped, masks transposed, or drawn at another scale."""
    upper = np.zeros((28, 28), dtype=np.float32)
    upper[2:8, 4:24] = 1
    panel = make(pred_mask=upper)
    for index, colour, box in [
        (0, REGION, (75, 225, 75, 225)),
        (1, TRUE, (75, 225, 75, 225)),
        (2, PREDICTED, (21, 86, 43, 257)),
    ]:
        rows, columns = np.nonzero(coloured(tile(panel, index), colour))
        assert np.allclose([rows.min(), rows.max(), columns.min(), columns.max()], box, atol=4)
    assert coloured(tile(panel, 2), TRUE).any(), "the true outline is shown beside the prediction"
    assert not coloured(tile(panel, 0), PREDICTED).any()


def test_nothing_predicted_leaves_the_picture_untouched() -> None:
    empty = np.zeros((28, 28), dtype=np.float32)
    part = tile(make(pred_mask=empty, gt_mask=empty), 2)
    assert (part == 128).all()


def test_captions_change_their_own_line_and_long_ones_wrap() -> None:
    """Red when teacher and student are swapped or text runs out of the picture."""
    base, other = make(), make(student_caption="a cow")
    rows = np.nonzero((base != other).any(axis=(1, 2)))[0]
    assert rows.min() > MARGIN + TILE
    first, second = make(teacher_caption="x"), base
    assert np.nonzero((first != second).any(axis=(1, 2)))[0].max() < rows.min(), "the teacher's line is above"
    long = make(teacher_caption="word " * 200)
    assert long.shape[0] > base.shape[0]
    assert long.shape[1] == base.shape[1]
    assert (long[:, -MARGIN // 2 :] == 255).all(), "text reaches into the margin"
