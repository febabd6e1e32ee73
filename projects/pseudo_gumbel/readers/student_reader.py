"""The method's reader."""

from __future__ import annotations

from typing import Any

from pseudo_gumbel.gumbel import Words
from pseudo_gumbel.readers.reader import Reading, read, read_without_gradient
from pseudo_gumbel.registry import READERS
from pseudo_gumbel.step import CycleStep


@READERS.register_module()
class StudentReader:
    """The student reads its own words and, with gradient, learns to read them."""

    learns = True

    def __call__(self, model: Any, step: CycleStep, words: Words, *, gradient: bool) -> Reading:
        return read(model.student, step, words) if gradient else read_without_gradient(model, step, words)
