"""A reader that cannot learn wrong words."""

from __future__ import annotations

from typing import Any

from pseudo_gumbel.gumbel import Words
from pseudo_gumbel.readers.reader import Reading, read_with_constants, read_without_gradient
from pseudo_gumbel.registry import READERS
from pseudo_gumbel.step import CycleStep


@READERS.register_module()
class TeacherReader:
    """The EMA teacher reads, or without EMATeacherHook the frozen student: gradient reaches the captioner alone.

    Raises:
        ConfigError: with gradient under ZeRO-3, where no rank has the teacher's whole tensors.
    """

    learns = False

    def __call__(self, model: Any, step: CycleStep, words: Words, *, gradient: bool) -> Reading:
        return (read_with_constants if gradient else read_without_gradient)(model, step, words, model.teacher)
