"""Writes small sets in the exact layout that each of the large ones has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SIZE = (24, 32)  #: height, width


def picture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """uint8 (H, W, 3): smooth, so that JPEG and video keep it nearly as it is."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width]
    planes = [20 * seed + 100 * y / height, 60 + 10 * seed + 100 * x / width, 50 + 50 * (x + y) / (width + height)]
    return np.stack(planes, axis=2).clip(0, 255).astype(np.uint8)


def box(top: int, left: int, height: int = 10, width: int = 12, size: tuple[int, int] = SIZE) -> np.ndarray:
    """bool (H, W): a rectangle; empty with ``height=0``."""
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def write_pair(path: Path, seed: int = 1, **arrays: Any) -> dict[str, np.ndarray]:
    """A SA-V pair file; ``arrays`` stand in for its own, None leaves one out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {
        "frame1": picture(seed),
        "mask1": box(2, 3),
        "frame2": picture(seed + 1),
        "mask2": box(4, 6),
    }
    written = {name: array for name, array in {**own, **arrays}.items() if array is not None}
    np.savez(path, **written)
    return own


def write_sav_pairs(root: Path) -> Path:
    """Three good pairs in folders of different depth."""
    for number, folder in enumerate((".", "sav_000", "sav_001/deep")):
        write_pair(root / folder / f"masklet_data_{number}.npz", seed=number)
    return root
