"""Masks for tests: every edge case, and blobs as models predict them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

SHAPE = (37, 61)


def blob(seed: int, shape: tuple[int, int] = SHAPE, width: float = 4.0) -> np.ndarray:
    """Smooth random regions that touch the edges of the picture."""
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), width) > 0.02


def dot(y: int, x: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """One pixel."""
    mask = np.zeros(shape, bool)
    mask[y, x] = True
    return mask


def edge_cases(shape: tuple[int, int] = SHAPE) -> dict[str, np.ndarray]:
    """Empty, full, one pixel in the middle and in every corner, one row, and blobs."""
    empty = np.zeros(shape, bool)
    row = empty.copy()
    row[3] = True
    corners = {f"corner {y} {x}": dot(y, x, shape) for y in (0, -1) for x in (0, -1)}
    blobs = {f"blob {seed}": blob(seed, shape) for seed in range(3)}
    return {"empty": empty, "full": ~empty, "dot": dot(5, 7, shape), "row": row, **corners, **blobs}
