"""Single frames of a video, decoded on demand with PyAV."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from sa2va_native.datasets.reading.files import MAX_IMAGE_PIXELS
from sa2va_native.errors import BadSample, ConfigError


def require_av() -> ModuleType:
    """PyAV.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ConfigError(
            f"videos are read with PyAV, which cannot be imported ({error}). "
            "Run: pip install -r requirements/video.txt; or convert the videos to pairs on a machine that has it."
        ) from error
    return av


def read_all_frames(path: Path, record: str, every: int = 1) -> list[np.ndarray]:
    """Every frame of a video, or each ``every``-th one, as viewers show it, uint8 RGB (H, W, 3).

    Raises:
        BadSample: missing, not a video, or damaged.
        ConfigError: see ``require_av``.
    """
    with _opened(path, record) as (container, stream):
        return [
            np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))
            for frame in itertools.islice(container.decode(stream), 0, None, every)
        ]


def read_frames(
    path: Path, numbers: Collection[int], record: str, expected_size: tuple[int, int] | None = None
) -> dict[int, np.ndarray]:
    """Some frames of a video, each as uint8 RGB (H, W, 3).

    Frames are numbered from 0 in display order. Their times are read from the file without decoding, so a frame is
    found exactly even if the frame rate varies; decoding starts at the key frame before it.

    Args:
        numbers: which frames.
        record: the record that refers to them; for the error.
        expected_size: annotated (height, width) in px. Frames are returned as stored, unless the file asks for a
            rotation (as phones do) and only rotated frames have this size.

    Raises:
        BadSample: missing, not a video, damaged at these frames, or too short for them.
        ConfigError: see ``require_av``.
    """
    frames: dict[int, np.ndarray] = {}
    with _opened(path, record) as (container, stream):
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        times = sorted(
            packet.pts for packet in packets if not packet.is_discard
        )  # discarded ones: the video was cut without re-encoding
        keys = sorted(packet.pts for packet in packets if packet.is_keyframe)
        here: int | None = None  # time of the last decoded frame
        for number in sorted(numbers):
            if number >= len(times):
                raise ValueError(f"frame {number} of a video of {len(times)} frames")
            wanted = times[number]
            key = keys[max(bisect.bisect_right(keys, wanted) - 1, 0)]
            if here is None or here < key:
                container.seek(key, stream=stream)
                decoded = container.decode(stream)
            for frame in decoded:
                here = frame.pts
                if here is not None and here >= wanted:
                    break
            if here != wanted:
                raise ValueError(f"frame {number} cannot be decoded")
            frames[number] = _as_annotated(frame.to_ndarray(format="rgb24"), frame.rotation, expected_size)
    return frames


@contextmanager
def _opened(path: Path, record: str) -> Iterator[tuple[Any, Any]]:
    """A video and its first stream of pictures; whatever goes wrong inside makes a bad sample."""
    av = require_av()
    if not path.is_file():
        raise BadSample(str(path), record, "missing: no such file")
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.width * stream.height > MAX_IMAGE_PIXELS:
                raise ValueError(f"{stream.width} x {stream.height} px is above {MAX_IMAGE_PIXELS} px")
            stream.codec_context.options = {"err_detect": "explode"}  # an error, not a guessed picture
            yield container, stream
    # on broken bytes PyAV raises FFmpegError, and nearly anything where a stream has no decoder, key frame or size
    except Exception as error:
        raise BadSample(str(path), record, f"unreadable video ({type(error).__name__}: {error})") from error


def _as_annotated(pixels: np.ndarray, rotation: int, size: tuple[int, int] | None) -> np.ndarray:
    """A frame, rotated (degrees, counterclockwise) if only then it has the expected size."""
    turned = np.rot90(pixels, round(rotation / 90))
    return np.ascontiguousarray(turned) if pixels.shape[:2] != size == turned.shape[:2] else pixels
