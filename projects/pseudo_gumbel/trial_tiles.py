"""The lower part of a panel: the words that were tried at one place of a caption, and the mask that each leads to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from sa2va_native.evaluation.drawing import (
    FAINT,
    FRAME,
    INK,
    PAPER,
    PREDICTED,
    TRUE,
    Colour,
    enlarge,
    font,
    outline,
    tint,
)

TRIED: Colour = (0, 114, 178)  #: what belongs to the trial; of the same palette as the masks' colours
TRIED_PAPER: Colour = (214, 232, 245)
COLUMNS = 8
GAP = 12  #: between tiles, pixels
WIDEST = 220  #: side of a tile, pixels
_WORD, _SMALL, _LINE = 16, 12, 17  # font sizes and distance between lines, pixels
_TITLE = 28  # height of the line above the tiles, pixels
_TEXT = 5 * _LINE + 11  # height of the text below a tile, pixels


class TriedWord(NamedTuple):
    """One of the words that were tried."""

    text: str
    prior: float  #: the teacher's probability
    posterior: float  #: the probability that the student learns
    cost: float  #: of its mask
    iou: float  #: of its mask with the true one
    mask: np.ndarray  #: (h, w) probabilities in [0, 1]


def tile_side(words: int, width: int) -> int:
    """Side of one of so many pictures in a row of ``width`` pixels, COLUMNS at most in a row."""
    columns = min(max(words, 1), COLUMNS)
    return min(WIDEST, (width - (columns - 1) * GAP) // columns)


def draw_trial(picture: Image.Image, gt_mask: np.ndarray, words: Sequence[TriedWord], width: int) -> Image.Image:
    """A tile for each word, in rows: its mask, both probabilities as numbers and bars, cost and IoU.

    The word that the student learns most stands in a blue frame.

    Args:
        picture: picture 2.
        gt_mask: (h, w) in {0, 1}.
        words: K words, shown in this order.
        width: of the result, pixels.
    """
    side = tile_side(len(words), width)
    picture = picture.resize((side, side), Image.Resampling.BICUBIC)
    true = enlarge(gt_mask, side)
    step = side + _TEXT + 2 * GAP  # from one row of tiles to the next
    rows = -(-len(words) // COLUMNS)
    canvas = Image.new("RGB", (width, _TITLE + rows * step - 2 * GAP), PAPER)
    draw = ImageDraw.Draw(canvas)
    _legend(draw, width)
    best = max(range(len(words)), key=lambda index: words[index].posterior, default=0)
    for index, word in enumerate(words):
        left, top = (index % COLUMNS) * (side + GAP), _TITLE + (index // COLUMNS) * step
        mask = enlarge(word.mask, side)
        tinted = outline(tint(picture, mask * 0.55, PREDICTED), mask, PREDICTED, 3)
        canvas.paste(outline(tinted, true, TRUE, 3), (left, top))
        chosen = index == best
        frame, thickness = (TRIED, 3) if chosen else (FRAME, 1)
        draw.rectangle((left, top, left + side - 1, top + side - 1), outline=frame, width=thickness)
        _describe(draw, word, left, top + side + 5, side, TRIED if chosen else INK)
    return canvas


def _legend(draw: ImageDraw.ImageDraw, width: int) -> None:
    title = "Words tried at the marked place, and where each leads"
    draw.text((0, 0), title, fill=INK, font=font(15))
    x = width
    for name, colour, fill in (("true mask", TRUE, False), ("mask from the word", PREDICTED, True)):
        x -= int(draw.textlength(name, font=font(_SMALL)))
        draw.text((x, 3), name, fill=FAINT, font=font(_SMALL))
        x -= 18
        draw.rectangle((x, 5, x + 11, 14), outline=colour, width=2, fill=colour if fill else None)
        x -= 16


def _describe(draw: ImageDraw.ImageDraw, word: TriedWord, left: int, top: int, side: int, colour: Colour) -> None:
    """The word and four lines of figures, within ``side`` pixels."""
    draw.text((left, top), shorten(draw, word.text or "(no text)", side, _WORD), fill=colour, font=font(_WORD))
    y = top + _LINE + 6
    for name, value, bar in (
        ("teacher", word.prior, FAINT),
        ("learnt", word.posterior, TRIED),
        ("cost", word.cost, None),
        ("IoU", word.iou, None),
    ):
        number = f"{value:.2f}"
        right = left + side - draw.textlength(number, font=font(_SMALL))
        draw.text((left, y), name, fill=FAINT, font=font(_SMALL))
        draw.text((right, y), number, fill=INK, font=font(_SMALL))
        if bar:
            begin, end = left + 50, int(right) - 6  # the bar's place, between name and number
            draw.rectangle((begin, y + 4, end, y + 10), fill=(238, 240, 243))
            if (length := round(min(max(value, 0.0), 1.0) * (end - begin))) > 0:
                draw.rectangle((begin, y + 4, begin + length, y + 10), fill=bar)
        y += _LINE


def shorten(draw: ImageDraw.ImageDraw, text: str, width: int, size: int) -> str:
    """``text``, or its beginning and three dots, in at most ``width`` pixels."""
    if draw.textlength(text, font=font(size)) <= width:
        return text
    while text and draw.textlength(text + "...", font=font(size)) > width:
        text = text[:-1]
    return text + "..."
