"""The index of a large set: what it holds, when it is built again, and what it costs."""

from __future__ import annotations

import errno
import functools
import itertools
import json
import multiprocessing
import os
import pickle
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from torch.utils.data import DataLoader

from sa2va_native.datasets.collate import collate_batch
from sa2va_native.datasets.indexing import index as index_module
from sa2va_native.datasets.indexing import index_builder
from sa2va_native.datasets.indexing.index import Entry, Index, Part
from sa2va_native.datasets.indexing.index_builder import open_index
from sa2va_native.datasets.indexing.indexed_set import IndexedSet
from sa2va_native.datasets.mixture import MixtureDataset
from sa2va_native.datasets.reading.object_limits import Dropped
from sa2va_native.datasets.reading.unchanged import stamp
from sa2va_native.datasets.samplers import MixtureBatchSampler
from sa2va_native.datasets.transforms import SampleTransform
from sa2va_native.errors import BadSample, ConfigError, DataError
from sa2va_native.files.paths import ROOT
from sa2va_native.structures import Sample

COLUMNS = {"name": pa.string(), "number": pa.int32()}


def lines(path: Path) -> Iterator[Entry]:
    """One record a line; ``-`` is filtered, ``!`` is bad."""
    for number, line in enumerate(path.read_text().split()):
        match line:
            case "-":
                yield Dropped("dashes")
            case "!":
                yield BadSample(path.name, f"line {number}", "an exclamation mark")
            case _:
                yield {"name": line, "number": number}


class Folder:
    """A folder of ``*.txt``, each one part; counts what is read."""

    def __init__(self, root: Path) -> None:
        self.root, self.read = root, []

    def parts(self) -> Iterator[Part]:
        yield Part("", {self.root: stamp(self.root)}, functools.partial(iter, ()))
        for path in sorted(self.root.glob("*.txt")):
            yield Part(path.stem, {path: stamp(path)}, functools.partial(self._lines, path))

    def _lines(self, path: Path) -> Iterator[Entry]:
        self.read.append(path.stem)
        return lines(path)

    def open(self, **settings: object) -> Index:
        return open_index(self.root, None, {"adapter": "lines", **settings}, COLUMNS, self.parts)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(index_module, "BATCH_ROWS", 4)
    monkeypatch.setattr(index_builder, "BATCH_ROWS", 4)
    (tmp_path / "a.txt").write_text(" ".join(f"a{i}" for i in range(11)))
    (tmp_path / "b.txt").write_text("b0 - ! b3 -")
    return Folder(tmp_path)


def test_values_of_many_rows_are_those_of_each(folder: Folder):
    """Red when rows of several batches or parts are exchanged, or a bad one has the value of its neighbour."""
    index = folder.open()
    rows = [9, 0, 3, 4, 5, 2, 11, 12, 13, 10]
    good = [(index[row]["part"], index[row]["name"], index[row]["number"]) for row in rows if row != 12]
    values = index.values(rows, "name", "number")
    assert values.pop(7) == ("b", None, None)
    assert values == good
    assert index.column("name").to_pylist() == [f"a{i}" for i in range(11)] + ["b0", None, "b3"]


def test_rows_come_back_in_order_over_batches_and_parts(folder: Folder):
    """Red when a row is looked up in the wrong part or batch. 11 rows in batches of 4, then another part."""
    index = folder.open()
    assert [index[i] for i in range(11)] == [{"name": f"a{i}", "number": i, "part": "a"} for i in range(11)]
    assert index[11] == {"name": "b0", "number": 0, "part": "b"}
    assert index[13] == {"name": "b3", "number": 3, "part": "b"}
    assert len(index) == 14
    for outside in (14, -1):
        with pytest.raises(IndexError, match="of 14"):
            index[outside]


def test_filtered_records_are_counted_and_bad_ones_raise_when_drawn(folder: Folder):
    """Red when a bad record vanishes from the set, where nobody would count it, or stops the build."""
    index = folder.open()
    assert (index.dropped, index.bad) == ({"dashes": 2}, 1)
    with pytest.raises(BadSample, match=r"b\.txt: line 2: an exclamation mark"):
        index[12]


