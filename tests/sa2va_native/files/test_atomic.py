"""What is written appears whole or not at all, be it a file or a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sa2va_native.files.atomic import INCOMPLETE, atomic_write, discard_incomplete


def _fill(path: Path, folder: bool, content: str) -> None:
    if folder:
        path.mkdir()
        path = path / "inside"
    path.write_text(content)


def _content(path: Path) -> str:
    return (path / "inside" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("folder", [False, True])
def test_the_new_takes_the_place_of_the_old(tmp_path: Path, folder: bool, durable: bool) -> None:
    """Red when a reader meets a half-written result, or a folder cannot be written a second time."""
    final = tmp_path / "result"
    for content in ("old", "new"):
        with atomic_write(final, durable) as unfinished:
            _fill(unfinished, folder, content)
            assert unfinished.name.endswith(INCOMPLETE)
            assert not final.exists() or _content(final) == "old"
        assert _content(final) == content
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.parametrize("folder", [False, True])
def test_an_error_leaves_what_was_there(tmp_path: Path, folder: bool) -> None:
    """Red when a failed write is published, or its remains stay."""
    final = tmp_path / "result"
    _fill(final, folder, "old")

    def write() -> None:
        with atomic_write(final) as unfinished:
            _fill(unfinished, folder, "half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write()
    assert _content(final) == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_a_folder_is_kept_where_it_must_not_be_replaced(tmp_path: Path) -> None:
    """Red when the slower of two writers throws away what the faster one made."""
    final = tmp_path / "result"
    _fill(final, True, "old")
    with pytest.raises(OSError, match="not empty"), atomic_write(final, replace=False) as unfinished:
        _fill(unfinished, True, "new")
    assert _content(final) == "old"


def test_what_a_kill_left_is_found_by_name(tmp_path: Path) -> None:
    """Red when hidden files or folders stay for ever, or anything else goes."""
    (tmp_path / f".a.1{INCOMPLETE}").touch()
    (tmp_path / f"b{INCOMPLETE}").mkdir()
    (tmp_path / f"b{INCOMPLETE}" / "inside").touch()
    (tmp_path / "iter_2.pth").touch()
    discard_incomplete(tmp_path, ".a*")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.incomplete", "iter_2.pth"]
    discard_incomplete(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["iter_2.pth"]
