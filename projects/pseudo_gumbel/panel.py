"""One picture that shows one turn of the cycle: region, captions, predicted and true mask."""

from __future__ import annotations

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

TILE = 300  #: side of a picture in the panel, pixels
MARGIN = 20
_TITLE, _TEXT = 15, 16  # font sizes, pixels
_LINE = 23  # distance between lines of text, pixels
_INK, _FAINT, _FRAME, _PAPER = (28, 30, 34), (120, 124, 132), (205, 208, 214), (255, 255, 255)
REGION, TRUE, PREDICTED = (255, 179, 0), (0, 158, 115), (213, 94, 0)  #: colours that colour-blind readers tell apart


def draw_panel(
    image: np.ndarray,
    region: np.ndarray,
    pred_mask: np.ndarray,
    gt_mask: np.ndarray,
    teacher_caption: str,
    student_caption: str,
    footer: str = "",
) -> np.ndarray:
    """Composes the panel.

    Three tiles: the picture with the region outlined, with the true mask, with the predicted mask (tint by probability,
    outline at 0.5; the true outline thin beside it). Below them the teacher's and the student's caption.

    Args:
        image: (H, W, 3) uint8 RGB.
        region: (h, w), the region that is described; > 0.5 inside.
        pred_mask: (h, w) probabilities in [0, 1].
        gt_mask: (h, w) in {0, 1}.
        teacher_caption: shown as it is, wrapped.
        student_caption: the same.
        footer: one line in small grey type, e.g. step and IoU.

    Returns:
        (panel height, panel width, 3) uint8 RGB.
    """
    picture = Image.fromarray(image).convert("RGB").resize((TILE, TILE), Image.Resampling.BICUBIC)
    region, pred, true = (_enlarge(mask) for mask in (region, pred_mask, gt_mask))
    tiles = [
        ("Picture and region", _outline(_tint(picture, (region > 0.5) * 0.25, REGION), region, REGION, 5)),
        ("True mask", _outline(_tint(picture, (true > 0.5) * 0.45, TRUE), true, TRUE, 5)),
        (
            "Predicted mask",
            _outline(_outline(_tint(picture, pred * 0.55, PREDICTED), true, TRUE, 3), pred, PREDICTED, 5),
        ),
    ]
    width = 3 * TILE + 4 * MARGIN
    captions = [("Teacher", _wrap(teacher_caption, width)), ("Student", _wrap(student_caption, width))]
    top = MARGIN + _LINE
    text_top = top + TILE + MARGIN
    height = text_top + sum(_LINE * len(lines) + 8 for _, lines in captions) + (_LINE if footer else 0) + MARGIN - 8
    panel = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(panel)
    for index, (title, tile) in enumerate(tiles):
        left = MARGIN + index * (TILE + MARGIN)
        draw.text((left, MARGIN - 6), title, fill=_INK, font=_font(_TITLE))
        panel.paste(tile, (left, top))
        draw.rectangle((left - 1, top - 1, left + TILE, top + TILE), outline=_FRAME)
    y = text_top
    for name, lines in captions:
        draw.text((MARGIN, y), name, fill=_FAINT, font=_font(_TEXT))
        for line in lines:
            draw.text((MARGIN + 90, y), line, fill=_INK, font=_font(_TEXT))
            y += _LINE
        y += 8
    if footer:
        draw.text((MARGIN, y), footer, fill=_FAINT, font=_font(_TITLE - 2))
    return np.asarray(panel)


def _enlarge(mask: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(np.asarray(mask, dtype=np.float32))
    return np.asarray(picture.resize((TILE, TILE), Image.Resampling.BILINEAR))


def _tint(picture: Image.Image, opacity: np.ndarray, colour: tuple[int, int, int]) -> Image.Image:
    weight = np.clip(opacity, 0, 1)[..., None]
    mixed = np.asarray(picture, dtype=np.float32) * (1 - weight) + np.asarray(colour, dtype=np.float32) * weight
    return Image.fromarray(mixed.round().astype(np.uint8))


def _outline(picture: Image.Image, mask: np.ndarray, colour: tuple[int, int, int], width: int) -> Image.Image:
    """Draws the border of ``mask > 0.5``; ``width`` is odd."""
    inside = Image.fromarray(((mask > 0.5) * 255).astype(np.uint8))
    shrunk = np.asarray(inside.filter(ImageFilter.MinFilter(width))) > 0
    border = (np.asarray(inside) > 0) & ~shrunk
    return _tint(picture, border.astype(np.float32), colour)


def _wrap(text: str, width: int) -> list[str]:
    columns = int((width - 2 * MARGIN - 90) / (_TEXT * 0.52))
    return textwrap.wrap(text, columns, max_lines=4, placeholder=" ...") or ["(empty)"]


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
