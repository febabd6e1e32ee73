"""Raw SA-V: which pairs of frames there are, that they are the right frames, and faults."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sa2va_native.datasets.adapters.sav_videos import SavVideos
from sa2va_native.datasets.reading.mask_codec import decode_mask, encode_mask
from sa2va_native.datasets.reading.object_limits import Dropped, ObjectLimits
from sa2va_native.datasets.reading.sav_file import FramePair, SavFile
from sa2va_native.datasets.reading.video_frames import read_frames
from sa2va_native.errors import BadSample, ConfigError, DataError
from tests.sa2va_native.datasets.native import (
    VIDEO_SIZE,
    box,
    hide_first_frames,
    mark_as_turned,
    picture,
    sav_masks,
    video_picture,
    write_sav,
    write_video,
)

pytest.importorskip("av", reason="PyAV is an extra: pip install -r requirements/video.txt")


def test_every_frame_is_the_one_that_was_asked_for(tmp_path: Path):
    """Red when frames are off by one, or counted in the order of decoding: the video has frames that refer to later
    ones, and three key frames.
    """
    path = write_video(tmp_path / "a.mp4", [video_picture(i) for i in range(30)], key_every=10)
    for wanted in ([0], [29], [9, 10, 11], [3, 25], [28, 1], list(range(30))):
        frames = read_frames(path, wanted, "test")
        assert sorted(frames) == sorted(wanted)
        for number, frame in frames.items():
            np.testing.assert_allclose(frame.astype(int), video_picture(number), atol=1.9)


def test_frames_that_are_cut_off_without_encoding_again_are_not_counted(tmp_path: Path):
    """Red when masks come to lie on earlier pictures, as players hide the first ones and we count them."""
    path = hide_first_frames(write_video(tmp_path / "a.mp4", [video_picture(i) for i in range(30)], key_every=10), 3)
    for number, frame in read_frames(path, [0, 4, 26], "test").items():
        np.testing.assert_allclose(frame.astype(int), video_picture(number + 3), atol=1.9)


def test_a_turned_video_is_turned_if_that_is_how_it_was_annotated(tmp_path: Path):
    """Red when videos of telephones, stored lying, are refused, turned to the wrong side, or turned though the masks
    were drawn on frames as they are stored. Where one is to be turned clockwise, its left edge comes to the top.
    """
    path = mark_as_turned(write_video(tmp_path / "a.mp4", [picture(3, VIDEO_SIZE)] * 3))
    stored = read_frames(path, [0], "test")[0]
    np.testing.assert_allclose(stored.astype(int), picture(3, VIDEO_SIZE), atol=6)
    turned = read_frames(path, [1], "test", (64, 48))[1]
    np.testing.assert_array_equal(turned[0, ::-1], stored[:, 0])
    np.testing.assert_array_equal(turned[:, -1], stored[0])
    for size in (VIDEO_SIZE, (10, 10)):
        np.testing.assert_array_equal(read_frames(path, [0], "test", size)[0], stored)


def test_a_set_of_turned_videos(tmp_path: Path):
    """Red when the annotated size is not handed on."""
    standing = [[encode_mask(box(4, 5, 20, 16, size=(64, 48)))]] * 7
    path = write_sav(tmp_path, video_height=64, video_width=48, masklet=standing)
    mark_as_turned(path.with_name("sav_000001.mp4"))
    sample = SavVideos(tmp_path)[0]
    assert sample.image.shape == (64, 48, 3)
    np.testing.assert_array_equal(sample.mask, box(4, 5, 20, 16, size=(64, 48)))


def test_pairs_are_frames_of_one_object_at_four_times_their_number(tmp_path: Path):
    """Red when annotated frames (6 a second) are taken for video frames (24 a second), or a pair mixes objects."""
    write_sav(tmp_path)
    data = SavVideos(tmp_path, frame_gap=2)
    assert [data.index[i]["masklet"] for i in range(len(data))] == [0, 0, 0, 1]
    assert data.index.dropped == {"pairs with a frame that does not show the object": 2}
    sample = data[1]
    assert sample.sample_id == "sav_000/sav_000001_manual.json#masklet 0 frames 2 and 4"
    np.testing.assert_allclose(sample.image.astype(int), video_picture(8), atol=1.9)
    np.testing.assert_allclose(sample.image2.astype(int), video_picture(16), atol=1.9)
    np.testing.assert_array_equal(sample.mask, box(4, 7, 20, 16, size=VIDEO_SIZE))
    np.testing.assert_array_equal(sample.mask2, box(4, 9, 20, 16, size=VIDEO_SIZE))


@pytest.mark.parametrize(
    ("gap", "expected"),
    [(1, [(i, i + 1) for i in range(6)]), (3, [(0, 3), (3, 6)]), (4, [(0, 4)]), (6, [(0, 6)]), (7, [])],
)
def test_the_gap_says_which_frames_are_pairs(tmp_path: Path, gap: int, expected: list[tuple[int, int]]):
    """Red when the last pair is lost, or a pair leads behind the last frame. 7 frames, 0 to 6."""
    found = SavFile(write_sav(tmp_path)).pairs(gap, ObjectLimits(0, 1))
    assert [pair[1:] for pair in found if isinstance(pair, FramePair) and pair.masklet == 0] == expected


def test_limits_hold_in_both_frames(tmp_path: Path):
    """Red when only the first frame is looked at. Object 1 has 80 of 3,072 px, object 0 has 320."""
    write_sav(tmp_path)
    data = SavVideos(tmp_path, frame_gap=3, min_area_share=100 / 3072)
    assert len(data) == 2
    assert data.index.dropped == {
        "pairs below min_area_share=0.0325521": 1,
        "pairs with a frame that does not show the object": 1,
    }
    write_sav(tmp_path, **masks(mask=encode_mask(box(4, 8, 1, 1, size=VIDEO_SIZE))))
    found = SavFile(tmp_path / "sav_000/sav_000001_manual.json").pairs(3, ObjectLimits(0.05, 1))
    assert not any(isinstance(pair, FramePair) for pair in found)


def test_kinds_are_chosen(tmp_path: Path):
    write_sav(tmp_path)
    write_sav(tmp_path, kind="auto")
    (tmp_path / "sav_000/other.json").write_text("{}")
    assert len(SavVideos(tmp_path, frame_gap=6)) == 2
    assert SavVideos(tmp_path, frame_gap=6, kinds=("auto",))[0].sample_id.startswith("sav_000/sav_000001_auto.json")
    with pytest.raises(ConfigError, match=r"kind 'manul' .* Did you mean 'manual'"):
        SavVideos(tmp_path, kinds=("manul",))
    with pytest.raises(ConfigError, match="frame_gap must be at least 1, got 0"):
        SavVideos(tmp_path, frame_gap=0)
    with pytest.raises(DataError, match=r"no record is left .*videos shorter than frame_gap': 2"):
        SavVideos(tmp_path, frame_gap=60)


def masks(**changes: Any) -> dict[str, Any]:
    """A json whose first masklet has another mask in frame 3."""
    content = sav_masks()
    content[3][0] = changes["mask"]
    return {"masklet": content}


WHOLE = encode_mask(box(4, 8, 20, 16, size=VIDEO_SIZE))
FAULTS = {
    "RLE of another size": (masks(mask=encode_mask(box(2, 3))), "RLE of size"),
    "RLE cut off": (masks(mask={**WHOLE, "counts": WHOLE["counts"][:1] + "\x7f"}), "cannot be decoded"),
    "no RLE": (masks(mask=[1, 2]), "expected an RLE"),
    "no sizes": ({"video_height": None}, "not an annotation of SA-V"),
    "no height": ({"video_height": 0, "masklet": [[{"size": [0, 64], "counts": "0"}]] * 7}, "frames of 64 x 0 px"),
    "no frames": ({"masklet": []}, "not an annotation of SA-V"),
    "frames of names": ({"masklet": [{"a": 1, "b": 2}] * 7}, "not an annotation of SA-V"),
    "rows of different lengths": ({"masklet": [*sav_masks()[:6], sav_masks()[6][:1]]}, "one mask per object"),
}


@pytest.mark.parametrize(("changes", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_annotation_is_a_bad_sample(tmp_path: Path, changes: dict[str, Any], reason: str):
    """Red when a fault stops the build, or takes another video along."""
    write_sav(tmp_path, **changes)
    write_sav(tmp_path, "sav_000002")
    data = SavVideos(tmp_path, frame_gap=3)
    with pytest.raises(BadSample, match=reason) as caught:
        data[0]
    assert "sav_000001_manual.json" in caught.value.path
    assert data[len(data) - 1].sample_id.startswith("sav_000/sav_000002_manual.json")


def test_no_mask_means_not_shown(tmp_path: Path):
    write_sav(tmp_path, **masks(mask=None))
    assert SavVideos(tmp_path, frame_gap=3).index.dropped == {"pairs with a frame that does not show the object": 3}


def test_faulty_videos_are_bad_samples(tmp_path: Path):
    """Red when a missing, cut or foreign video stops the run, or a damaged frame passes as a picture."""
    write_sav(tmp_path)
    video, data = tmp_path / "sav_000/sav_000001.mp4", SavVideos(tmp_path, frame_gap=6)
    whole = video.read_bytes()

    def reason() -> str:
        with pytest.raises(BadSample) as caught:
            data[0]
        return str(caught.value)

    video.unlink()
    assert "missing: no such file" in reason()
    for content in (b"", whole[: len(whole) // 2], b"text" * 100):
        video.write_bytes(content)
        assert "unreadable video" in reason()
    start = whole.index(b"mdat") + 900
    video.write_bytes(whole[:start] + bytes(len(whole[start : start + 4000])) + whole[start + 4000 :])
    assert "unreadable video" in reason()
    write_video(video, [video_picture(number) for number in range(20)])
    assert "frame 24 of a video of 20 frames" in reason()
    write_video(video, [video_picture(number)[:32] for number in range(25)])
    assert "RLE of size [48, 64] (height, width) on a picture of size [32, 64]" in reason()


def test_damage_that_the_decoder_notices_is_refused(tmp_path: Path):
    """Red when the decoder paints over what it cannot read: later frames are made of that. What is left of damage that
    is a valid stream by chance nobody can tell.
    """
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (96, 160, 3), dtype=np.uint8)
    path = write_video(tmp_path / "a.mp4", [noise[:, i : i + 128] for i in range(25)], key_every=100)
    whole, refused = path.read_bytes(), 0
    start = whole.index(b"mdat") + 200
    for _ in range(20):
        damaged, at = bytearray(whole), int(rng.integers(start, len(whole) - 3000))
        damaged[at : at + 20] = rng.bytes(20)
        path.write_bytes(damaged)
        try:
            read_frames(path, [24], "test")
        except BadSample:
            refused += 1
    assert refused > 10


def test_json_cut_off(tmp_path: Path):
    path = write_sav(tmp_path)
    path.write_text(path.read_text()[:500])
    data = SavVideos(tmp_path)
    assert (len(data), data.index.bad) == (1, 1)
    with pytest.raises(BadSample, match=r"sav_000001_manual.json: file: not an annotation of SA-V .*not JSON"):
        data[0]


def test_a_missing_pyav_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_sav(tmp_path)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"PyAV.* pip install -r requirements/video.txt"):
        SavVideos(tmp_path)


@pytest.mark.realdata
@pytest.mark.parametrize("kind", ["manual", "auto"])
def test_real_annotations_decode(realdata_root: Path, kind: str):
    """Red when a real file of SA-V is refused, or its masks are read with height and width exchanged."""
    path = realdata_root / f"sav_example/sav_000001_{kind}.json"
    content, file = json.loads(path.read_text()), SavFile(path)
    assert file.video.name == "sav_000001.mp4"
    areas = []
    for frame in range(len(file.frames)):
        for masklet, segmentation in enumerate(file.frames[frame]):
            share = file._share(frame, masklet)
            if share and frame % 40 == 0:
                assert decode_mask(segmentation, 848, 480).mean() == pytest.approx(share)
            areas.append((masklet, share * 848 * 480))
    for masklet, expected in enumerate(content["masklet_size_abs"]):
        shown = [area for number, area in areas if number == masklet and area]
        assert np.mean(shown) == pytest.approx(expected, rel=0.1)
    found = list(file.pairs(6, ObjectLimits(0.001, 0.5)))
    assert len(found) == 20 * len(content["masklet_id"])
    assert not any(isinstance(pair, BadSample) for pair in found)
    assert sum(isinstance(pair, Dropped) for pair in found) < len(found) / 2
