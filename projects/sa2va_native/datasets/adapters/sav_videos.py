"""SA-V as published: videos and the masklets of their objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from mmengine.registry import DATASETS

from sa2va_native.datasets.indexing.file_parts import file_parts
from sa2va_native.datasets.indexing.index import Entry, Part
from sa2va_native.datasets.indexing.indexed_set import IndexedSet
from sa2va_native.datasets.reading.files import require_folder, require_own
from sa2va_native.datasets.reading.object_limits import Dropped, ObjectLimits
from sa2va_native.datasets.reading.sav_file import FramePair, SavFile
from sa2va_native.datasets.reading.video_frames import require_av
from sa2va_native.errors import BadSample, ConfigError, did_you_mean
from sa2va_native.structures import Sample

#: Who made the masklets: annotators, or SAM 2 alone.
KINDS = ("manual", "auto")
_COLUMNS = {"path": pa.string(), **dict.fromkeys(FramePair._fields, pa.int32())}
_REMEDY = "Expected sav_XXXXXX.mp4 next to sav_XXXXXX_manual.json or sav_XXXXXX_auto.json, in folders of any depth."


@DATASETS.register_module()
class SavVideos(IndexedSet):
    """Each pair of frames of each masklet is one item, see ``SavFile.pairs``; frames are decoded when they are drawn.

    To train for long on the same pairs, convert them once (``pseudo-gumbel convert-sav``); see ``SavPairs``.

    Args:
        root: folder of the videos and annotations.
        frame_gap: distance between the frames of a pair, in annotated frames (6 per second).
        kinds: one or both of ``KINDS``.
        index_dir: see ``open_index``.
        min_area_share, max_area_share: see ``ObjectLimits``; they apply to both frames.

    Raises:
        DataError: a missing folder, or no usable pair in it.
        ConfigError: PyAV is missing, an unknown kind, or a gap below 1; see also ``open_index``.
    """

    def __init__(
        self,
        root: str | Path,
        frame_gap: int = 6,
        kinds: Sequence[str] = KINDS,
        index_dir: str | Path | None = None,
        min_area_share: float = 0.0,
        max_area_share: float = 1.0,
    ) -> None:
        require_av()
        self.root = require_folder(Path(root), _REMEDY)
        check_choices(frame_gap, kinds)
        self.frame_gap, self.kinds = frame_gap, tuple(kinds)
        self.limits = ObjectLimits(min_area_share, max_area_share)
        settings = {"frame_gap": frame_gap, "kinds": sorted(kinds), **self.limits.settings()}
        self._open_index(self.root, index_dir, settings, _COLUMNS, self._parts, _REMEDY)

    def __getitem__(self, index: int) -> Sample:
        row = self._row(index, *_COLUMNS)
        path, pair = self.root / row["path"], FramePair(row["masklet"], row["frame1"], row["frame2"])
        require_own(self.root, path, "file")
        file = SavFile(path)
        require_own(self.root, file.video, file.record(pair))
        pair, arrays = next(file.read([pair]))
        return Sample(
            f"{row['path']}#{file.record(pair)}",
            arrays["frame1"],
            arrays["mask1"],
            image2=arrays["frame2"],
            mask2=arrays["mask2"],
        )

    def _parts(self) -> Iterator[Part]:
        return file_parts(self.root, ".json", self._records)

    def _records(self, folder: Path, names: list[str]) -> Iterator[Entry]:
        for name in names:
            if not name.removesuffix(".json").endswith(tuple(f"_{kind}" for kind in self.kinds)):
                continue
            path = folder / name
            try:
                file = SavFile(path)
            except BadSample as error:
                yield error
                continue
            place = {"path": path.relative_to(self.root).as_posix()}
            for pair in file.pairs(self.frame_gap, self.limits):
                yield pair if isinstance(pair, (Dropped, BadSample)) else {**place, **pair._asdict()}


def check_choices(frame_gap: int, kinds: Sequence[str]) -> None:
    """Refuse settings that cannot work.

    Raises:
        ConfigError: no kind, an unknown kind, or a gap below 1.
    """
    if frame_gap < 1:
        raise ConfigError(f"frame_gap must be at least 1, got {frame_gap}")
    if not kinds:
        raise ConfigError(f"kinds is empty; give at least one of {', '.join(KINDS)}")
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"kind '{kind}' of SA-V's masklets is unknown. {did_you_mean(kind, KINDS)}")
