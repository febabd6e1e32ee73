"""Pictures: which are the same, and the features that frozen towers compute from them."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from torch import Tensor


class Pictures(NamedTuple):
    """The frozen towers' features of a batch of pictures; computed once per step, shared by teacher and student.

    P different pictures of B samples; P is B where each sample has its own.
    """

    vision: Tensor  #: [P, g * g, C] features before the projector
    maps: tuple[Tensor, ...]  #: feature maps of the mask model; empty if only the language model sees the pictures
    shown: tuple[int, ...] | None = None  #: B numbers below P, which picture each sample shows; None: its own

    def of(self, rows: list[int]) -> Pictures:
        """The features of some samples' pictures."""
        if self.shown is not None:
            return self._replace(shown=tuple(self.shown[row] for row in rows))
        return Pictures(self.vision[rows], tuple(level[rows] for level in self.maps))

    def copied(self) -> Pictures:
        """The same with a copy of its picture for each sample."""
        return self if self.shown is None else self._replace(shown=None).of(list(self.shown))

    def shown_by(self, rows: int) -> list[int] | None:
        """For each of B * S rows, the S of a sample one after the other, its picture; None: B is P."""
        return None if self.shown is None else [one for one in self.shown for _ in range(rows // len(self.shown))]


def picture_ids(pictures: Tensor) -> list[str]:
    """Names of uint8 pictures [B, 3, H, W], by their size and pixels: the same pictures have the same name."""
    return [_digest_of(picture) for picture in pictures.cpu()]


def _digest_of(picture: Tensor) -> str:
    digest = hashlib.blake2b(str(tuple(picture.shape)).encode(), digest_size=16)
    digest.update(picture.contiguous().numpy().data)
    return digest.hexdigest()
