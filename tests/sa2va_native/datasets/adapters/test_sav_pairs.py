"""SA-V pair files: every type of array that occurs, and every fault."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sa2va_native.datasets.adapters import sav_pairs
from sa2va_native.datasets.adapters.sav_pairs import SavPairs, as_picture
from sa2va_native.errors import BadSample, ConfigError, DataError
from tests.sa2va_native.datasets.native import box, picture, write_pair, write_sav_pairs


def test_pairs_are_found_at_any_depth_and_read_as_written(tmp_path: Path):
    """Red when a folder is missed, the order follows the file system, or the frames are exchanged."""
    data = SavPairs(write_sav_pairs(tmp_path / "set"))
    assert [data[i].sample_id for i in range(len(data))] == [
        "masklet_data_0.npz",
        "sav_000/masklet_data_1.npz",
        "sav_001/deep/masklet_data_2.npz",
    ]
    sample = data[1]
    np.testing.assert_array_equal(sample.image, picture(1))
    np.testing.assert_array_equal(sample.image2, picture(2))
    np.testing.assert_array_equal(sample.mask, box(2, 3))
    np.testing.assert_array_equal(sample.mask2, box(4, 6))


def test_a_pair_that_comes_while_others_are_indexed_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when the folder is remembered as it was after that: the index would stay without the pair for good."""
    monkeypatch.setattr("sa2va_native.datasets.indexing.file_parts._FILES_PER_PART", 1)
    root, records = write_sav_pairs(tmp_path / "set"), SavPairs._records

    def slow(*arguments: Any) -> Any:
        if not (late := root / "masklet_data_9.npz").exists():
            write_pair(late)
        return records(*arguments)

    write_pair(root / "masklet_data_3.npz")
    monkeypatch.setattr(SavPairs, "_records", slow)
    with pytest.raises(ConfigError, match="changed while it was being indexed"):
        SavPairs(root)
    assert len(SavPairs(root)) == 5


def test_a_pipe_is_a_bad_sample(tmp_path: Path):
    """Red when a worker waits for ever for what nobody writes."""
    root = write_sav_pairs(tmp_path / "set")
    os.mkfifo(root / "a.npz")
    data = SavPairs(root)
    with pytest.raises(BadSample, match="a pipe, a socket or a device"):
        data[0]
    assert len(data) == 4


@pytest.mark.parametrize(
    "frames", [lambda a: a, lambda a: a / 255, lambda a: (a / 255).astype(np.float16), np.float32, np.int64]
)
@pytest.mark.parametrize(
    "masks",
    [
        lambda m: m,
        np.uint8,
        np.float32,
        np.int64,
        lambda m: m * np.uint8(255),
        lambda m: m * 0.9 + 0.05,
        lambda m: m[None],
    ],
)
def test_every_type_of_array_reads_alike(tmp_path: Path, frames: Any, masks: Any):
    """Red when 0..1 is taken for 0..255 (a black picture, an empty mask) or the reverse (a mask of everything)."""
    own = write_pair(tmp_path / "a.npz")
    write_pair(
        tmp_path / "a.npz",
        **{name: (frames if name.startswith("frame") else masks)(array) for name, array in own.items()},
    )
    sample = SavPairs(tmp_path)[0]
    assert (sample.image.dtype, sample.mask.dtype) == (np.uint8, bool)
    np.testing.assert_array_equal(sample.mask, own["mask1"])
    np.testing.assert_array_equal(sample.mask2, own["mask2"])
    np.testing.assert_allclose(sample.image, own["frame1"].astype(float), atol=0.5)


