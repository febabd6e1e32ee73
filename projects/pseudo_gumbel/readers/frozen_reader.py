"""A reader that never changes."""

from __future__ import annotations

from pseudo_gumbel.readers.copy_reader import CopyReader
from pseudo_gumbel.registry import READERS


@READERS.register_module()
class FrozenReader(CopyReader):
    """Reads with the weights that the run began with, whose language cannot drift along with the captioner's.

    Raises:
        ConfigError: FrozenReaderHook is missing; or with gradient under ZeRO-3.
    """

    copy_of = "the initial weights"
    needs_hook = "frozen_reader=dict(type=FrozenReaderHook)"
