"""Pictures: which are the same, and the features that frozen towers compute from them."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from torch import Tensor


class Pictures(NamedTuple):
    """The frozen towers' features of a batch of pictures; computed once per step, shared by teacher and student."""

    vision: Tensor  #: [B, g * g, C] features before the projector
    maps: tuple[Tensor, ...]  #: feature maps of the mask model; empty if only the language model sees the pictures

    def of(self, rows: list[int]) -> Pictures:
        """The features of some pictures of the batch."""
        return Pictures(self.vision[rows], tuple(level[rows] for level in self.maps))


def picture_ids(pictures: Tensor) -> list[str]:
    """Names of uint8 pictures [B, 3, H, W], by their size and pixels: the same pictures have the same name."""
    return [_digest_of(picture) for picture in pictures.cpu()]


def _digest_of(picture: Tensor) -> str:
    digest = hashlib.blake2b(str(tuple(picture.shape)).encode(), digest_size=16)
    digest.update(picture.contiguous().numpy().data)
    return digest.hexdigest()
