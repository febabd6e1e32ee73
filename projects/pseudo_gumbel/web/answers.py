"""What a model answers to a mark or an expression, as values; :mod:`pseudo_gumbel.web.cards` shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sa2va_native.evaluation.segmentation import intersection_union, iou
from sa2va_native.inference.asking import look_for
from sa2va_native.inference.sa2va_inference import Sa2VAInference
from sa2va_native.models.unknown_words import unknown_words


class NamedModel(NamedTuple):
    """A model that answers."""

    name: str
    sa2va: Sa2VAInference


class Answer(NamedTuple):
    """Of one model, to one question."""

    model: str  #: its name
    text: str | None  #: the caption of the region, or the expression that was asked for; None without a caption
    frames: Sequence[np.ndarray]  #: the picture, or the frames of a clip, uint8 (H, W, 3) each
    found: np.ndarray | None  #: bool (F, H, W), where the text leads; None leads nowhere
    region: np.ndarray | None = None  #: bool (H, W) in the first frame: what was marked
    unread: Sequence[str] = ()  #: words of the expression that the model's tokenizer does not know

    @property
    def iou(self) -> float | None:
        """Of the region and where its caption leads in the same frame, 0..1; None if nothing was marked."""
        if self.region is None:
            return None
        return iou(intersection_union(None if self.found is None else self.found[0], self.region))

    @property
    def share(self) -> float:
        """Mean share of the picture that was found, 0..1."""
        return 0.0 if self.found is None else float(self.found.mean())

    @property
    def seen_in(self) -> int:
        """Number of frames in which something was found."""
        return 0 if self.found is None else int(self.found.any((1, 2)).sum())


def describe(model: NamedModel, frames: Sequence[np.ndarray], region: np.ndarray) -> Answer:
    """The caption of a region of the first frame, and where that caption, as text, leads.

    Raises:
        InputError, PromptError: see :meth:`Sa2VAInference.caption_regions`.
    """
    (caption,) = model.sa2va.caption_regions(frames[0], [region])
    found = _find(model.sa2va, frames, caption) if caption else None
    return Answer(model.name, caption, frames, found, region)


def find(model: NamedModel, frames: Sequence[np.ndarray], expression: str) -> Answer:
    """Where the object of an expression is, through all frames.

    Raises:
        InputError: see :meth:`Sa2VAInference.segment_image`.
    """
    unread = unknown_words(model.sa2va.model.tokenizer, expression)
    return Answer(model.name, expression, frames, _find(model.sa2va, frames, expression), unread=unread)


def _find(sa2va: Sa2VAInference, frames: Sequence[np.ndarray], text: str) -> np.ndarray | None:
    is_clip = len(frames) > 1
    mask = look_for(sa2va, frames, text, is_clip)
    return mask if mask is None or is_clip else mask[None]
