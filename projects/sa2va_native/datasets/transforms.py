"""Turns an adapter's sample into tensors of the towers' sizes; the same code serves training and evaluation.

Pictures are squashed to the towers' squares, never letterboxed; masks are squashed in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import TRANSFORMS
from PIL import Image

from sa2va_native.datasets.region_grid import Pooling, region_grid
from sa2va_native.errors import ConfigError
from sa2va_native.structures import Sample, Side


class Sides(NamedTuple):
    """A sample as tensors, without the batch axis; ``mask_side`` is None for a still picture."""

    caption_side: Side
    mask_side: Side | None

    @property
    def side2(self) -> Side:
        """The mask side; of a still picture the caption side."""
        return self.mask_side or self.caption_side


@TRANSFORMS.register_module()
class SampleTransform:
    """Resize one sample.

    As in Sa2VA's training: bicubic to the ViT's square, bilinear to SAM 2's square, both as in Pillow. Colours stay
    uint8; the model normalises them.

    Args:
        image_size: S, px of the ViT's picture (4B: 448).
        grounding_size: G, px of SAM 2's picture (4B: 1024).
        grid_size: g, cells per side of the ViT's token grid (4B: 16).
        mask_size: h = w, px of the mask for the loss (4B: 256).
        region_pooling, region_min_share: see ``region_grid``.
    """

    def __init__(
        self,
        image_size: int,
        grounding_size: int,
        grid_size: int,
        mask_size: int,
        region_pooling: Pooling = "any",
        region_min_share: float = 0.05,
    ) -> None:
        sizes = {"image_size": image_size, "grounding_size": grounding_size, "grid_size": grid_size}
        for name, value in {**sizes, "mask_size": mask_size}.items():
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        self.image_size, self.grounding_size = image_size, grounding_size
        self.grid_size, self.mask_size = grid_size, mask_size
        self.region_pooling, self.region_min_share = region_pooling, region_min_share

    def __call__(self, sample: Sample) -> Sides:
        """Tensors of both sides; the second only if the sample has a second frame."""
        caption_side = self._side(sample.image, sample.mask)
        if sample.image2 is None or sample.mask2 is None:
            return Sides(caption_side, None)
        return Sides(caption_side, self._side(sample.image2, sample.mask2))

    def clip(self, sample: Sample) -> Sides:
        """All frames of a clip as one side, with F in place of the batch axis."""
        frames = [self._side(image, mask) for image, mask in zip(sample.image, sample.mask, strict=True)]
        return Sides(Side(*map(torch.stack, zip(*frames, strict=True))), None)

    def masks(self, masks: Sequence[np.ndarray]) -> torch.Tensor:
        """bool (H, W) each -> bool [M, h, w] of the size of the loss; one that has no pixel left is dropped."""
        resized = [resize_mask(mask, self.mask_size).bool() for mask in masks]
        nothing = torch.zeros(0, self.mask_size, self.mask_size, dtype=torch.bool)
        return torch.cat([nothing, *(mask[None] for mask in resized if mask.any())])

    def _side(self, image: np.ndarray, mask: np.ndarray) -> Side:
        return Side(
            pixel_values=_bicubic(image, self.image_size),
            grounding_pixels=_bilinear(image, self.grounding_size),
            region=region_grid(mask, self.grid_size, self.region_pooling, self.region_min_share),
            mask=resize_mask(mask, self.mask_size),
        )


def resize_mask(mask: np.ndarray, size: int) -> torch.Tensor:
    """bool (H, W) -> float32 [size, size] in {0, 1}: the pixel at each target's centre, without a shift."""
    plane = torch.from_numpy(np.ascontiguousarray(mask).view(np.uint8))[None, None]
    return F.interpolate(plane, (size, size), mode="nearest-exact")[0, 0].float()


def _bicubic(image: np.ndarray, size: int) -> torch.Tensor:
    """uint8 (H, W, 3) -> uint8 [3, size, size]."""
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def _bilinear(image: np.ndarray, size: int) -> torch.Tensor:
    """uint8 (H, W, 3) -> uint8 [3, size, size], by torch: within one level of Pillow, in a third of the time.

    Its bicubic kernel is as fast, but differs from Pillow's by many levels where it clips overshoot.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    return F.interpolate(pixels, (size, size), mode="bilinear", antialias=True)[0]
