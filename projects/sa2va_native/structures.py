"""What flows between adapters, transforms, samplers and the model.

Shape legend, used throughout the project::

    B batch             T caption tokens       V vocabulary          K top-k
    D LLM hidden size   L prompt tokens        S ViT picture side    G SAM 2 picture side
    g region grid side  h, w low-resolution mask size of SAM 2 (G / 4)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

#: ``cycle``: mask without caption; ``refer``: human expression -> mask; ``caption``: mask -> human caption;
#: ``clip``: human expression, or the first frame's mask where there is none -> masks of all frames; evaluation alone.
Kind = Literal["cycle", "refer", "caption", "clip"]


class DrawKey(NamedTuple):
    """What one sample's random draws depend on besides the run's seed; never the rank or worker."""

    step: int  #: micro-step of the whole run, the same on all ranks
    sample: int  #: position of the sample inside the global batch of that step


class Draw(NamedTuple):
    """What a sampler requests from a data set: an item, and the key of its random draws."""

    item: int  #: position in the data set
    key: DrawKey
    #: Key of what the items of a run, drawn together because they show one picture, have in common; None: drawn alone.
    run: DrawKey | None = None


@dataclass
class Sample:
    """One object in one picture (or in two frames), as an adapter reads it; it depends on no model and is not resized.

    ``image`` is uint8 RGB (H, W, 3); ``mask`` is bool (H, W) of the same size. ``image2`` / ``mask2`` are the mask side
    (another frame of the same object); None for a still picture, whose mask side equals its caption side. A sample of a
    ``clip`` has F frames in ``image`` (F, H, W, 3) and ``mask`` (F, H, W).
    """

    sample_id: str  #: where it came from, e.g. ``"instances_train.json#annotation 17"``
    image: np.ndarray
    mask: np.ndarray
    text: str | None = None  #: human expression or caption
    image2: np.ndarray | None = None
    mask2: np.ndarray | None = None
    attributes: dict[str, Any] = field(default_factory=dict)  #: ground truth of generated scenes, for evaluation
    strays: tuple[str, ...] = ()  #: for each piece of its masks that could not be used, why


def largest_frame(sample: Sample) -> Sample:
    """A clip's frame in which its object is largest, as a still picture; a sample of another kind as it is."""
    if sample.image.ndim == 3:
        return sample
    frame = int(sample.mask.sum(axis=(1, 2)).argmax())
    return replace(sample, image=sample.image[frame], mask=sample.mask[frame])


class Side(NamedTuple):
    """One side of the cycle: a picture and the object's mask, sized for the towers."""

    pixel_values: torch.Tensor  #: [B, 3, S, S] uint8 RGB, for InternViT
    grounding_pixels: torch.Tensor  #: [B, 3, G, G] uint8 RGB, for SAM 2; the model normalises both
    region: torch.Tensor  #: [B, g, g] bool, cells of the ViT token grid that the object covers
    mask: torch.Tensor  #: [B, h, w] float32 in {0, 1}, nearest-resized

    def of(self, rows: list[int]) -> Side:
        """The same side of some samples."""
        return Side(*(tensor[rows] for tensor in self))


class Batch(NamedTuple):
    """A collated micro-batch; all samples are of one kind, and of the same kind on every rank.

    A named tuple, so that MMEngine's data preprocessor moves it to the device unchanged. One of kind ``clip`` holds one
    clip: B is 1, and its caption side has F frames in place of B pictures.
    """

    kind: Kind
    caption_side: Side  #: image1, mask1
    mask_side: Side | None  #: image2, mask2; None when the whole batch is still pictures (side 2 = side 1)
    text: list[str | None]  #: B human expressions or captions; None if the sample has none
    keys: list[DrawKey]  #: B
    sample_ids: list[str]  #: B
    attributes: list[dict[str, Any]]  #: B
    sources: list[str]  #: B names of the mixture's sources
    gt_masks: list[np.ndarray]  #: B bool masks (H, W) of the mask side at original size; empty in training
    #: [B, M, h, w] bool masks of the mask side's other objects, all False past the last one; None unless asked for.
    others: torch.Tensor | None = None
    #: B numbers; samples with the same one show the same pictures, on both sides. None: drawn one by one.
    looks: list[int] | None = None

    @property
    def side2(self) -> Side:
        """The mask side; of still pictures the caption side."""
        return self.mask_side or self.caption_side
