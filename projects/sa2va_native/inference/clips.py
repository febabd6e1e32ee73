"""Clips of files: a video, or a folder of frames; and pictures of a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from sa2va_native.datasets.reading.files import read_upright
from sa2va_native.datasets.reading.video_frames import read_all_frames, require_av
from sa2va_native.errors import BadSample, InputError

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".jp2")
VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg")
#: Frames a second of a clip that does not say how fast it is.
RATE = Fraction(10)


def is_video(path: str | Path) -> bool:
    """Whether a file is a video, by its suffix."""
    return Path(path).suffix.lower() in VIDEOS


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, not of folders in it, in the order of their numbers and names: 2.png before 10.png.

    Raises:
        InputError: there is none.
    """
    files = [file for file in folder.iterdir() if file.suffix.lower() in PICTURES and not file.name.startswith(".")]
    if not files:
        raise InputError(f"{folder} has no picture ({', '.join(PICTURES)})")
    return sorted(files, key=_with_numbers)


def read_clip(path: str | Path, every: int = 1) -> list[np.ndarray]:
    """The frames of a video or of a folder, uint8 RGB (H, W, 3).

    Args:
        path: of a video, which PyAV decodes, or of a folder of pictures.
        every: take the first frame and each ``every``-th one after it.

    Raises:
        InputError: it cannot be read, or has no frame.
        ConfigError: PyAV is not installed.
    """
    path = Path(path).expanduser()
    try:
        if path.is_dir():
            return [read_upright(file, f"frame {number}") for number, file in enumerate(pictures_in(path)[::every])]
        if not is_video(path):
            raise InputError(f"{path} is no clip: give a folder of frames, or a video ({', '.join(VIDEOS)})")
        frames = read_all_frames(path, "clip", every)
    except BadSample as error:
        raise InputError(str(error)) from error
    if not frames:
        raise InputError(f"{path} has no frame")
    return frames


def frame_rate(path: str | Path) -> Fraction:
    """Frames a second of a video; :data:`RATE` where it does not say it, and for a folder."""
    if not is_video(path):
        return RATE
    with require_av().open(str(path)) as container:
        return container.streams.video[0].average_rate or RATE


def write_video(frames: Sequence[Image.Image], path: Path, rate: Fraction = RATE) -> None:
    """Write an MP4 that browsers play (H.264).

    Args:
        frames: RGB pictures of one size; a last odd row or column is left out, which H.264 cannot hold.
        rate: frames a second.

    Raises:
        ConfigError: PyAV is not installed.
    """
    width, height = (side - side % 2 for side in frames[0].size)
    with require_av().open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            picture = require_av().VideoFrame.from_image(frame.crop((0, 0, width, height)))
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _with_numbers(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]
