"""A captioner that a GPU runs by itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pseudo_gumbel.captioners.merged_teacher_captioner import MergedTeacherCaptioner
from pseudo_gumbel.registry import CAPTIONERS
from pseudo_gumbel.step import Captions
from sa2va_native.models.decoding import Decoding, StaticDecoding
from sa2va_native.models.pictures import Pictures


@CAPTIONERS.register_module()
class StaticTeacherCaptioner(MergedTeacherCaptioner):
    """The teacher captions with its LoRA merged, and each token is the same step, which a GPU repeats as a CUDA graph.

    The host then only looks for the end, every few tokens. Captions are those of :class:`MergedTeacherCaptioner` but
    for ties, which rounding decides, in bfloat16 more of them. Needs ``attention="sdpa"``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._decoding = StaticDecoding()

    def captions(self, student: Any, pictures: Pictures, region: Tensor, decoding: Decoding | None = None) -> Captions:
        return super().captions(student, pictures, region, decoding or self._decoding)
