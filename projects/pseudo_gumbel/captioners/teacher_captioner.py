"""Step 1: the teacher captions, as the method has it. The interface of all captioners."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from pseudo_gumbel.registry import CAPTIONERS
from pseudo_gumbel.step import Captions
from sa2va_native.models.decoding import Decoding, growing
from sa2va_native.models.pictures import Pictures


@CAPTIONERS.register_module()
class TeacherCaptioner:
    """The EMA teacher, or without EMATeacherHook the student, captions greedily."""

    @torch.no_grad()
    def __call__(self, model: Any, pictures: Pictures, region: Tensor) -> Captions:
        """Captions of regions [B, g, g].

        Args:
            model: :class:`pseudo_gumbel.model.PseudoGumbel`, for its ``student`` and ``teacher``.
            pictures: picture 1 of each sample.
            region: bool.
        """
        with model.teacher.applied_to(model) if model.teacher else nullcontext():
            return self.captions(model.student, pictures, region)

    def captions(self, student: Any, pictures: Pictures, region: Tensor, decoding: Decoding = growing) -> Captions:
        """The same with whatever weights ``student`` has at the moment."""
        ids, stopped = zip(*student.caption(pictures, region, decoding), strict=True)
        return Captions(list(ids), list(stopped))
