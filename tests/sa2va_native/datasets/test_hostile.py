"""Sets that somebody made to do harm: pipes, devices, links, bombs and planted indices."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sa2va_native.datasets.adapters.describe_anything import DescribeAnything
from sa2va_native.datasets.adapters.own_data import OwnData
from sa2va_native.datasets.adapters.sa1b import Sa1b
from sa2va_native.datasets.adapters.sav_pairs import SavPairs
from sa2va_native.datasets.adapters.sav_videos import SavVideos
from sa2va_native.datasets.adapters.tar_shards import TarShards
from sa2va_native.datasets.indexing.index import open_part
from sa2va_native.datasets.indexing.indexed_set import IndexedSet
from sa2va_native.datasets.marked_folder import write_once
from sa2va_native.datasets.reading import json_lines
from sa2va_native.datasets.reading.plain_pickle import read_pickle
from sa2va_native.datasets.unusable_items import UnusableItems
from sa2va_native.errors import BadSample, DataError
from sa2va_native.files.bounded_json import load_json, read_bounded
from sa2va_native.files.paths import ROOT
from tests.sa2va_native.datasets.native import (
    sa1b_members,
    write_describe_anything,
    write_files,
    write_pair,
    write_sa1b,
    write_sav,
    write_sav_pairs,
    write_tar,
)
from tests.sa2va_native.datasets.test_fuzz import limited


def pipe_link(path: Path) -> None:
    os.mkfifo(path.parent / "pipe")
    path.symlink_to("pipe")


def link_out(path: Path) -> None:
    """A sound file, but elsewhere."""
    outside = path.parents[2] / f"outside{path.suffix}"
    outside.write_bytes(path.with_suffix(".kept").read_bytes())
    path.symlink_to(outside)


PLACES: dict[str, tuple[Callable[[Path], Any], Callable[[Path], IndexedSet], str]] = {
    "picture": (lambda root: write_files(root / "a", sa1b_members(1)), Sa1b, "a/sa_1.jpg"),
    "json": (lambda root: write_files(root / "a", sa1b_members(1)), Sa1b, "a/sa_1.json"),
    "shard": (lambda root: write_tar(root / "a/sa_1.tar", sa1b_members(1)), Sa1b, "a/sa_1.tar"),
    "pair": (lambda root: write_pair(root / "a/masklet_data_1.npz"), SavPairs, "a/masklet_data_1.npz"),
    "masklets": (write_sav, SavVideos, "sav_000/sav_000001_manual.json"),
    "video": (write_sav, SavVideos, "sav_000/sav_000001.mp4"),
    "shard of pictures": (
        write_describe_anything, lambda root: DescribeAnything(root, "SAM"), "SAM/images/00000000.tar"
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "make", [os.mkfifo, pipe_link, lambda path: path.symlink_to("/dev/zero"), link_out],
    ids=["pipe", "link to a pipe", "link to a device", "link out of the root"],
)  # fmt: skip
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file_of_the_set_is_a_bad_sample_at_once(place: str, make: Callable[[Path], None], tmp_path: Path):
    """Red when a pipe is waited for, a device read without end, or a file outside the root shown."""
    write, adapter, name = PLACES[place]
    root = tmp_path / "deep/set"
    root.mkdir(parents=True)
    write(root)
    (root / name).rename((root / name).with_suffix(".kept"))
    make(root / name)
    with limited():
        data = adapter(root)
        seen = [bad_sample(data, index) for index in range(len(data))]
    reasons = [bad.reason for bad in seen if bad is not None]
    assert reasons
    assert place == "shard of pictures" or len(reasons) == len(seen)
    assert all("a pipe, a socket or a device" in one or "leads out of" in one or "missing" in one for one in reasons)


def bad_sample(data: IndexedSet, index: int) -> BadSample | None:
    try:
        data[index]  # type: ignore[index]
    except BadSample as error:
        return error
    return None


def test_a_link_to_a_folder_outside_is_not_entered(tmp_path: Path):
    """Red when a set makes the tools list the whole machine, or read pictures of others."""
    write_sav_pairs(tmp_path / "private")
    (tmp_path / "set").mkdir()
    write_pair(tmp_path / "set/masklet_data_0.npz")
    (tmp_path / "set/again").symlink_to(tmp_path / "private")
    (tmp_path / "set/all").symlink_to("/")
    with limited():
        data = SavPairs(tmp_path / "set")
    told = [bad_sample(data, index) for index in range(len(data))]
    assert [bad and bad.record for bad in told].count(None) == 1
    assert sorted(bad.path.rpartition("/")[2] for bad in told if bad) == ["again", "all"]


def plant(data: IndexedSet, row: dict[str, Any]) -> None:
    """Another row in every file of an index, at the times of the old ones."""
    for part in data.index.parts:
        file = data.index.folder / part.file
        schema = pa.ipc.open_file(file).schema
        with pa.ipc.new_file(str(file), schema) as writer:
            writer.write_batch(pa.RecordBatch.from_pylist([row] * part.rows, schema))
            counts = json.dumps([part.rows, part.bad, part.dropped])
            writer.write_batch(pa.RecordBatch.from_pylist([], schema), custom_metadata={"counts": counts})
    open_part.cache_clear()


PLANTED: list[tuple[Callable[[Path], Any], Callable[[Path], IndexedSet], list[dict[str, Any]]]] = [
    (write_sav_pairs, SavPairs, [{"path": "../x.npz"}, {"path": "/x.npz"}, {"path": None}, {"path": "a\0"}]),
    (write_sav, SavVideos, [
        {"path": "../sav_1_manual.json", "masklet": 0, "frame1": 0, "frame2": 1},
        {"path": "sav_000/sav_000001_manual.json", "masklet": 9, "frame1": 0, "frame2": 1},
        {"path": "sav_000/sav_000001_manual.json", "masklet": -1, "frame1": 0, "frame2": 1},
        {"path": "sav_000/sav_000001_manual.json", "masklet": 0, "frame1": None, "frame2": 99},
    ]),
    (lambda root: write_sa1b(root, "beside"), Sa1b, [{"stem": "../sa_1", "annotation": 0}, {"stem": None}]),
    (lambda root: write_sa1b(root, "tar"), Sa1b, [
        {"stem": "sa_1", "annotation": -5},
        {"stem": "sa_1", "annotation": 0, "json_start": 0, "json_size": 1 << 60, "picture_start": 0, "picture_size": 1},
        {"stem": "sa_1", "annotation": 0, "json_start": -9, "json_size": 9, "picture_start": 0, "picture_size": 1},
        {"stem": "sa_1", "annotation": 0, "json_start": 1, "json_size": 9},
    ]),
    (write_describe_anything, lambda root: DescribeAnything(root, "SAM"), [
        {"record": "a", "caption": '"a"', "mask": "[" * 99_999, "shard": "a", "picture": "a", "start": 0, "size": 1},
        {"record": "a", "caption": '"a"', "mask": "{}", "shard": "../../x", "picture": "a", "start": 0, "size": 1},
        {"record": "a"},
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("write", "adapter", "rows"), PLANTED, ids=lambda value: getattr(value, "__name__", None))
def test_a_planted_row_is_a_bad_sample(
    write: Callable[[Path], Any], adapter: Callable[[Path], IndexedSet], rows: list[dict[str, Any]], tmp_path: Path
):
    """Red when a row of somebody else's index reads a file outside the root, or ends the run with a traceback."""
    root = tmp_path / "set"
    root.mkdir()
    write(root)
    for outside in ("x.npz", "sa_1.json", "sav_1_manual.json"):
        (tmp_path / outside).write_text("{}")
    adapter(root)
    for row in rows:
        plant(adapter(root), row)
        data = adapter(root)
        with limited():
            assert bad_sample(data, 0) is not None, row


