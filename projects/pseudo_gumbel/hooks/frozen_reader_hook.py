"""Gives FrozenReader its copy of the initial weights."""

from __future__ import annotations

from typing import Any

from mmengine.registry import HOOKS

from pseudo_gumbel.hooks.shadow_hook import ShadowHook
from pseudo_gumbel.readers.frozen_reader import FrozenReader
from pseudo_gumbel.shadow import Shadow
from sa2va_native.errors import ConfigError


class FrozenCopy(Shadow):
    """The trained parameters as they were when the run began."""

    role = "frozen reader"


@HOOKS.register_module()
class FrozenReaderHook(ShadowHook[FrozenCopy]):
    """Copies the weights that a run begins with for FrozenReader; a resumed run takes the copy from its checkpoint.

    Raises:
        ConfigError: the model has another reader.
        CheckpointError: on resume, if the checkpoint has no such copy or one that does not fit.
    """

    checkpoint_key = "frozen_reader"

    def make(self, model: Any) -> FrozenCopy:
        if not isinstance(model.reader, FrozenReader):
            raise ConfigError(
                f"FrozenReaderHook with model.reader={type(model.reader).__name__}: nothing would read with its "
                "copy. Use reader=dict(type=FrozenReader), or leave the hook out."
            )
        model.reader.weights = FrozenCopy(model)
        return model.reader.weights
