"""Converts raw SA-V to the pair files that ``SavPairs`` reads."""

from __future__ import annotations

import functools
import itertools
import json
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track

from sa2va_native.datasets.adapters.sav_videos import check_choices
from sa2va_native.datasets.indexing.file_parts import walk
from sa2va_native.datasets.reading.files import require_folder, require_own
from sa2va_native.datasets.reading.object_limits import Dropped, ObjectLimits
from sa2va_native.datasets.reading.sav_file import FramePair, SavFile, video_of
from sa2va_native.datasets.reading.unchanged import stamp
from sa2va_native.datasets.reading.video_frames import require_av
from sa2va_native.errors import BadSample, ConfigError, DataError
from sa2va_native.files.atomic import atomic_write, discard_incomplete
from sa2va_native.parallel.ordered_map import ordered_map

#: Hidden folder of the output: the result for each annotation file, and the state of the files it was made from. While
#: they are unchanged, nothing is converted again.
_RECEIPTS = ".done"


class Conversion(NamedTuple):
    """What to convert, and how; ``frame_gap``, ``kinds`` and the area limits are those of ``SavVideos``."""

    root: Path
    out: Path
    frame_gap: int = 6
    kinds: tuple[str, ...] = ("manual", "auto")
    pairs_per_masklet: int = 1  #: evenly spread over the usable ones
    min_area_share: float = 0.0
    max_area_share: float = 1.0

    def settings(self) -> dict[str, Any]:
        """JSON-like; everything that determines the pairs."""
        return {**self._asdict(), "kinds": sorted(self.kinds), "root": None, "out": None}


class Converted(NamedTuple):
    """The result of a conversion, or of one of its files."""

    pairs: int
    dropped: Counter[str]
    bad: list[BadSample]