BOX = box(2, 3)
FAULTS = {
    "mask of another size": (
        {"mask2": box(0, 0, size=(12, 16))},
        r"mask of size \(12, 16\) on a frame of size \(24, 32\)",
    ),
    "mask empty": ({"mask2": box(0, 0, height=0)}, "frame2 and mask2: empty mask"),
    "mask of ids": ({"mask1": BOX.astype(np.uint8) * 3}, "empty mask: its highest value is 3, of 1 or of 255"),
    "mask negative": ({"mask1": -BOX.astype(float)}, "values from -1 to"),
    "mask not finite": ({"mask1": np.where(BOX, np.nan, 0)}, "values from nan to nan"),
    "mask of text": ({"mask1": np.full((24, 32), "1")}, "type <U1, expected numbers"),
    "mask of objects": ({"mask1": BOX.astype(object)}, "Object arrays cannot be loaded when allow_pickle=False"),
    "array missing": ({"mask2": None}, "without mask2; it has frame1, mask1, frame2"),
    "frame grey": ({"frame1": picture(1)[..., 0]}, r"frame of shape \(24, 32\)"),
    "frame of channels first": ({"frame2": picture(1).transpose(2, 0, 1)}, r"frame of shape \(3, 24, 32\)"),
    "frame of 16 bit": ({"frame1": picture(1).astype(np.uint16) * 257}, "expected 0 to 1 or 0 to 255"),
    "frame empty": ({"frame1": np.zeros((0, 32, 3), np.uint8)}, "shape"),
}


@pytest.mark.parametrize(("arrays", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_pair_is_a_bad_sample_that_says_why(tmp_path: Path, arrays: dict[str, Any], reason: str):
    """Red when a fault stops the run, or passes as a sample."""
    write_pair(tmp_path / "a.npz", **arrays)
    data = SavPairs(tmp_path)
    with pytest.raises(BadSample, match=reason) as caught:
        data[0]
    assert caught.value.path.endswith("a.npz")


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def broken_files() -> dict[str, bytes]:
    whole = io.BytesIO()
    np.savez_compressed(whole, frame1=picture(1), mask1=BOX, frame2=picture(2), mask2=BOX)
    single = io.BytesIO()
    np.save(single, picture(1))
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sav_pairs.ARRAYS:
            archive.writestr(f"{name}.npy", bytes(10_000_000))
    return {
        "empty": b"",
        "cut off": whole.getvalue()[:300],
        "one byte changed": whole.getvalue()[:200] + b"\xff" + whole.getvalue()[201:],
        "a pickle": pickle.dumps(Bomb()),
        "one array": single.getvalue(),
        "a zip bomb": bomb.getvalue(),
    }


@pytest.mark.parametrize("name", broken_files())
def test_a_broken_file_is_a_bad_sample_and_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    """Red when a stranger's pickle runs, or broken bytes raise something that nobody catches."""
    monkeypatch.setattr(sav_pairs, "_MAX_BYTES", 1_000_000)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.npz").write_bytes(broken_files()[name])
    data = SavPairs(tmp_path / "set")
    with pytest.raises(BadSample, match=r"a.npz: pair: unreadable npz"):
        data[0]
    assert not (tmp_path / "executed").exists()


def test_loops_of_links_hidden_files_and_odd_names(tmp_path: Path):
    """Red when a link to its own folder is followed for ever, or a name that is no UTF-8 stops the build."""
    write_sav_pairs(tmp_path)
    (tmp_path / "sav_000/loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "sav_000/self").symlink_to("self")
    write_pair(tmp_path / "sav_000/._masklet_data_1.npz")
    write_pair(tmp_path / "straße 東.npz")
    odd = os.fsencode(tmp_path / "odd") + b"\xff.npz"
    with open(odd, "wb") as file:
        file.write(b"")
    data = SavPairs(tmp_path)
    assert len(data) == 5
    assert data.index.bad == 1
    with pytest.raises(BadSample, match=r"odd\\xff\.npz: file: its name is not UTF-8; rename it"):
        data[0]
    assert "straße 東.npz" in [data[i].sample_id for i in range(1, 5)]


def test_a_folder_without_pairs_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"nowhere: no such folder. Expected masklet_data"):
        SavPairs(tmp_path / "nowhere")
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"no record is left .* Expected masklet_data"):
        SavPairs(tmp_path)
    write_pair(tmp_path / "a.npz")
    assert len(SavPairs(tmp_path)) == 1


def test_a_frame_of_more_pixels_than_any_picture_may_have_is_refused():
    """Red when pair files are a way around the limit; the array takes no memory."""
    huge = np.broadcast_to(np.uint8(0), (10_001, 10_000, 3))
    with pytest.raises(ValueError, match="10000 x 10001 px is above 100000000 px"):
        as_picture(huge)
