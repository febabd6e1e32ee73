"""From pictures and words to masks and captions, at the pictures' own sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sa2va_native.datasets.region_grid import Pooling
from sa2va_native.datasets.transforms import SampleTransform, Side
from sa2va_native.models.evaluating import evaluating
from sa2va_native.models.sa2va import Sa2VA
from sa2va_native.structures import Sample

#: Frames of a clip that the language model sees, as in Sa2VA.
SHOWN_FRAMES = 5


class Sa2VAInference:
    """Masks and captions from a trained Sa2VA.

    Args:
        model: :class:`sa2va_native.models.Sa2VA`, on any device; the modes of its modules are not changed.
        region_pooling: see :func:`sa2va_native.datasets.region_grid.region_grid`.
    """

    def __init__(self, model: Sa2VA, region_pooling: Pooling = "any") -> None:
        self.model = model
        self.transform = SampleTransform(
            image_size=model.mllm.image_size,
            grounding_size=model.grounding.image_size,
            grid_size=model.mllm.grid_size,
            mask_size=model.grounding.mask_size,
            region_pooling=region_pooling,
        )

    def segment_image(self, image: np.ndarray, expressions: Sequence[str]) -> list[np.ndarray | None]:
        """Masks of objects in a picture.

        Args:
            image: uint8 RGB (H, W, 3).
            expressions: one object each, e.g. ``"the red bus"``.

        Returns:
            for each a bool mask (H, W), or None if the model answered without one.
        """
        with evaluating(self.model):
            side = self._sides([image] * len(expressions))
            masks = self.model.segment(self.model.encode_distinct(side), expressions)
        return [None if mask is None else _full_size(mask[None], image)[0] for mask in masks]

    def segment_video(self, frames: Sequence[np.ndarray], expression: str) -> np.ndarray | None:
        """Masks of one object through a clip.

        Args:
            frames: F pictures, uint8 RGB (H, W, 3), of one size.
            expression: the object.

        Returns:
            bool (F, H, W), or None if the model answered without a mask.
        """
        with evaluating(self.model):
            side = self._sides(frames)
            masks = self.model.segment_clip(side.pixel_values[:SHOWN_FRAMES], list(side.grounding_pixels), expression)
        return None if masks is None else _full_size(masks, frames[0])

    def caption_regions(self, image: np.ndarray, masks: Sequence[np.ndarray]) -> list[str]:
        """Descriptions of regions.

        Args:
            image: uint8 RGB (H, W, 3).
            masks: bool (H, W), one region each.

        Raises:
            PromptError: a region covers no cell of the token grid.
        """
        with evaluating(self.model):
            side = self._sides([image] * len(masks), masks)
            captions = self.model.caption(self.model.encode_distinct(side, grounding=False), side.region)
        return [self.model.prompts.decode(ids) for ids, _ in captions]

    def _sides(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray] | None = None) -> Side:
        masks = masks or [np.zeros(image.shape[:2], bool) for image in images]
        sides = [
            self.transform(Sample("", image, mask)).caption_side for image, mask in zip(images, masks, strict=True)
        ]
        device = next(self.model.parameters()).device
        return Side(*(torch.stack(tensors).to(device) for tensors in zip(*sides, strict=True)))


def _full_size(mask_logits: Tensor, image: np.ndarray) -> np.ndarray:
    full = F.interpolate(mask_logits[:, None].float(), image.shape[:2], mode="bilinear", align_corners=False)
    return (full[:, 0] > 0).cpu().numpy()
