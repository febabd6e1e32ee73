"""Raw SA-V to pair files and back through both adapters."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from sa2va_native.datasets.adapters.sav_pairs import SavPairs
from sa2va_native.datasets.adapters.sav_videos import SavVideos
from sa2va_native.datasets.converters.sav import Conversion, convert, middles
from sa2va_native.datasets.reading.sav_file import FramePair, SavFile
from sa2va_native.errors import ConfigError, DataError
from sa2va_native.files.paths import ROOT
from tests.ranks import call_tool
from tests.sa2va_native.datasets.native import sav_masks, write_sav

pytest.importorskip("av", reason="PyAV is an extra: pip install -r requirements/video.txt")


def test_pair_files_hold_what_the_videos_show(tmp_path: Path):
    """Red when the converter writes another frame, another object, or loses a pair."""
    write_sav(tmp_path / "raw")
    write_sav(tmp_path / "raw", "sav_001002", kind="auto")
    converted = convert(Conversion(tmp_path / "raw", tmp_path / "out", frame_gap=2, pairs_per_masklet=9), processes=2)
    pairs, videos = SavPairs(tmp_path / "out"), SavVideos(tmp_path / "raw", frame_gap=2)
    assert converted.pairs == len(pairs) == len(videos) == 8
    assert converted.dropped == videos.index.dropped
    by_place = {}
    for i in range(8):
        row, sample = videos.index[i], videos[i]
        stem = row["path"].removesuffix(".json")
        by_place[f"{stem}/masklet_data_{row['masklet']}_{row['frame1']}_{row['frame2']}.npz"] = sample
    for i in range(8):
        written, shown = pairs[i], by_place[pairs[i].sample_id]
        for name in ("image", "mask", "image2", "mask2"):
            np.testing.assert_array_equal(getattr(written, name), getattr(shown, name))


def test_a_killed_conversion_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when finished files are converted again, or an unfinished one counts as done."""
    for number in (1, 2, 3):
        write_sav(tmp_path / "raw", f"sav_00000{number}")
    conversion = Conversion(tmp_path / "raw", tmp_path / "out")
    read = SavFile.read

    def dies(file: SavFile, pairs: list[FramePair]):
        if "000002" in file.path.name:
            raise RuntimeError("killed")
        return read(file, pairs)

    monkeypatch.setattr(SavFile, "read", dies)
    with pytest.raises(RuntimeError, match="killed"):
        convert(conversion)
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.npz")}
    assert first
    (tmp_path / "out/sav_000/sav_000002_manual/.masklet_data_0_0_6.npz.1.incomplete").write_bytes(b"half")
    monkeypatch.setattr(SavFile, "read", read)
    assert convert(conversion).pairs == len(SavPairs(tmp_path / "out")) == 3
    assert all(path.stat().st_mtime_ns == written for path, written in first.items())
    assert not list((tmp_path / "out").rglob("*.incomplete"))


def test_what_changed_since_is_converted_again(tmp_path: Path):
    """Red when a video that came later is never converted, or the rest is read again for it."""
    video = write_sav(tmp_path / "raw").with_name("sav_000001.mp4")
    write_sav(tmp_path / "raw", "sav_000002")
    content = video.read_bytes()
    video.unlink()
    conversion = Conversion(tmp_path / "raw", tmp_path / "out")
    first = convert(conversion)
    assert (first.pairs, [bad.path for bad in first.bad]) == (1, [str(video)])
    (written,) = (tmp_path / "out").rglob("*.npz")
    before = written.stat().st_mtime_ns
    video.write_bytes(content)
    second = convert(conversion)
    assert (second.pairs, second.bad) == (2, [])
    assert written.stat().st_mtime_ns == before


def test_a_process_that_is_killed_ends_the_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when the others wait for it for ever."""
    write_sav(tmp_path / "raw")
    monkeypatch.setattr(SavFile, "read", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(DataError, match="a process of the conversion was killed"):
        convert(Conversion(tmp_path / "raw", tmp_path / "out"))


def test_other_settings_do_not_mix_into_one_folder(tmp_path: Path):
    write_sav(tmp_path / "raw")
    convert(Conversion(tmp_path / "raw", tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"other settings \(frame_gap was 6, now 2\)"):
        convert(Conversion(tmp_path / "raw", tmp_path / "out", frame_gap=2))


def test_settings_that_cannot_work_are_refused_before_anything_is_written(tmp_path: Path):
    write_sav(tmp_path / "raw")
    for settings, message in (
        ({"frame_gap": 0}, "frame_gap must be at least 1"),
        ({"pairs_per_masklet": 0}, "pairs_per_masklet must be at least 1"),
        ({"min_area_share": 2.0}, "expected 0 <= min <= max <= 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            convert(Conversion(tmp_path / "raw", tmp_path / "out", **settings))
    with pytest.raises(DataError, match=r"no sav_XXXXXX_\{auto\}.json"):
        convert(Conversion(tmp_path / "raw", tmp_path / "out", kinds=("auto",)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("count", "expected"), [(1, [5]), (2, [2, 7]), (10, list(range(10))), (20, list(range(10)))])
def test_few_pairs_are_spread_over_the_masklet(count: int, expected: list[int]):
    """Red when the first pairs are taken, or one is taken twice."""
    pairs = [FramePair(0, i, i + 1) for i in range(10)]
    assert [pair.frame1 for pair in middles(pairs, count)] == expected


@pytest.mark.slow
def test_the_tool_converts_counts_and_names_the_bad(tmp_path: Path):
    """Red when the command line loses an option, or a bad file ends the conversion."""
    write_sav(tmp_path / "raw")
    write_sav(tmp_path / "raw", "sav_000002")
    (tmp_path / "raw/sav_000/sav_000002.mp4").write_bytes(b"")
    write_sav(tmp_path / "raw", "sav_000003", masklet=sav_masks()[:1])
    tool = ROOT / "tools/prepare_data/sav_to_pairs.py"
    (ended,) = call_tool(tool, tmp_path / "raw", tmp_path / "out", "--frame-gap", 2, "--pairs-per-masklet", 2)
    assert ended.status == 0, ended.output
    assert "3 pairs in" in ended.output
    assert "dropped: 1 videos shorter than frame_gap" in ended.output
    assert "pairs beyond pairs_per_masklet=2" in ended.output
    bad = [json.loads(line) for line in (tmp_path / "out/bad_samples.jsonl").read_text().splitlines()]
    assert {Path(one["path"]).name for one in bad} == {"sav_000002.mp4"}
    assert "unreadable video" in bad[0]["reason"]
    (ended,) = call_tool(tool, tmp_path / "nowhere", tmp_path / "out")
    assert ended.status == 1
    assert "DataError" in ended.output
