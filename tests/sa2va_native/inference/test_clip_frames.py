"""Clips are read from folders and videos, and written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sa2va_native.errors import InputError
from sa2va_native.inference.clips import frame_rate, pictures_in, read_clip, write_video
from sa2va_native.inference.inputs import frames_pixels


def grey(level: int, size: tuple[int, int] = (33, 25)) -> Image.Image:
    return Image.new("RGB", size, (level,) * 3)


def test_frames_of_a_folder_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Red when frame 10 comes before frame 2, or a file that is no picture is taken for one."""
    for number in (1, 2, 10):
        grey(20 * number).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".frame3.png").touch()
    assert [file.name for file in pictures_in(tmp_path)] == ["frame1.png", "frame2.png", "frame10.png"]
    assert [int(frame[0, 0, 0]) for frame in read_clip(tmp_path)] == [20, 40, 200]
    assert [int(frame[0, 0, 0]) for frame in frames_pixels(str(tmp_path))] == [20, 40, 200]
    assert [int(frame[0, 0, 0]) for frame in read_clip(tmp_path, every=2)] == [20, 200]


def test_a_video_is_written_and_read(tmp_path: Path) -> None:
    """Red when frames are lost at the end, or a picture of odd size cannot be written."""
    pytest.importorskip("av")
    file = tmp_path / "clip.mp4"
    write_video([grey(level) for level in range(20, 220, 20)], file, Fraction(5, 2))
    frames = read_clip(file)
    assert {frame.shape for frame in frames} == {(24, 32, 3)}
    np.testing.assert_allclose([frame.mean() for frame in frames], range(20, 220, 20), atol=4)
    np.testing.assert_allclose([frame.mean() for frame in read_clip(file, every=4)], [20, 100, 180], atol=4)
    assert (frame_rate(file), frame_rate(tmp_path)) == (Fraction(5, 2), 10)


def test_what_is_no_clip_is_named(tmp_path: Path) -> None:
    """Red when it ends in an error of PyAV or Pillow."""
    with pytest.raises(InputError, match="has no picture"):
        read_clip(tmp_path)
    grey(1).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png is no clip: give a folder of frames, or a video"):
        read_clip(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"b\.png: frame 1: unreadable picture"):
        read_clip(tmp_path)
    pytest.importorskip("av")
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"a\.mp4: clip: unreadable video"):
        read_clip(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"b\.mp4: clip: missing"):
        read_clip(tmp_path / "b.mp4")
