"""Several models in one picture: each one's caption of the same region, and the mask that it leads to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from sa2va_native.evaluation.drawing import (
    FAINT,
    FRAME,
    INK,
    PAPER,
    PREDICTED,
    REGION,
    enlarge,
    font,
    outline,
    overlay,
)

#: Pixels. Five tiles a row are about 1,100 pixels wide: letters stay readable where that is shown 800 wide.
TILE, MARGIN, LINE, TITLE = 200, 14, 23, 30
SIZE = 17  #: of a caption's letters
LEGEND = "filled: the mask that the caption leads to; green line: the true mask; underlined: a false word"


class Answer(NamedTuple):
    """What one model makes of an object."""

    caption: str | None
    mask: np.ndarray | None  #: (H, W) bool, where the caption leads; None leads nowhere
    wrong: Collection[str] = ()  #: words of the caption to underline
    note: str = ""  #: below the caption


class Row(NamedTuple):
    """One object."""

    picture: str  #: path of the picture
    mask: np.ndarray  #: (H, W) bool, ground truth
    answers: Sequence[Answer]  #: of each model


def draw_sheet(rows: Sequence[Row], title: str, models: Sequence[str]) -> Image.Image:
    """A table of tiles, an object per row: the region, then each model's mask over a thin outline of the true one.

    Args:
        rows: objects, each with an answer of every model.
        title: of the whole sheet.
        models: names of the models, as titles of the columns.
    """
    heights = [TILE + (_lines(row) + 1) * LINE + MARGIN for row in rows]
    top = TITLE + 2 * LINE + MARGIN
    width = 2 * MARGIN + (1 + len(models)) * (TILE + MARGIN) - MARGIN
    sheet = Image.new("RGB", (width, top + sum(heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN // 2), title, fill=INK, font=font(21))
    draw.text((MARGIN, MARGIN // 2 + TITLE), LEGEND, fill=FAINT, font=font(16))
    for column, name in enumerate(["region", *models]):
        draw.text((_left(column), top - LINE - 2), name, fill=INK, font=font(18))
    for number, row in enumerate(rows):
        y = top + sum(heights[:number])
        picture = Image.open(row.picture).convert("RGB").resize((TILE, TILE), Image.Resampling.BICUBIC)
        _paste(sheet, outline(picture, enlarge(row.mask, TILE), REGION, 5), 0, y)
        for column, answer in enumerate(_checked(row, models), 1):
            _paste(sheet, overlay(picture, row.mask, answer.mask, TILE), column, y)
            _write(draw, answer, _left(column), y + TILE + 3)
    return sheet


def wrapped(words: Sequence[str], width: float) -> list[list[str]]:
    """Words in lines of at most ``width`` pixels; a longer word has a line of its own."""
    lines: list[list[str]] = [[]]
    for word in words:
        if lines[-1] and _font_width(" ".join([*lines[-1], word])) > width:
            lines.append([])
        lines[-1].append(word)
    return lines


def _words(answer: Answer) -> list[str]:
    return (answer.caption or "(no caption)").split()


def _lines(row: Row) -> int:
    """Of the longest caption."""
    return max((len(wrapped(_words(answer), TILE)) for answer in row.answers), default=0)


def _checked(row: Row, models: Sequence[str]) -> list[Answer]:
    return [answer for answer, _ in zip(row.answers, models, strict=True)]


def _left(column: int) -> int:
    return MARGIN + column * (TILE + MARGIN)


def _paste(sheet: Image.Image, tile: Image.Image, column: int, y: int) -> None:
    x = _left(column)
    sheet.paste(tile, (x, y))
    ImageDraw.Draw(sheet).rectangle((x - 1, y - 1, x + TILE, y + TILE), outline=FRAME)


def _write(draw: ImageDraw.ImageDraw, answer: Answer, x: int, y: int) -> None:
    """The caption, with its wrong words underlined, and the note below it."""
    lines = wrapped(_words(answer), TILE)
    for number, line in enumerate(lines):
        top = y + number * LINE
        for place, word in enumerate(line):
            left = x + _font_width("".join(f"{before} " for before in line[:place]))
            wrong = word in answer.wrong
            draw.text((left, top), word, fill=PREDICTED if wrong else INK, font=font(SIZE))
            if wrong:
                draw.line((left, top + SIZE + 4, left + _font_width(word), top + SIZE + 4), fill=PREDICTED, width=2)
    draw.text((x, y + len(lines) * LINE), answer.note, fill=FAINT, font=font(SIZE - 2))


def _font_width(text: str) -> float:
    return font(SIZE).getlength(text)
