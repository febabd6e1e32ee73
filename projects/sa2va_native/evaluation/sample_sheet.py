"""Samples as training sees them: picture and mask, the cells of the region, the text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from sa2va_native.datasets.region_grid import Pooling, region_grid
from sa2va_native.evaluation.drawing import FAINT, FRAME, INK, PAPER, REGION, TRUE, enlarge, font, outline, tint
from sa2va_native.structures import Sample

TILE, MARGIN, LINE = 200, 12, 17
_TEXT_LINES = 4


def draw_samples(
    samples: Sequence[Sample],
    title: str,
    grid_size: int = 16,
    pooling: Pooling = "any",
    min_share: float = 0.05,
) -> Image.Image:
    """A sheet with one column per sample.

    From top to bottom: the picture, squashed to a square as the model sees it, with everything but the object faded;
    the cells of the region; the second frame, if any sample has one; name and text.

    Args:
        grid_size, pooling, min_share: see ``region_grid``.
    """
    two_frames = any(sample.image2 is not None for sample in samples)
    rows = 2 + two_frames
    texts = [
        textwrap.wrap(sample.text or "(no text)", 27, max_lines=_TEXT_LINES, placeholder=" …") for sample in samples
    ]
    height = 2 * LINE + rows * (TILE + MARGIN) + (max(map(len, texts), default=0) + 1) * LINE + MARGIN
    sheet = Image.new("RGB", (len(samples) * (TILE + MARGIN) + MARGIN, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN // 2), title, fill=INK, font=font(16))
    for column, sample in enumerate(samples):
        left, top = MARGIN + column * (TILE + MARGIN), 2 * LINE
        region = region_grid(sample.mask, grid_size, pooling, min_share).numpy()
        tiles = [_masked(sample.image, sample.mask), _celled(sample.image, region)]
        if sample.image2 is not None and sample.mask2 is not None:
            tiles.append(_masked(sample.image2, sample.mask2))
        for tile in tiles:
            sheet.paste(tile, (left, top))
            draw.rectangle((left - 1, top - 1, left + TILE, top + TILE), outline=FRAME)
            top += TILE + MARGIN
        top = 2 * LINE + rows * (TILE + MARGIN)
        name = sample.sample_id.rpartition("#")[2].rpartition("/")[2]
        draw.text((left, top), _cut(f"{int(region.sum())} cells, {name}", 12), fill=FAINT, font=font(12))
        for number, line in enumerate(texts[column], 1):
            draw.text((left, top + number * LINE), line, fill=INK if sample.text else FAINT, font=font(14))
    return sheet


def _cut(text: str, size: int) -> str:
    """The text, truncated to the width of its column."""
    if font(size).getlength(text) <= TILE:
        return text
    return next(cut for end in range(len(text), -1, -1) if font(size).getlength(cut := f"{text[:end]}…") <= TILE)


def _masked(image: np.ndarray, mask: np.ndarray) -> Image.Image:
    opacity = enlarge(mask, TILE)
    return outline(tint(_squashed(image), (opacity <= 0.5) * 0.6, PAPER), opacity, TRUE, 3)


def _celled(image: np.ndarray, region: np.ndarray) -> Image.Image:
    """The picture with the region's cells tinted and the grid drawn."""
    cells = np.asarray(Image.fromarray(region).resize((TILE, TILE), Image.Resampling.NEAREST))
    celled = tint(_squashed(image), cells * 0.55, REGION)
    draw, side = ImageDraw.Draw(celled), len(region)
    for edge in range(1, side):
        at = edge * TILE // side
        draw.line((at, 0, at, TILE), fill=FRAME)
        draw.line((0, at, TILE, at), fill=FRAME)
    return celled


def _squashed(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image).resize((TILE, TILE), Image.Resampling.BICUBIC)
