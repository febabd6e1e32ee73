"""From pictures and words to masks and captions, at the pictures' own sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sa2va_native.datasets.region_grid import Pooling
from sa2va_native.datasets.transforms import SampleTransform, Side
from sa2va_native.errors import InputError
from sa2va_native.evaluation.segmentation import intersection_union, iou
from sa2va_native.inference.inputs import expression_texts, frames_pixels, picture_pixels, region_masks
from sa2va_native.inference.pointing import Pointing, box_pointing, point_pointing
from sa2va_native.models.evaluating import evaluating
from sa2va_native.models.normalisation import normalise
from sa2va_native.models.sa2va import SHOWN_FRAMES, Sa2VA
from sa2va_native.structures import Sample


class LedBack(NamedTuple):
    """What a region is called, and where that leads: mask -> caption -> mask."""

    caption: str
    mask: np.ndarray | None  #: bool (H, W), found from the caption alone; None if there was none
    iou: float  #: of that mask and the region, in 0..1; 0 without a mask


class Sa2VAInference:
    """Masks and captions from a trained Sa2VA.

    Pictures are uint8 RGB (H, W, 3), paths, or what :mod:`sa2va_native.inference.inputs` makes of others.

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

    def segment_video(self, frames: str | Path | Iterable[Any], expression: str) -> np.ndarray | None:
        """Masks of one object through a clip.

        Args:
            frames: F pictures, see the class, of one size; or the path of a video, or of a folder of frames.
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

    def region_from_box(self, image: Any, box: Any) -> np.ndarray:
        """The object in a box, as SAM 2 sees it; a region for :meth:`caption_regions`.

        Args:
            image: see the class.
            box: x0, y0, x1, y1 in pixels of the picture, x1 and y1 excluded.

        Returns:
            bool (H, W); empty where SAM 2 sees nothing.

        Raises:
            InputError: no picture, or a box that is empty or leaves it; or the model takes no boxes.
        """
        image = picture_pixels(image)
        return self._pointed(image, box_pointing(box, image))

    def region_from_points(self, image: Any, points: Any, labels: Sequence[int] | None = None) -> np.ndarray:
        """The object at one or several points, as SAM 2 sees it.

        Args:
            image: see the class.
            points: pairs x, y in pixels of the picture, or one pair.
            labels: 1 for a point on the object, 0 for one beside it; None: all are on it.

        Returns:
            bool (H, W); empty where SAM 2 sees nothing.

        Raises:
            InputError: no picture, or points that are outside it or all beside the object; or the model takes none.
        """
        image = picture_pixels(image)
        return self._pointed(image, point_pointing(points, labels, image))

    def lead_back(self, image: Any, masks: Any) -> list[LedBack | None]:
        """The cycle: describes regions, and looks for each description on the same picture.

        Args:
            image, masks: as for :meth:`caption_regions`, which raises the same errors.

        Returns:
            for each region its caption and the mask that this leads to, or None for None.
        """
        image = picture_pixels(image)
        regions = region_masks(masks, image)
        captions = self.caption_regions(image, regions)
        found = iter(self.segment_image(image, [caption for caption in captions if caption]))
        led: list[LedBack | None] = []
        for region, caption in zip(regions, captions, strict=True):
            if region is None or caption is None:
                led.append(None)
                continue
            mask = next(found) if caption else None  # an empty caption leads nowhere
            led.append(LedBack(caption, mask, iou(intersection_union(mask, region))))
        return led

    @torch.no_grad()
    def _pointed(self, image: np.ndarray, pointing: Pointing) -> np.ndarray:
        grounding = self.model.grounding
        pointed = getattr(grounding, "pointed", None)
        if pointed is None:
            raise InputError(f"{type(grounding).__name__} takes no boxes or points; give a mask")
        with evaluating(self.model):
            side = self._sides([image])
            pixels = normalise(side.grounding_pixels).to(self.model.dtype)
            places = torch.from_numpy(pointing.places).to(pixels.device) * grounding.image_size
            labels = torch.from_numpy(pointing.labels).to(pixels.device)
            mask = pointed(grounding.encode(pixels), places[None], labels[None]).mask_logits
        return _full_size(mask, image)[0]

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
