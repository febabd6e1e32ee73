"""A captioner that needs fewer, larger operations."""

from __future__ import annotations

from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from pseudo_gumbel.captioners.teacher_captioner import TeacherCaptioner
from pseudo_gumbel.registry import CAPTIONERS
from pseudo_gumbel.step import Captions
from sa2va_native.models.adapters import lora_merged
from sa2va_native.models.decoding import Decoding, growing
from sa2va_native.models.pictures import Pictures


@CAPTIONERS.register_module()
class MergedTeacherCaptioner(TeacherCaptioner):
    """The teacher captions with its LoRA merged into copies of the weights.

    Without adapters a layer is one operation instead of five, and captioning waits for the host. In float32 captions
    are those of :class:`TeacherCaptioner` but for ties; in bfloat16 the sum is rounded, and some captions change. The
    copies take as much memory as the language model's layers, while it captions. Under ZeRO-3, where no rank has whole
    weights, nothing is merged.
    """

    def __init__(self) -> None:
        self._told = False

    def captions(self, student: Any, pictures: Pictures, region: Tensor, decoding: Decoding = growing) -> Captions:
        if not student.is_partitioned:
            with lora_merged(student):
                return super().captions(student, pictures, region, decoding)
        if not self._told:
            print_log(f"{type(self).__name__}: ZeRO-3 splits the weights, so TeacherCaptioner captions", "current")
            self._told = True
        return super().captions(student, pictures, region)
