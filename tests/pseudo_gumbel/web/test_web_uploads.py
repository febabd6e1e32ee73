"""Files that are dropped onto the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pseudo_gumbel.web.uploads import MAX_FRAMES, read_files
from sa2va_native.errors import InputError


def frame(folder: Path, name: str, value: int, side: int = 20) -> Path:
    Image.new("RGB", (side, 10), (value, 0, 0)).save(folder / name)
    return folder / name


def test_frames_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Red when frames are taken in the order in which the browser sent them."""
    files = [frame(tmp_path, f"{number:02d}.png", 10 * number) for number in (3, 1, 2)]
    assert [int(picture[0, 0, 0]) for picture in read_files(files)] == [10, 20, 30]


def test_one_picture_is_one_frame(tmp_path: Path) -> None:
    """Red when a single picture is taken for a clip of its rows."""
    (picture,) = read_files([frame(tmp_path, "a.png", 7)])
    assert picture.shape == (10, 20, 3)


def test_a_broken_file_is_named_without_the_folder_of_the_page(tmp_path: Path) -> None:
    """Red when the error does not say which file, or shows where the page keeps uploads."""
    broken = tmp_path / "b.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"b\.png") as caught:
        read_files([frame(tmp_path, "a.png", 7), broken])
    assert str(tmp_path) not in str(caught.value)


def test_files_that_are_no_clip_are_refused(tmp_path: Path) -> None:
    """Red when frames of two sizes, a video beside pictures, or a film in single pictures reach the model."""
    small = frame(tmp_path, "a.png", 7)
    with pytest.raises(InputError, match="frames of one size"):
        read_files([small, frame(tmp_path, "b.png", 7, side=30)])
    with pytest.raises(InputError, match=r"c\.mp4 beside other files"):
        read_files([small, tmp_path / "c.mp4"])
    with pytest.raises(InputError, match=f"{MAX_FRAMES + 1} frames"):
        read_files([small] * (MAX_FRAMES + 1))


def test_a_long_video_is_thinned(tmp_path: Path) -> None:
    """Red when the frames of a video are its first ones, or its last one is lost."""
    av = pytest.importorskip("av", reason="videos are read with PyAV: pip install -r requirements/video.txt")
    file = tmp_path / "film.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for value in range(64):
            picture = np.full((48, 64, 3), 3 * value, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    levels = [int(picture.mean()) for picture in read_files([file])]
    assert len(levels) == MAX_FRAMES
    assert levels[0] == pytest.approx(0, abs=4)
    assert levels[-1] == pytest.approx(3 * 63, abs=4)
    assert levels == sorted(levels)
