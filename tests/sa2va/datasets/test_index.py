"""The index of a large set: what it holds, when it is built again, and what it costs."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from projects.sa2va.datasets import index as index_module
from projects.sa2va.datasets import index_builder
from projects.sa2va.datasets.index import Dropped, Entry, Index, Part
from projects.sa2va.datasets.index_builder import open_index
from projects.sa2va.errors import BadSample, ConfigError, DataError
from projects.sa2va.paths import ROOT

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
        yield Part("", (self.root,), lambda: iter(()))
        for path in sorted(self.root.glob("*.txt")):
            yield Part(path.stem, (path,), lambda path=path: self._lines(path))

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


def test_a_run_that_holds_the_old_index_keeps_its_files(folder: Folder):
    """Red when a new build takes the files away under a running training. The build after that may."""
    old = folder.open()
    (folder.root / "b.txt").write_text("b0 b1 b2")
    folder.open()
    assert old[13]["name"] == "b3"
    (folder.root / "b.txt").write_text("b0 b1 b2 b3")
    folder.open()
    assert len(list((folder.root / ".index").glob("*.arrow"))) == 4  # the root, a, and two of b
    assert not list((folder.root / ".index").glob("*.tmp"))


def test_a_build_that_dies_goes_on_where_it_was(folder: Folder):
    """Red when finished parts are read again, or the unfinished one counts as complete."""
    (folder.root / "c.txt").write_text("c0")
    whole, folder._lines = folder._lines, lambda path: killed(path) if path.stem == "b" else whole(path)
    with pytest.raises(KeyboardInterrupt):
        folder.open()
    assert folder.read == ["a"]
    folder._lines = whole
    assert len(folder.open()) == 15
    assert folder.read == ["a", "b", "c"]


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


def test_a_worker_gets_the_index_without_its_rows(folder: Folder):
    """Red when pickling for a spawned worker fails, or copies the records."""
    (folder.root / "a.txt").write_text("zebra")
    index = folder.open()
    assert index[0]["name"] == "zebra"
    sent = pickle.dumps(index)
    assert b"zebra" not in sent
    assert pickle.loads(sent)[3] == index[3]


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(folder: Folder, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/index: the index of .* cannot be written .* as index_dir"):
        open_index(folder.root, tmp_path / "file/index", {}, COLUMNS, folder.parts)


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
from projects.sa2va.datasets.index import Index
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


@pytest.mark.slow
def test_a_worker_pays_for_what_it_draws_not_for_the_size_of_the_set(tmp_path: Path):
    """Red when a worker holds the records of a million in memory of its own."""
    (tmp_path / "set").mkdir()
    count = 1_000_000
    part = Part("all", (tmp_path / "set",), lambda: ({"name": f"sa_{i}/{i}", "number": i} for i in range(count)))
    index = open_index(tmp_path / "set", tmp_path / "index", {}, COLUMNS, lambda: [part])
    (tmp_path / "sent").write_bytes(pickle.dumps(index))
    printed = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path / "sent")], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    length, right, grown = json.loads(printed)
    assert (length, right) == (count, True)
    assert grown < 50 * 1024
