"""Whatever changes in what was written is found, and what was not changed is accepted."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sa2va_native.files.seal import Damaged, file_checksum, parse_seal
from sa2va_native.files.sealed_archive import archive_damage, archive_seal, foreign_records, sealed_archive
from sa2va_native.files.sealed_folder import MANIFEST, folder_damage, folder_seal, seal_folder

ABOUT = {"run": "a", "step": 3, "saved": 1.5}
CONTENT = {"weight": torch.arange(5000.0), "names": ["a", "b"]}


def _saved() -> bytes:
    buffer = io.BytesIO()
    torch.save(CONTENT, buffer)
    return buffer.getvalue()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "sealed.pth"
    path.write_bytes(b"".join(sealed_archive(_saved(), ABOUT)))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    for name in ("a.pt", "inside/b.pt"):
        torch.save(CONTENT, folder / name)
    seal_folder(folder, ABOUT)
    return folder


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_reads_a_sealed_archive_as_it_was(archive: Path, mmap: bool) -> None:
    """Red when the comment of the archive changes what torch, or any reader of zip files, finds in it."""
    assert torch.equal(torch.load(archive, mmap=mmap)["weight"], CONTENT["weight"])
    assert zipfile.ZipFile(archive).testzip() is None
    assert archive_damage(archive) is None
    assert archive_seal(archive).about == ABOUT


def test_any_byte_of_a_seal_counts(archive: Path, folder: Path) -> None:
    """Red when a checkpoint can be made one of another run, or older, by one byte of its seal."""
    for path, find in ((archive, lambda: archive_damage(archive)), (folder / MANIFEST, lambda: folder_damage(folder))):
        written = path.read_bytes()
        at = written.rindex(b'"about"')
        for place in range(at, len(written)):
            path.write_bytes(written[:place] + bytes([written[place] ^ 1]) + written[place + 1 :])
            assert find() is not None, (path.name, place - at)
        path.write_bytes(written)
        assert find() is None


def test_checksums_do_not_depend_on_where_chunks_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when the end of a file, or the order of its chunks, does not count."""
    import sa2va_native.files.seal as module

    monkeypatch.setattr(module, "_CHUNK", 64)
    path, content = tmp_path / "x", bytes(range(200))
    path.write_bytes(content)
    assert file_checksum(path) == module.checksum(content)
    assert file_checksum(path, 150) == module.checksum(content[:150])
    others = (content, content[64:128] + content[:64] + content[128:], content[:-1])
    assert len({module.checksum(other).checksum for other in others}) == 3


def test_an_archive_without_a_seal_is_held_against_its_own_records(tmp_path: Path) -> None:
    """Those of earlier versions and other tools. Red when 64 KB of zeros in a tensor pass."""
    path, content = tmp_path / "old.pth", _saved()
    path.write_bytes(content)
    assert (archive_seal(path), archive_damage(path)) == (None, None)
    at = content.index(CONTENT["weight"].numpy().tobytes()) + 4000
    path.write_bytes(content[:at] + bytes(4096) + content[at + 4096 :])
    assert "does not match its checksum" in archive_damage(path)
    path.write_bytes(content[:-30])
    assert "truncated or not a torch file" in archive_damage(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_grows_when_it_is_read_is_refused(tmp_path: Path, compression: int) -> None:
    """Red when a file of kilobytes makes the process take gigabytes."""
    bomb = tmp_path / "bomb.pth"
    with zipfile.ZipFile(bomb, "w", compression) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    assert bomb.stat().st_size < 20_000
    assert "compressed" in foreign_records(bomb)
    assert archive_damage(bomb)


def test_records_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """Red when many entries of an archive may name the same bytes."""
    path = tmp_path / "overlap.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(100_000))
        for number in range(50):
            entry = zipfile.ZipInfo(f"archive/data/{number}")
            entry.file_size = entry.compress_size = 100_000
            entry.CRC = archive.filelist[0].CRC
            entry.header_offset = archive.filelist[0].header_offset
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
        archive._didModify = True
    assert "more bytes than there are" in foreign_records(path)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (
            lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n"),
            "git lfs",
        ),
        (lambda path: torch.save(CONTENT, path, _use_new_zipfile_serialization=False), "before version 1.6"),
        (lambda path: path.write_bytes(_saved()[:-30]), "is truncated or not a torch file"),
        (lambda path: path.write_bytes(b""), "is truncated or not a torch file"),
    ],
    ids=["lfs", "old", "cut", "empty"],
)
def test_what_is_no_archive_is_named(folder: Path, write: Callable[[Path], object], said: str) -> None:
    """Alone, and in a folder. Red when a pointer of Git LFS, or what an old torch wrote, is said to be truncated."""
    path = folder / "a.pt"
    write(path)
    assert said in archive_damage(path)
    assert said in foreign_records(path)
    assert said in folder_damage(folder) or said.startswith("is truncated")
    (folder / MANIFEST).unlink()
    assert f"a.pt {archive_damage(path)}" == folder_damage(folder)


def test_a_manifest_that_grows_when_it_is_read_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 MB that would be a gigabyte. Red when it is parsed."""
    (folder / MANIFEST).write_text("[" + "[]," * 10_000_000 + "1]")
    monkeypatch.setattr(json, "loads", None)
    assert folder_damage(folder) == f"{MANIFEST} is truncated or damaged"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "a.pt").unlink(), "a.pt is missing"),
        (lambda folder: (folder / "inside/b.pt").write_bytes(b"x"), "inside/b.pt has 1 bytes instead of"),
        (lambda folder: (folder / MANIFEST).write_text("{"), f"{MANIFEST} is truncated or damaged"),
        (lambda folder: (folder / MANIFEST).write_text('{"seal": "x"}'), f"{MANIFEST} has a damaged seal"),
        (lambda folder: torch.save(1, folder / "c.pt"), f"c.pt is not in {MANIFEST}"),
    ],
)
def test_damage_to_a_folder_is_named(folder: Path, damage: Callable[[Path], object], said: str) -> None:
    """Red when a file that is lost, cut, or not of this checkpoint passes."""
    assert folder_damage(folder) is None
    assert folder_seal(folder).about == ABOUT
    damage(folder)
    assert said in folder_damage(folder)


def test_a_list_of_sizes_is_accepted_and_names_nothing_outside(folder: Path) -> None:
    """What earlier versions wrote. Red when old checkpoints are refused, or a list makes us read other files."""
    sizes = {name: (folder / name).stat().st_size for name in ("a.pt", "inside/b.pt")}
    (folder / MANIFEST).write_text(json.dumps(sizes))
    assert (folder_seal(folder), folder_damage(folder)) == (None, None)
    (folder / MANIFEST).write_text(json.dumps({"../sealed.pth": 1}))
    assert "is missing" in folder_damage(folder)


@pytest.mark.parametrize("text", ["", "[]", "1", "[" * 100_000, '{"about": {}, "parts": {"a": 1}, "seal": ""}'])
def test_what_is_no_seal_is_damage(text: str) -> None:
    """Red when a hostile seal ends in a traceback."""
    with pytest.raises(Damaged):
        parse_seal(text)