@pytest.mark.parametrize(
    "content", [b"[" + b"[]," * 30_000_000 + b"[]]", '["猫'.encode() + b"a" * 300_000_000 + b'"]'],
    ids=["brackets", "wide text"],
)  # fmt: skip
def test_a_json_that_unpacks_to_gigabytes_is_refused(content: bytes):
    """Red when 90 MB of brackets take 6 GB, or one wide character makes a text four times as large."""
    with limited(), pytest.raises(ValueError, match=r"it would take about \d\.\d GB of memory, above 1\.1 GB"):
        load_json(content)


def test_a_sparse_file_is_refused_by_its_size(tmp_path: Path):
    """Red when a file of no blocks that claims terabytes is read."""
    for name in ("sa_1.json", "data.json"):
        with (tmp_path / name).open("wb") as file:
            file.write(b"[")
            file.truncate(1 << 42)
    with limited():
        with pytest.raises(OSError, match="above"):
            read_bounded(tmp_path / "sa_1.json")
        with pytest.raises(DataError, match=r"data.json: unreadable"):
            OwnData(tmp_path / "data.json")
        (tmp_path / "data.json").rename(tmp_path / "data.jsonl")
        with (tmp_path / "data.jsonl").open("r+b") as file:
            file.write(b"{")
        with pytest.raises(DataError, match=r"data.jsonl: line 1 has more than 1073741824 bytes"):
            OwnData(tmp_path / "data.jsonl")


