"""A reader that never changes."""

from __future__ import annotations

from typing import Any

from pseudo_gumbel.gumbel import Words
from pseudo_gumbel.readers.reader import Reading, read_with_constants, read_without_gradient
from pseudo_gumbel.registry import READERS
from pseudo_gumbel.shadow import Shadow
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError


@READERS.register_module()
class FrozenReader:
    """Reads with the weights that the run began with, whose language cannot drift along with the captioner's.

    Raises:
        ConfigError: FrozenReaderHook is missing; or with gradient under ZeRO-3.
    """

    def __init__(self) -> None:
        #: Set by FrozenReaderHook, which also keeps it in checkpoints.
        self.weights: Shadow | None = None

    def __call__(self, model: Any, step: CycleStep, words: Words, *, gradient: bool) -> Reading:
        if self.weights is None:
            raise ConfigError(
                "FrozenReader has no copy of the initial weights: add "
                "default_hooks.frozen_reader=dict(type=FrozenReaderHook)"
            )
        return (read_with_constants if gradient else read_without_gradient)(model, step, words, self.weights)
