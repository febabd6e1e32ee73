"""Every adapter's set in its native layout, with each fault that can occur in it, and what each record must come to.

A new adapter joins by an entry in ``SETS``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sa2va_native.datasets.adapters.tar_shards import TarShards
from sa2va_native.structures import Kind
from tests.sa2va_native.datasets.faults.coco import write_coco, write_refer
from tests.sa2va_native.datasets.faults.common import TEXTS, NativeSet
from tests.sa2va_native.datasets.faults.describe import write_describe
from tests.sa2va_native.datasets.faults.open_images import write_open_images
from tests.sa2va_native.datasets.faults.own import write_own
from tests.sa2va_native.datasets.faults.sav import write_pairs, write_videos
from tests.sa2va_native.datasets.faults.shards import write_shards

__all__ = ["SETS", "TEXTS", "FaultySet", "NativeSet", "write_set"]


class FaultySet(NamedTuple):
    """How a set is written into an empty folder, and what it trains."""

    kind: Kind
    write: Callable[[NativeSet], None]


SETS = {
    "CocoInstances": FaultySet("cycle", write_coco),
    "CocoInstances with text": FaultySet("caption", partial(write_coco, text_key="caption")),
    "ReferExpressions": FaultySet("refer", write_refer),
    "OwnData": FaultySet("cycle", write_own),
    "OwnData with text": FaultySet("refer", partial(write_own, text_required=True)),
    "SavPairs": FaultySet("cycle", write_pairs),
    "SavVideos": FaultySet("cycle", write_videos),
    "Sa1b tar": FaultySet("cycle", write_shards),
    "Sa1b beside": FaultySet("cycle", partial(write_shards, layout="beside")),
    "Sa1b apart": FaultySet("cycle", partial(write_shards, layout="apart")),
    "TarShards": FaultySet("caption", partial(write_shards, adapter=TarShards, text_key="caption")),
    "OpenImages": FaultySet("cycle", write_open_images),
    "OpenImages with text": FaultySet("refer", partial(write_open_images, class_names=True)),
    "DescribeAnything": FaultySet("caption", write_describe),
}


def write_set(name: str, root: Path, faults: bool = True) -> NativeSet:
    """One of ``SETS`` in a new folder."""
    root.mkdir(parents=True)
    native = NativeSet(root, faults)
    SETS[name].write(native)
    return native
