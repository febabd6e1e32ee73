"""A reader that stays behind, and catches up now and then."""

from __future__ import annotations

from pseudo_gumbel.readers.copy_reader import CopyReader
from pseudo_gumbel.registry import READERS


@READERS.register_module()
class RefreshedReader(CopyReader):
    """Reads with an old copy of the student, which is replaced by the present one every few hundred optimizer steps.

    Captioner and reader cannot agree on new words within an interval, and the reader still learns in the long run
    (SC-Tune, Yue et al., CVPR 2024: every 200 steps).

    Raises:
        ConfigError: RefreshedReaderHook is missing; or with gradient under ZeRO-3.
    """

    copy_of = "the student"
    needs_hook = "refreshed_reader=dict(type=RefreshedReaderHook)"
