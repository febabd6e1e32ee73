"""Readers whose weights are a copy of the student's."""

from __future__ import annotations

from typing import Any

from pseudo_gumbel.gumbel import Words
from pseudo_gumbel.readers.reader import Reading, read_with_constants, read_without_gradient
from pseudo_gumbel.shadow import Shadow
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError


class CopyReader:
    """Reads with a copy of the weights, made and kept in checkpoints by a hook.

    Raises:
        ConfigError: the hook is missing; or with gradient under ZeRO-3.
    """

    learns = False
    copy_of: str  #: which weights, for messages
    needs_hook: str  #: the key and the class of the hook

    def __init__(self) -> None:
        self.weights: Shadow | None = None

    def __call__(self, model: Any, step: CycleStep, words: Words, *, gradient: bool) -> Reading:
        if self.weights is None:
            raise ConfigError(
                f"{type(self).__name__} has no copy of {self.copy_of}: add default_hooks.{self.needs_hook}"
            )
        return (read_with_constants if gradient else read_without_gradient)(model, step, words, self.weights)
