"""Answers as pictures: what was found stays bright with an outline, what was marked is outlined on top."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pseudo_gumbel.web.answers import Answer
from sa2va_native.evaluation.drawing import INK, PAPER, PREDICTED, REGION, outline, tint

#: Longest side of a picture, pixels, and most frames of a clip that are shown.
SIDE, SHOWN = 720, 24


def draw_answer(answer: Answer, side: int = SIDE) -> list[Image.Image]:
    """The picture, or frames of the clip at equal distances.

    Args:
        answer: whose text leads to a mask, or to none.
        side: longest side of the result, pixels.
    """
    count = len(answer.frames)
    numbers = np.unique(np.linspace(0, count - 1, min(count, SHOWN)).round().astype(int))
    return [_frame(answer, int(number), side) for number in numbers]


def fitted(frame: np.ndarray, side: int) -> Image.Image:
    """A picture (H, W, 3) whose longest side is at most ``side`` pixels."""
    picture = Image.fromarray(frame)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def _frame(answer: Answer, number: int, side: int) -> Image.Image:
    picture = fitted(answer.frames[number], side)
    if answer.found is not None:
        found = _scaled(answer.found[number], picture)
        picture = outline(tint(picture, ~found * 0.6, PAPER), found, PREDICTED, 7)
    if answer.region is not None and number == 0:
        region = _scaled(answer.region, picture)
        picture = outline(outline(picture, region, INK, 9), region, REGION, 5)  # seen on amber too
    return picture


def _scaled(mask: np.ndarray, picture: Image.Image) -> np.ndarray:
    return np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
