"""Draws masks on pictures; panels and sheets are composed of these."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter, ImageFont

Colour = tuple[int, int, int]

INK, FAINT, FRAME, PAPER = (28, 30, 34), (120, 124, 132), (205, 208, 214), (255, 255, 255)
#: Colours that colour-blind readers can distinguish (Okabe and Ito).
REGION, TRUE, PREDICTED, ASKED = (255, 179, 0), (0, 158, 115), (213, 94, 0), (0, 114, 178)


def enlarge(mask: np.ndarray, side: int) -> np.ndarray:
    """(h, w) -> float32 (side, side), bilinear."""
    picture = Image.fromarray(np.asarray(mask, dtype=np.float32))
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))


def tint(picture: Image.Image, opacity: np.ndarray, colour: Colour) -> Image.Image:
    """Blend in a colour with an opacity per pixel, (h, w) in 0..1."""
    weight = np.clip(opacity, 0, 1)[..., None]
    mixed = np.asarray(picture, dtype=np.float32) * (1 - weight) + np.asarray(colour, dtype=np.float32) * weight
    return Image.fromarray(mixed.round().astype(np.uint8))


def outline(picture: Image.Image, mask: np.ndarray, colour: Colour, width: int) -> Image.Image:
    """Draw the border of ``mask > 0.5`` inside it; ``width`` in pixels is odd."""
    inside = Image.fromarray(((mask > 0.5) * 255).astype(np.uint8))
    shrunk = np.asarray(inside.filter(ImageFilter.MinFilter(width))) > 0
    border = (np.asarray(inside) > 0) & ~shrunk
    return tint(picture, border.astype(np.float32), colour)


def overlay(picture: Image.Image, true: np.ndarray, predicted: np.ndarray | None, side: int) -> Image.Image:
    """A picture as a square with the predicted mask filled and outlined, and a thin outline of the true one over it.

    Args:
        picture: of any size.
        true: (H, W) bool.
        predicted: (H, W) bool; None is empty.
        side: of the square, in pixels.
    """
    square = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    found = enlarge(true & False if predicted is None else predicted, side)
    marked = outline(tint(square, (found > 0.5) * 0.4, PREDICTED), found, PREDICTED, 5)
    return outline(marked, enlarge(true, side), TRUE, 3)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in typeface, so that a picture looks the same on every machine."""
    return ImageFont.load_default(size)
