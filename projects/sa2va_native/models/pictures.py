"""The features that frozen towers compute from pictures."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Pictures(NamedTuple):
    """The frozen towers' features of a batch of pictures; computed once per step, shared by teacher and student."""

    vision: Tensor  #: [B, g * g, C] features before the projector
    maps: tuple[Tensor, ...]  #: feature maps of the mask model; empty if only the language model sees the pictures

    def of(self, rows: list[int]) -> Pictures:
        """The features of some pictures of the batch."""
        return Pictures(self.vision[rows], tuple(level[rows] for level in self.maps))
