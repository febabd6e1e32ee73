"""The panel shows what it claims: outlines and tints are where the masks are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pseudo_gumbel.panel import MARGIN, TILE, Trial, draw_panel
from pseudo_gumbel.trial_tiles import GAP, TRIED, TRIED_PAPER, TriedWord, tile_side
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


def tried(count: int, text: str = "word") -> list[TriedWord]:
    """Words whose masks are bars, each a row below the one before; the second is learnt most."""
    words = []
    for k in range(count):
        mask = np.zeros((28, 28), dtype=np.float32)
        mask[k : k + 8, 4:24] = 1
        words.append(TriedWord(text, 0.5, 0.9 if k == 1 else 0.0, 1.0, 0.5, mask))
    return words


def tiles_below(panel: np.ndarray, side: int) -> list[tuple[int, int]]:
    """Corners (left, top) of the small tiles: connected areas of a picture, by row and column."""
    area = np.isin(panel[TILE + 2 * MARGIN :], (128,)).all(-1)  # the picture's grey
    labels, _ = ndimage.label(ndimage.binary_dilation(area, iterations=4))
    boxes = [box for box in ndimage.find_objects(labels) if box[0].stop - box[0].start > side // 2]
    return sorted((box[0].start + TILE + 2 * MARGIN, box[1].start) for box in boxes)


@pytest.mark.parametrize("count", [2, 3, 8, 16])
def test_there_are_as_many_tiles_as_words_and_each_shows_its_mask(count: int) -> None:
    """Red when a word gets no tile or another's mask, or rows of tiles overlap."""
    width = 3 * TILE + 2 * MARGIN
    side = tile_side(count, width)
    words = tried(count)
    panel = make(trials=[Trial((2, 5), words)])
    corners = tiles_below(panel, side)
    assert len(corners) == count
    for k, (top, _) in enumerate(corners):
        left = MARGIN + k % 8 * (side + GAP)
        part = panel[top : top + side + 8, left : left + side]
        rows, columns = np.nonzero(coloured(part, PREDICTED))
        mask_rows, mask_columns = np.nonzero(words[k].mask)
        scale = side / 28
        expected = [mask_rows.min(), mask_columns.min(), mask_columns.max() + 1]
        found = [rows.min() - 4, columns.min(), columns.max() + 1]
        assert np.allclose(found, scale * np.array(expected), atol=scale + 2)
        assert coloured(part, TRUE).any(), "the true outline is shown in every tile"
        assert coloured(part[:20], TRIED).any() == (k == 1), "only the word that is learnt most has a blue frame"


@pytest.mark.parametrize(("caption", "place"), [("a dog", (2, 5)), ("a dog", (1, 5)), ("dog", (0, 3))])
def test_the_tried_word_is_marked_in_the_teachers_caption(caption: str, place: tuple[int, int]) -> None:
    """Red when the mark is at another word, or in the student's line."""
    text = make(teacher_caption=caption, trials=[Trial(place, tried(2))])[TILE + 2 * MARGIN :]
    rows, columns = np.nonzero(coloured(text, TRIED_PAPER))
    assert rows.max() < 45, "the student's line"
    begin = MARGIN + 90 + (12 if caption != "dog" else 0)
    assert abs(columns.min() - begin) < 6
    assert 25 < columns.max() - columns.min() < 45


def test_a_mark_follows_its_word_into_the_next_line() -> None:
    """Red when characters are counted with the white space that wrapping drops."""
    caption = "word " * 30 + "dog " + "word " * 5
    place = (caption.index("dog"), caption.index("dog") + 3)
    text = make(teacher_caption=caption, trials=[Trial(place, tried(2))])
    rows, _ = np.nonzero(coloured(text, TRIED_PAPER))
    assert rows.max() - rows.min() < 30
    assert rows.min() > TILE + 2 * MARGIN + 40
    hidden = make(teacher_caption="word " * 200 + "dog", trials=[Trial((1000, 1003), tried(2))])
    assert not coloured(hidden, TRIED_PAPER).any(), "its line is not shown"


@pytest.mark.parametrize("text", ["", "an-unbelievably-long-word" * 5])
def test_long_words_and_none_stay_within_their_tile(text: str) -> None:
    """Red when a word runs into its neighbour's."""
    panel = make(teacher_caption="", student_caption="", trials=[Trial((0, 0), tried(8, text))])
    side = tile_side(8, 3 * TILE + 2 * MARGIN)
    below = tiles_below(panel, side)[0][0] + side + 12
    for k in range(7):
        right = MARGIN + k * (side + GAP) + side
        assert (panel[below:, right + 1 : right + GAP - 1] == 255).all()


def test_without_trials_the_panel_is_as_it_was() -> None:
    base, more = make(), make(trials=[Trial((0, 1), tried(4))])
    assert more.shape[1] == base.shape[1]
    assert np.array_equal(base[: TILE + 2 * MARGIN], more[: TILE + 2 * MARGIN])
