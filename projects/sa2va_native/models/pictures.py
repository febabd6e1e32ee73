"""What frozen towers make of pictures."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Pictures(NamedTuple):
    """What the frozen towers make of a batch of pictures; computed once a step, shared by teacher and student."""

    vision: Tensor  #: [B, g * g, C] features before the projector
    maps: tuple[Tensor, ...]  #: feature maps of the mask model; none where only the language model looks

    def of(self, rows: list[int]) -> Pictures:
        """Those of some pictures of the batch."""
        return Pictures(self.vision[rows], tuple(level[rows] for level in self.maps))