def test_an_index_is_built_once_and_changed_parts_alone_again(folder: Folder):
    """Red when opening reads the source again, or one new file costs a whole build."""
    assert len(folder.open()) == len(folder.open()) == 14
    assert folder.read == ["a", "b"]
    (folder.root / "c.txt").write_text("c0")
    assert len(folder.open()) == 15
    assert folder.read == ["a", "b", "c"]
    (folder.root / "b.txt").write_text("b0 b1")
    assert len(folder.open()) == 14
    assert folder.read == ["a", "b", "c", "b"]
    (folder.root / "a.txt").unlink()
    assert len(folder.open()) == 3


def test_other_settings_have_an_index_of_their_own(folder: Folder):
    """Red when a changed filter goes on with the old records, or two settings build over each other for ever."""
    folder.open(min_area=0), folder.open(min_area=1), folder.open(min_area=0)
    assert folder.read == ["a", "b", "a", "b"]


def test_a_run_that_holds_an_old_index_keeps_its_files(folder: Folder):
    """Red when new builds take the files away under a running training, or they stay for ever."""
    old = folder.open()
    files = set((folder.root / ".index").glob("*.arrow"))
    for content in ("b0 b1 b2", "b0 b1 b2 b3"):
        (folder.root / "b.txt").write_text(content)
        folder.open()
    assert old[13]["name"] == "b3"
    for file in files:
        os.utime(file, (0, 0))
    (folder.root / "b.txt").write_text("b0")
    folder.open()
    assert len(files - set((folder.root / ".index").glob("*.arrow"))) == 1, "b as it was at first"


def test_sets_may_share_a_folder_of_indices(tmp_path: Path):
    """Red when two sets of one kind take each other's index for an old one of their own."""
    folders = [Folder(tmp_path / name / "set") for name in "ab"]
    for folder in folders:
        folder.root.mkdir(parents=True)
        (folder.root / "one.txt").write_text(f"of-{folder.root.parent.name}")
    for _ in range(2):
        indices = [open_index(folder.root, tmp_path / "shared", {}, COLUMNS, folder.parts) for folder in folders]
    assert [index[0]["name"] for index in indices] == ["of-a", "of-b"]
    assert [folder.read for folder in folders] == [["one"], ["one"]]


def test_a_folder_of_indices_that_would_make_itself_old_is_refused(folder: Folder):
    """Red when the build writes into what it watches and then blames a download."""
    with pytest.raises(ConfigError, match="an index would invalidate itself"):
        open_index(folder.root, folder.root / "index", {}, COLUMNS, folder.parts)
    assert len(open_index(folder.root, folder.root / ".mine", {}, COLUMNS, folder.parts)) == 14


def test_all_indices_of_a_process_share_its_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when each index keeps files open of its own: a few large sets would reach the system's limit."""
    small = functools.lru_cache(3)(index_module.open_part.__wrapped__)
    monkeypatch.setattr(index_module, "open_part", small)
    root = tmp_path / "set"
    root.mkdir()
    for i in range(6):
        (root / f"p{i}.txt").write_text(f"line{i}")
    indices = [Folder(root).open(number=number) for number in range(3)]
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        assert [index[i]["name"] for index in indices for i in range(6)] == [f"line{i}" for i in range(6)] * 3
    assert len(os.listdir("/proc/self/fd")) - before <= 3


def test_an_index_that_was_deleted_is_not_read_from_memory(folder: Folder):
    """Red when a process that built it anew still sees the records of files that are gone."""
    assert folder.open()[0]["name"] == "a0"
    times = [(path, path.stat()) for path in (folder.root / "a.txt", folder.root)]
    (folder.root / "a.txt").write_text((folder.root / "a.txt").read_text().replace("a0", "z0"))
    shutil.rmtree(folder.root / ".index")
    for path, status in times:  # as a copy that keeps times has them
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert folder.open()[0]["name"] == "z0"


