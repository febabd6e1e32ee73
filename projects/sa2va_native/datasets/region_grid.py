"""Which cells of the ViT's token grid an object covers: its visual prompt."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from sa2va_native.errors import ConfigError, did_you_mean

Pooling = Literal["nearest", "average", "any"]
POOLINGS: tuple[Pooling, ...] = ("nearest", "average", "any")


def region_grid(mask: np.ndarray, grid_size: int, pooling: Pooling = "any", min_share: float = 0.05) -> torch.Tensor:
    """Pool a mask to the token grid; ``n_vp``, the number of region tokens in the prompt, is the grid's sum.

    Args:
        mask: bool (H, W), of the whole picture, at any size.
        grid_size: cells per side, g; 16 for a 448 px picture.
        pooling: how a cell is chosen.
            ``nearest``: by the pixel at its centre; loses objects smaller than a cell.
            ``average``: where the object covers more than half of it (adaptive average pooling); loses thin
                and small objects.
            ``any``: where the object covers at least ``min_share`` of it; keeps small objects.
        min_share: for ``any``, in 0..1; with 0 a single pixel selects its cell.

    Returns:
        bool (g, g); it may have no cell at all, and such a region cannot be described.
    """
    cells = (grid_size, grid_size)
    plane = torch.from_numpy(np.asarray(mask, np.float32, order="C"))[None, None]
    if pooling == "nearest":
        return F.interpolate(plane, cells, mode="nearest-exact")[0, 0] > 0.5
    share = F.adaptive_avg_pool2d(plane, cells)[0, 0]
    if pooling == "average":
        return share > 0.5
    if pooling == "any":
        return (share >= min_share) & (share > 0)
    raise ConfigError(f"region pooling '{pooling}' is unknown. {did_you_mean(pooling, POOLINGS)}")
