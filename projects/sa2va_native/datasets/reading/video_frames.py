"""Single frames of a video, decoded on demand with PyAV."""

from __future__ import annotations

import bisect
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

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
            "Run: pip install -r requirements/video.txt; or convert the videos to pairs where it is installed."
        ) from error
    return av


def read_frames(
    path: Path, numbers: Collection[int], record: str, expected_size: tuple[int, int] | None = None
) -> dict[int, np.ndarray]:
    """Some frames of a video, each as uint8 RGB (H, W, 3).

    Frames are counted from 0 in the order in which they are shown. Their times are taken from the file without
    decoding, so a frame is found exactly, also where the frame rate varies; decoding starts at the key frame before it.

    Args:
        numbers: which frames.
        record: what asks for them; goes into the error.
        expected_size: (height, width) that was annotated. Frames are given as they are stored, unless the file says
            that they are to be turned (telephones do) and only turned ones have this size.

    Raises:
        BadSample: missing, no video, damaged at these frames, or shorter than that.
        ConfigError: see ``require_av``.
    """
    av = require_av()
    if not path.is_file():
        raise BadSample(str(path), record, "missing: no such file")
    frames: dict[int, np.ndarray] = {}
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.width * stream.height > MAX_IMAGE_PIXELS:
                raise ValueError(f"{stream.width} x {stream.height} px is above {MAX_IMAGE_PIXELS} px")
            stream.codec_context.options = {"err_detect": "explode"}  # an error, not a guessed picture
            packets = [packet for packet in container.demux(stream) if packet.pts is not None]
            times = sorted(packet.pts for packet in packets if not packet.is_discard)  # cut off without re-encoding
            keys = sorted(packet.pts for packet in packets if packet.is_keyframe)
            here: int | None = None  # time of the frame decoded last
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
    # on broken bytes PyAV raises FFmpegError, and nearly anything where a stream has no decoder, key frame or size
    except Exception as error:
        raise BadSample(str(path), record, f"unreadable video ({type(error).__name__}: {error})") from error
    return frames


def _as_annotated(pixels: np.ndarray, rotation: int, size: tuple[int, int] | None) -> np.ndarray:
    """A frame, turned by its rotation (degrees, counterclockwise) if only then it has the size."""
    turned = np.rot90(pixels, round(rotation / 90))
    return np.ascontiguousarray(turned) if pixels.shape[:2] != size == turned.shape[:2] else pixels
