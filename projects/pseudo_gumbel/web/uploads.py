"""Files that a user gives: a picture, the frames of a clip, or a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sa2va_native.errors import InputError
from sa2va_native.inference.clips import is_video, read_clip
from sa2va_native.inference.inputs import frames_pixels

#: Frames of a longer video are taken at equal distances.
MAX_FRAMES = 32


def read_files(files: Sequence[Path]) -> list[np.ndarray]:
    """One picture, or the frames of a clip, each uint8 RGB (H, W, 3); several files in the order of their names.

    Raises:
        InputError: a file that cannot be read, frames of different sizes, too many, or a video among others. It names
            files alone, not the folder that the page keeps them in.
        ConfigError: a video, and PyAV is not installed.
    """
    files = sorted(files, key=lambda file: file.name)
    videos = [file for file in files if is_video(file)]
    if videos and len(files) > 1:
        raise InputError(f"{videos[0].name} beside other files; give one video, or the frames as pictures")
    if len(files) > MAX_FRAMES:
        raise InputError(f"{len(files)} frames, and {MAX_FRAMES} at most are shown here; give fewer, or a video")
    try:
        if not videos:
            return frames_pixels(files)
        frames = read_clip(videos[0])
    except InputError as error:
        message = str(error)
        for folder in {f"{file.parent}/" for file in files}:
            message = message.replace(folder, "")
        raise InputError(message) from error
    numbers = np.linspace(0, len(frames) - 1, min(len(frames), MAX_FRAMES)).round().astype(int)
    return [frames[number] for number in numbers]
