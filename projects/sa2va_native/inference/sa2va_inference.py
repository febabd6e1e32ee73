"""From pictures and words to masks and captions, at the pictures' own sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sa2va_native.datasets.region_grid import Pooling
from sa2va_native.datasets.transforms import SampleTransform, Side
from sa2va_native.inference.inputs import expression_texts, frames_pixels, picture_pixels, region_masks
from sa2va_native.models.evaluating import evaluating
from sa2va_native.models.sa2va import SHOWN_FRAMES, Sa2VA
from sa2va_native.structures import Sample


class Sa2VAInference:
    """Masks and captions from a trained Sa2VA.

    Pictures are uint8 RGB (H, W, 3), or what :mod:`sa2va_native.inference.inputs` makes of others.

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

    def segment_image(self, image: Any, expressions: str | Sequence[str]) -> list[np.ndarray | None]:
        """Masks of objects in a picture.

        Args:
            image: see the class.
            expressions: one object each, e.g. ``"the red bus"``; or a single one.

        Returns:
            for each a bool mask (H, W), or None if the model answered without one.

        Raises:
            InputError: no picture, or an expression that is empty or no text.
        """
        image, expressions = picture_pixels(image), expression_texts(expressions)
        if not expressions:
            return []
        with evaluating(self.model):
            side = self._sides([image] * len(expressions))
            masks = self.model.segment(self.model.encode_distinct(side), expressions)
        return [None if mask is None else _full_size(mask[None], image)[0] for mask in masks]

    def segment_video(self, frames: Iterable[Any], expression: str) -> np.ndarray | None:
        """Masks of one object through a clip.

        Args:
            frames: F pictures, see the class, of one size.
            expression: the object.

        Returns:
            bool (F, H, W), or None if the model answered without a mask.

        Raises:
            InputError: no frame, frames of different sizes, or an expression that is empty or not one text.
        """
        frames, (expression,) = frames_pixels(frames), expression_texts([expression])
        with evaluating(self.model):
            side = self._sides(frames)
            masks = self.model.segment_clip(side.pixel_values[:SHOWN_FRAMES], list(side.grounding_pixels), expression)
        return None if masks is None else _full_size(masks, frames[0])

    def caption_regions(self, image: Any, masks: Any) -> list[str | None]:
        """Descriptions of regions.

        Args:
            image: see the class.
            masks: bool (H, W), one region each, or one array of them; see :func:`region_masks`.

        Returns:
            for each a caption, or None for None, as :meth:`segment_image` answers without a mask.

        Raises:
            InputError: no picture, or a mask that is not of its size.
            PromptError: a region covers no cell of the token grid.
        """
        image = picture_pixels(image)
        regions = region_masks(masks, image)
        given = [region for region in regions if region is not None]
        if not given:
            return [None] * len(regions)
        with evaluating(self.model):
            side = self._sides([image] * len(given), given)
            captions = iter(self.model.caption(self.model.encode_distinct(side, grounding=False), side.region))
        return [None if region is None else self.model.prompts.decode(next(captions)[0]) for region in regions]

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
