"""Before and after in one picture: each model's caption of a region and the mask it leads to."""

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
    REGION,
    TRUE,
    enlarge,
    font,
    outline,
    tint,
)

TILE, MARGIN, LINE, TITLE = 220, 16, 26, 34


class Row(NamedTuple):
    """One object."""

    picture: str  #: path of the picture
    mask: np.ndarray  #: (H, W) bool, ground truth
    answers: list[tuple[str | None, np.ndarray | None]]  #: each model's caption and the mask it leads to, (H, W) bool


def draw_sheet(rows: Sequence[Row], title: str, models: Sequence[str]) -> Image.Image:
    """A table of tiles, two objects per row: the region, then the result of each model.

    For each model: its mask, with a thin outline of the true one, and its caption.
    """
    per_line = 1 + len(models)
    group = per_line * (TILE + MARGIN)
    lines = -(-len(rows) // 2)
    sheet = Image.new("RGB", (2 * group + 2 * MARGIN, TITLE + LINE + lines * (TILE + 2 * LINE) + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN // 2), title, fill=INK, font=font(20))
    for number, row in enumerate(rows):
        left = MARGIN + (number % 2) * (group + MARGIN)
        top = TITLE + LINE + (number // 2) * (TILE + 2 * LINE)
        picture = Image.open(row.picture).convert("RGB").resize((TILE, TILE), Image.Resampling.BICUBIC)
        true = enlarge(row.mask, TILE)
        tiles = [("region", outline(picture, true, REGION, 5), "")]
        for model, (caption, mask) in zip(models, row.answers, strict=True):
            found = enlarge(row.mask & False if mask is None else mask, TILE)
            marked = outline(tint(picture, (found > 0.5) * 0.4, PREDICTED), found, PREDICTED, 5)
            tiles.append((model, outline(marked, true, TRUE, 3), f"“{caption or ''}”"))
        for column, (name, tile, caption) in enumerate(tiles):
            x = left + column * (TILE + MARGIN)
            if number < 2:
                draw.text((x, TITLE), name, fill=FAINT, font=font(15))
            sheet.paste(tile, (x, top))
            draw.rectangle((x - 1, top - 1, x + TILE, top + TILE), outline=FRAME)
            draw.text((x, top + TILE + 4), caption, fill=INK, font=font(15))
    return sheet
