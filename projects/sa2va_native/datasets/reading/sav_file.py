"""One annotation file of SA-V: the masklets of a video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sa2va_native.datasets.reading.files import parse_json
from sa2va_native.datasets.reading.mask_codec import MaskError, decode_mask, has_mask, mask_area
from sa2va_native.datasets.reading.numbers import as_whole
from sa2va_native.datasets.reading.object_limits import Dropped, ObjectLimits
from sa2va_native.datasets.reading.video_frames import read_frames
from sa2va_native.errors import BadSample, DataError
from sa2va_native.files.bounded_json import SAMPLE_BYTES, read_bounded

#: Masks are annotated at 6 frames per second, videos have 24.
VIDEO_FRAMES_PER_ANNOTATED = 4


class FramePair(NamedTuple):
    """One object in two frames; frames are numbered as annotated, 6 per second."""

    masklet: int
    frame1: int
    frame2: int


class SavFile:
    """``sav_XXXXXX_manual.json`` or ``_auto.json``, next to ``sav_XXXXXX.mp4``.

    Format: https://github.com/facebookresearch/sam2/blob/main/sav_dataset/README.md. A frame that does not show the
    object has an empty mask, or none.

    Args:
        path: the json.

    Raises:
        BadSample: missing, truncated, or not of this format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.video = video_of(path)
        try:
            content = parse_json(read_bounded(path), path, "Download it again.", most=SAMPLE_BYTES)
            height, width = as_whole(content["video_height"]), as_whole(content["video_width"])
            if height is None or width is None or min(height, width) < 1:
                raise ValueError(f"frames of {width} x {height} px")
            self.size = height, width
            self.frames: list[list[Any]] = content["masklet"]
            lists = isinstance(self.frames, list) and all(isinstance(frame, list) for frame in self.frames)
            if not lists or len({len(frame) for frame in self.frames}) != 1 or not self.frames[0]:
                raise ValueError("'masklet' is not a list of frames with one mask per object")
        except OSError as error:
            raise BadSample(str(path), "file", f"unreadable ({error})") from error
        except (DataError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise BadSample(
                str(path), "file", f"not an annotation of SA-V ({type(error).__name__}: {error})"
            ) from error

    def pairs(self, frame_gap: int, limits: ObjectLimits) -> Iterator[FramePair | Dropped | BadSample]:
        """Frames 0 and ``frame_gap``, ``frame_gap`` and ``2 * frame_gap`` and so on of each masklet.

        A pair is left out unless both frames show the object within the limits.
        """
        starts = range(0, len(self.frames) - frame_gap, frame_gap)
        if not starts:
            yield Dropped("videos shorter than frame_gap")
        for masklet in range(len(self.frames[0])):
            shares: dict[int, float | MaskError] = {}
            for frame in (*starts, *(start + frame_gap for start in starts[-1:])):
                try:
                    shares[frame] = self._share(frame, masklet)
                except MaskError as error:
                    shares[frame] = error
            for start in starts:
                pair = FramePair(masklet, start, start + frame_gap)
                yield self._judge(pair, [shares[pair.frame1], shares[pair.frame2]], limits)

    def record(self, pair: FramePair) -> str:
        """The name of a pair in errors."""
        return f"masklet {pair.masklet} frames {pair.frame1} and {pair.frame2}"

    def read(self, pairs: list[FramePair]) -> Iterator[tuple[FramePair, dict[str, np.ndarray]]]:
        """``frame1, mask1, frame2, mask2`` of the pairs: uint8 (H, W, 3) and bool (H, W).

        Raises:
            BadSample: a frame or a mask cannot be read, or the object is not in it.
        """
        annotated = {frame for pair in pairs for frame in pair[1:]}
        numbers = [VIDEO_FRAMES_PER_ANNOTATED * frame for frame in annotated]
        pictures = read_frames(self.video, numbers, self.record(pairs[0]), self.size)
        for pair in pairs:
            arrays: dict[str, np.ndarray] = {}
            for side, frame in (("1", pair.frame1), ("2", pair.frame2)):
                picture = pictures[VIDEO_FRAMES_PER_ANNOTATED * frame]
                try:
                    mask = decode_mask(self.frames[frame][pair.masklet], *picture.shape[:2])
                except IndexError:
                    raise BadSample(str(self.path), self.record(pair), "changed since it was indexed") from None
                except MaskError as error:
                    raise BadSample(str(self.path), self.record(pair), f"frame {frame}: {error}") from error
                arrays |= {f"frame{side}": picture, f"mask{side}": mask}
            yield pair, arrays

    def _judge(
        self, pair: FramePair, found: list[float | MaskError], limits: ObjectLimits
    ) -> FramePair | Dropped | BadSample:
        shares = []
        for share in found:
            if isinstance(share, MaskError):
                return BadSample(str(self.path), self.record(pair), str(share))
            shares.append(share)
        if not all(shares):
            return Dropped("pairs with a frame that does not show the object")
        for share in shares:
            if reason := limits.outside_area(share):
                return Dropped(f"pairs {reason}")
        return pair

    def _share(self, frame: int, masklet: int) -> float:
        """The object's share of a frame, 0..1; 0 if it is not visible."""
        segmentation = self.frames[frame][masklet]
        if not has_mask(segmentation):
            return 0.0
        height, width = self.size
        return mask_area(segmentation, height, width) / (height * width)


def video_of(annotation: Path) -> Path:
    """``sav_XXXXXX.mp4``, from the path of one of its jsons."""
    return annotation.with_name(f"{annotation.stem.rpartition('_')[0]}.mp4")