def test_too_many_open_files_are_not_taken_for_damage(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    """Red when the advice is to delete an index that is sound."""
    index = folder.open()

    def full(path: str) -> None:
        raise OSError(errno.EMFILE, "Too many open files", path)

    index_module.open_part.cache_clear()
    monkeypatch.setattr(pa, "memory_map", full)
    with pytest.raises(DataError, match=r"too many files open. Raise the limit"):
        index[0]


def test_a_build_that_dies_goes_on_where_it_was(folder: Folder):
    """Red when finished parts are read again, the unfinished one counts as complete, or half a file stays for ever."""
    (folder.root / "c.txt").write_text("c0")
    whole, folder._lines = folder._lines, lambda path: killed(path) if path.stem == "b" else whole(path)
    with pytest.raises(KeyboardInterrupt):
        folder.open()
    assert folder.read == ["a"]
    finished = next((folder.root / ".index").glob("*.arrow"))
    half = finished.with_name(f".{finished.name}.0.incomplete")
    half.touch()
    folder._lines = whole
    assert len(folder.open()) == 15
    assert folder.read == ["a", "b", "c"]
    assert not half.exists()


def killed(path: Path) -> Iterator[Entry]:
    yield from list(lines(path))[:1]
    raise KeyboardInterrupt


def open_and_count(root: Path) -> tuple[int, int]:
    folder = Folder(root)
    return len(folder.open()), len(folder.read)


def test_one_of_many_processes_builds(folder: Folder):
    """Red when ranks that open at once all read the source, or one opens what another has half written."""
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(open_and_count, [folder.root] * 4, chunksize=1)
    assert [length for length, _ in found] == [14] * 4
    assert sorted(read for _, read in found) == [0, 0, 0, 2]


class Watched(Folder):
    """Notes who reads, and cannot read ``bad.txt``."""

    def _lines(self, path: Path) -> Iterator[Entry]:
        if path.stem == "bad":
            raise DataError(f"{path}: no such file")
        time.sleep(0.03)  # or the first process would be free again for each
        (self.root.parent / f"{path.stem}.reader").write_text(str(os.getpid()))
        return lines(path)


def test_a_long_build_is_shared_by_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when parts come back in the order in which they end, one process does all, or an error is lost."""
    root = tmp_path / "set"
    root.mkdir()
    for i in range(20):
        (root / f"p{i:02}.txt").write_text(f"line{i} - !")
    alone = Watched(root).open(run="alone")
    assert {int(path.read_text()) for path in tmp_path.glob("*.reader")} == {os.getpid()}
    monkeypatch.setattr(index_builder, "_PATIENCE", -1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    shared = Watched(root).open(run="shared")
    readers = {int(path.read_text()) for path in tmp_path.glob("*.reader")}
    assert os.getpid() not in readers
    assert len(readers) > 1
    assert [shared[2 * i] for i in range(20)] == [alone[2 * i] for i in range(20)]
    assert (shared.dropped, shared.bad) == (alone.dropped, alone.bad) == ({"dashes": 20}, 20)
    (root / "bad.txt").write_text("b")
    with pytest.raises(DataError, match=r"bad\.txt: no such file"):
        Watched(root).open(run="shared")


def test_a_worker_gets_the_index_without_its_rows(folder: Folder):
    """Red when pickling for a spawned worker fails, or copies the records."""
    (folder.root / "a.txt").write_text("zebra")
    index = folder.open()
    assert index[0]["name"] == "zebra"
    sent = pickle.dumps(index)
    assert b"zebra" not in sent
    assert pickle.loads(sent)[3] == index[3]


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(folder: Folder, tmp_path: Path):
    (tmp_path / ".file").touch()
    with pytest.raises(ConfigError, match=r"file/index/.*: the index of .* cannot be read or written .* as index_dir"):
        open_index(folder.root, tmp_path / ".file/index", {}, COLUMNS, folder.parts)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_finished_index_opens_without_the_right_to_write(folder: Folder):
    folder.open()
    for path in (*folder.root.rglob("*"), folder.root):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert len(folder.open()) == 14
    for path in (folder.root, folder.root / ".index"):
        path.chmod(0o755)


def test_an_index_moves_with_its_source(folder: Folder, tmp_path_factory: pytest.TempPathFactory):
    """Red when absolute paths are written: a set is mounted elsewhere on the next machine."""
    folder.open()
    moved = tmp_path_factory.mktemp("other") / "set"
    folder.root.rename(moved)
    assert open_and_count(moved) == (14, 0)


def test_a_damaged_index_is_named_with_the_remedy(folder: Folder):
    """Red when broken bytes of the index raise what nobody can place. A damaged list is built again."""
    index = folder.open()
    (file,) = (path for path in (folder.root / ".index").glob("*.arrow") if path.name == index.parts[0].file)
    file.write_bytes(b"text" * 100)
    with pytest.raises(DataError, match=r"damaged index .* Delete .*\.index"):
        Index(index.folder, index.parts)[0]
    (listing,) = (folder.root / ".index").glob("*.json")
    listing.write_text("{")
    file.unlink()
    assert folder.open()[0]["name"] == "a0"


def test_an_error_of_the_source_is_not_blamed_on_the_index_folder(folder: Folder):
    folder._lines = lambda path: lines(path.with_name("gone.txt"))
    with pytest.raises(FileNotFoundError, match=r"gone\.txt"):
        folder.open()


#: Opens an index and draws from it, and prints private memory (kB) before and after.
WORKER = """
import json, pickle, random, sys
from sa2va_native.datasets.indexing.index import Index
import pyarrow as pa

def private():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))