def convert(conversion: Conversion, processes: int = 1) -> Converted:
    """Write the pairs of all annotation files below ``root``; a killed conversion continues where it stopped.

    Bad samples are written to ``bad_samples.jsonl`` in ``out``.

    Raises:
        ConfigError: impossible settings, or ``out`` holds pairs made with other settings.
        DataError: ``root`` has no annotation file.
    """
    require_av()
    check_choices(conversion.frame_gap, conversion.kinds)
    ObjectLimits(conversion.min_area_share, conversion.max_area_share)
    for name, value in (("pairs_per_masklet", conversion.pairs_per_masklet), ("processes", processes)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")
    names, unread = _annotation_files(conversion)
    if not names:
        raise DataError(f"{conversion.root}: no sav_XXXXXX_{{{','.join(conversion.kinds)}}}.json in it.")
    _claim(conversion)
    try:
        with ProcessPoolExecutor(processes) as pool:
            done = ordered_map(pool, functools.partial(_convert_file, conversion), names, ahead=4 * processes)
            for _ in track(done, description="converting", total=len(names)):
                pass
    except BrokenProcessPool as error:
        raise DataError(
            "a process of the conversion was killed, perhaps for lack of memory. Start it again with fewer "
            "processes; it continues where it stopped."
        ) from error
    receipts = [_read_receipt(conversion, name) for name in names]
    bad = unread + [one for receipt in receipts for one in receipt.bad]
    with atomic_write(conversion.out / "bad_samples.jsonl") as unfinished:
        lines = (json.dumps(one.report()) + "\n" for one in bad)
        unfinished.write_text("".join(lines), encoding="utf-8")
    dropped = sum((receipt.dropped for receipt in receipts), Counter[str]())
    return Converted(sum(receipt.pairs for receipt in receipts), dropped, bad)


def _annotation_files(conversion: Conversion) -> tuple[list[str], list[BadSample]]:
    """Paths of the annotation files, relative to the root, and files and folders that are not read."""
    root = require_folder(conversion.root, "Give the folder with sav_XXXXXX.mp4 and their jsons.")
    endings = tuple(f"_{kind}.json" for kind in conversion.kinds)
    found, unread = [], []
    for folder, names, bad, _ in walk(root, ".json"):
        found += [(folder / name).relative_to(root).as_posix() for name in names if name.endswith(endings)]
        unread += bad
    return found, unread


def _claim(conversion: Conversion) -> None:
    """Write the settings to the output folder, or compare them with those there."""
    path = conversion.out / _RECEIPTS / "settings.json"
    settings = json.loads(json.dumps(conversion.settings()))
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as unfinished:
                unfinished.write_text(json.dumps(settings), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{conversion.out}: cannot be written ({error}). Choose another folder.") from error
    written = json.loads(path.read_text(encoding="utf-8"))
    changes = [
        f"{key} was {written.get(key)!r}, now {value!r}" for key, value in settings.items() if written.get(key) != value
    ]
    if changes:
        raise ConfigError(
            f"{conversion.out}: holds pairs made with other settings ({', '.join(changes)}). Choose another folder."
        )


def _receipt(conversion: Conversion, name: str) -> Path:
    return conversion.out / _RECEIPTS / name


def _read_receipt(conversion: Conversion, name: str) -> Converted:
    _, pairs, dropped, bad = json.loads(_receipt(conversion, name).read_text(encoding="utf-8"))
    return Converted(pairs, Counter(dropped), [BadSample(*fields) for fields in bad])


def _convert_file(conversion: Conversion, name: str) -> None:
    receipt, annotation = _receipt(conversion, name), conversion.root / name
    folder, state = conversion.out / name.removesuffix(".json"), [stamp(annotation), stamp(video_of(annotation))]
    if receipt.is_file():
        if json.loads(receipt.read_text(encoding="utf-8"))[0] == state:
            return
        shutil.rmtree(folder, ignore_errors=True)  # pairs from earlier versions of the files
    done = Converted(0, Counter(), [])
    try:
        require_own(conversion.root, video_of(annotation), "file")
        file = SavFile(annotation)
    except BadSample as error:
        done.bad.append(error)
    else:
        done = _write_pairs(conversion, file, folder)
    receipt.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(receipt) as unfinished:
        bad = [[one.path, one.record, one.reason] for one in done.bad]
        unfinished.write_text(json.dumps([state, done.pairs, done.dropped, bad]), encoding="utf-8")


def _write_pairs(conversion: Conversion, file: SavFile, folder: Path) -> Converted:
    dropped, bad, usable = Counter[str](), [], []
    limits = ObjectLimits(conversion.min_area_share, conversion.max_area_share)
    for found in file.pairs(conversion.frame_gap, limits):
        if isinstance(found, Dropped):
            dropped[found.reason] += 1
        elif isinstance(found, BadSample):
            bad.append(found)
        else:
            usable.append(found)
    chosen = []
    for _, group in itertools.groupby(usable, key=lambda pair: pair.masklet):
        pairs = list(group)
        chosen += middles(pairs, conversion.pairs_per_masklet)
    if len(usable) > len(chosen):
        dropped[f"pairs beyond pairs_per_masklet={conversion.pairs_per_masklet}"] = len(usable) - len(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    discard_incomplete(folder)  # left by a killed conversion
    count = 0
    # one pair at a time: damage costs only its own pairs, and memory does not grow with the video
    for _, same_frames in itertools.groupby(sorted(chosen, key=lambda pair: pair[1:]), key=lambda pair: pair[1:]):
        try:
            for pair, arrays in file.read(list(same_frames)):
                content: dict[str, Any] = arrays
                path = folder / f"masklet_data_{pair.masklet}_{pair.frame1}_{pair.frame2}.npz"
                with atomic_write(path) as unfinished, unfinished.open("wb") as stream:
                    np.savez_compressed(stream, **content)
                count += 1
        except BadSample as error:
            bad.append(error)
    return Converted(count, dropped, bad)


def middles(pairs: list[FramePair], count: int) -> list[FramePair]:
    """``count`` pairs, spread evenly: the middle of each of ``count`` equal stretches; all if there are no more."""
    if len(pairs) <= count:
        return pairs
    return [pairs[(2 * i + 1) * len(pairs) // (2 * count)] for i in range(count)]