def test_a_chain_of_headers_is_a_broken_shard(tmp_path: Path):
    """Red when tar headers that announce one another, each a call deeper, end the run."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    one = header.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(one * 3000)
    data = TarShards(tmp_path)
    assert "not a whole uncompressed tar" in str(bad_sample(data, 0))


def test_an_npz_that_claims_another_array_is_refused(tmp_path: Path):
    """Red when room is made for an array of terabytes because its header says so."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (1 << 42, 3)})
    write_pair(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as known:
        arrays = dict(known)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{name}.npy", file.getvalue() if name == "frame1" else content.getvalue())
    with limited():
        assert "unreadable npz" in str(bad_sample(SavPairs(tmp_path), 0))


def test_a_pipe_of_refs_is_refused_at_once(tmp_path: Path):
    """Red when RefCOCO's pickle is waited for."""
    os.mkfifo(tmp_path / "refs(unc).p")
    with limited(), pytest.raises(DataError, match="a pipe, a socket or a device"):
        read_pickle(tmp_path / "refs(unc).p")


def test_a_killed_process_leaves_no_file_of_unusable_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when each killed rank leaves a temporary file behind."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    aside = UnusableItems(("bad",))
    aside.add(3, "bad")
    assert 3 in aside
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_a_killed_process_left_is_taken_away_by_the_next(tmp_path: Path):
    """Red when half a generated set stays for ever, or that of a living process is taken away."""
    root = tmp_path / "set"
    code = """
        import os, sys
        from pathlib import Path
        from sa2va_native.datasets.marked_folder import write_once
        write_once(Path(sys.argv[1]), {}, lambda folder: os.kill(os.getpid(), 9))
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "projects")}
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(root)], env=environment)
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".incomplete")
    write_once(root, {}, lambda folder: (folder / "a").touch())
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    shutil.rmtree(root)

    def meanwhile(folder: Path) -> None:
        write_once(root, {}, lambda other: None)
        assert folder.is_dir(), "the other one took it away"

    write_once(root, {}, meanwhile)


@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
def test_lines_are_found_whatever_is_blank(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when a blank line counts, or a chunk ends a line; compared with Python's own split."""
    monkeypatch.setattr(json_lines, "_CHUNK", chunk)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        content = bytes(rng.choice(list(b"\n\n\n\r ab"), int(rng.integers(1, 30))).astype(np.uint8)) + b"\nend"
        (tmp_path / "a").write_bytes(content)
        lines = content.split(b"\n")
        expected = [number for number, line in enumerate(lines, 1) if len(line) > 1 or line.strip()]
        starts, numbers = json_lines._line_starts(tmp_path / "a", "")
        assert numbers.tolist() == expected
        assert [content[start:].split(b"\n")[0] for start in starts] == [lines[number - 1] for number in expected]


def test_blank_lines_cost_neither_memory_nor_time(tmp_path: Path):
    """Red when a file of line ends takes dozens of bytes for each, or a look at the disk."""
    (tmp_path / "data.jsonl").write_bytes(b"\n" * 20_000_000 + b"{}")
    tracemalloc.start()
    with limited():
        assert OwnData(tmp_path / "data.jsonl").records.name(0) == "line 20000001"
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()