before = private()
index = pickle.load(open(sys.argv[1], "rb"))
rng = random.Random(0)
drawn = [rng.randrange(len(index)) for _ in range(20_000)]
right = all(index[i]["number"] == i for i in drawn)
print(json.dumps([len(index), right, private() - before]))
"""


COUNT = 1_000_000


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Index:
    root = tmp_path_factory.mktemp("million") / "set"
    root.mkdir()
    part = Part("all", {}, lambda: ({"name": f"sa_{i}/{i}", "number": i} for i in range(COUNT)))
    return open_index(root, root.parent / "index", {}, COLUMNS, lambda: [part])


@pytest.mark.slow
def test_a_worker_pays_for_what_it_draws_not_for_the_size_of_the_set(million: Index, tmp_path: Path):
    """Red when a worker holds the records of a million in memory of its own."""
    (tmp_path / "sent").write_bytes(pickle.dumps(million))
    printed = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path / "sent")], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    length, right, grown = json.loads(printed)
    assert (length, right) == (COUNT, True)
    assert grown < 50 * 1024


class Records(IndexedSet):
    """Row ``i`` as a sample of that name."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def __getitem__(self, index: int) -> Sample:
        return Sample(str(self.index[index]["number"]), np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), bool))


@pytest.mark.slow
def test_a_million_records_go_on_from_any_position(million: Index):
    """Red when a resumed run repeats or misses records of a large set, in the first pass or the next."""
    transform = SampleTransform(image_size=8, grounding_size=8, grid_size=2, mask_size=4)
    data = MixtureDataset([{"kind": "cycle", "dataset": Records(million)}], transform)

    def order(start: int = 0) -> MixtureBatchSampler:
        return MixtureBatchSampler(SimpleNamespace(dataset=data), 100, start=start)

    whole = list(itertools.islice(order(), COUNT // 100 + 20))
    drawn = np.array([draw.item for batch in whole for draw in batch])
    assert np.array_equal(np.sort(drawn[:COUNT]), np.arange(COUNT))
    for start in (1, 4_321, 9_999, 10_007):
        resumed = list(itertools.islice(order(start), 10))
        assert resumed == whole[start : start + 10]
        loader = DataLoader(data, batch_sampler=resumed, num_workers=2, collate_fn=collate_batch)
        names = [int(name) for batch in loader for name in batch["batch"].sample_ids]
        assert names == drawn[100 * start : 100 * start + 1000].tolist()


def plant(index: Index, rows: list[dict[str, object]], schema: pa.Schema | None = None) -> None:
    """Another content in the first file of an index."""
    file = index.folder / index.parts[0].file
    schema = schema or pa.ipc.open_file(file).schema
    with pa.ipc.new_file(str(file), schema) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
        counts = json.dumps([len(rows), 0, {}])
        writer.write_batch(pa.RecordBatch.from_pylist([], schema), custom_metadata={"counts": counts})


def break_offsets(index: Index, *offsets: int) -> None:
    """Offsets of the first texts of the first file that lead out of it."""
    file = index.folder / index.parts[0].file
    content = file.read_bytes()
    place = content.index(struct.pack("<4i", 0, 2, 4, 6))
    file.write_bytes(content[:place] + struct.pack("<4i", *offsets) + content[place + 16 :])


OFFSETS = [(0, 2, 4, 1 << 30), (0, -2_000_000_000, 4, 6), (0x7FFFFF00, 0x7FFFFFFF, 4, 6)]


@pytest.mark.parametrize("offsets", OFFSETS)
def test_a_planted_index_is_built_anew(folder: Folder, offsets: tuple[int, ...]):
    """Red when a file that somebody else wrote ends the process, or its rows are read as texts from elsewhere."""
    break_offsets(folder.open(), *offsets)
    index = folder.open()
    assert [index[i]["name"] for i in range(11)] == [f"a{i}" for i in range(11)]


@pytest.mark.parametrize("offsets", OFFSETS)
def test_a_row_of_a_large_index_is_checked_when_it_is_drawn(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, offsets: tuple[int, ...]
):
    """Red when an index that is too large to be checked at once is not checked at all."""
    break_offsets(folder.open(), *offsets)
    monkeypatch.setattr(index_builder, "_CHECKED_AT_ONCE", 0)
    index = folder.open()
    assert folder.read == ["a", "b"], "it was not built anew"
    with pytest.raises(DataError, match=r"damaged index .* Delete .*\.index"):
        [index[i] for i in range(4)]
    assert index[5]["name"] == "a5"


def test_an_index_of_other_columns_is_built_anew(folder: Folder):
    """Red when a file of another schema under the name of a part is believed."""
    other = pa.schema({"name": pa.int64(), "number": pa.int32(), "fault": pa.string()})
    for rows, schema in (
        ([{"name": 5, "number": 1}] * 11, other),
        ([{"name": "x", "number": 1}] * 11, pa.schema({"name": pa.string()})),
    ):
        plant(folder.open(), rows, schema)
        index = folder.open()
        assert (len(index), index[0]["name"]) == (14, "a0")


@pytest.mark.parametrize(
    "listing", ["[]", "null", "{}", '{"stamps": {}, "parts": 5}', '{"stamps": {}, "parts": [[1]]}', "[" * 100_000,
                '{"stamps": {"a\\u0000": null}, "parts": []}', '{"stamps": {}, "parts": [["a", "../x", 1, 0, {}]]}',
                '{"stamps": {}, "parts": [["a", "/etc/passwd", 1, 0, {}]]}', '{"stamps": [], "parts": []}'],
)  # fmt: skip
def test_a_planted_list_is_built_anew(folder: Folder, listing: str):
    """Red when a list of another kind ends the run, or names files outside the folder."""
    folder.open()
    next((folder.root / ".index").glob("*.json")).write_text(listing)
    assert folder.open()[0]["name"] == "a0"


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_a_planted_list_that_is_no_file_is_written_anew(folder: Folder, plant: Callable[[Path], None]):
    """Red when opening a set waits for somebody to write to a pipe, or reads zeros without end."""
    folder.open()
    (listing,) = (folder.root / ".index").glob("*.json")
    listing.unlink()
    plant(listing)
    assert folder.open()[0]["name"] == "a0"
    assert listing.is_file()


def test_a_planted_file_that_no_list_names_is_written_again(folder: Folder):
    """Red when a build takes what lies under the name of a part for its own earlier work."""
    index = folder.open()
    (index.folder / index.parts[0].file).write_bytes(b"text" * 100)
    next(index.folder.glob("*.json")).unlink()
    assert folder.open()[0]["name"] == "a0"


@pytest.mark.parametrize("fault", ["[", "5", '["a"]', "[" * 100_000])
def test_a_planted_fault_is_an_error_of_the_index(folder: Folder, monkeypatch: pytest.MonkeyPatch, fault: str):
    """Red when the reason of a bad record, which is JSON, ends in a traceback."""
    index = folder.open()
    plant(index, [{"fault": fault}] * 11)
    monkeypatch.setattr(index_builder, "_CHECKED_AT_ONCE", 0)
    index_module.open_part.cache_clear()
    with pytest.raises(DataError, match="damaged index"):
        folder.open()[0]


def test_a_folder_may_have_any_name(tmp_path: Path):
    """Red when brackets of a name are read as markup of the progress bar, or a line end as one of the log."""
    root = tmp_path / "a[" / "red]\n\x1b[2J"
    root.mkdir(parents=True)
    (root / "a.txt").write_text("a0")
    assert Folder(root).open()[0]["name"] == "a0"
