"""What is written appears whole or not at all, be it a file or a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sa2va_native.files.atomic import INCOMPLETE, atomic_write, discard_incomplete, publish


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


def test_a_folder_comes_back_if_the_new_one_cannot_take_its_place(tmp_path: Path) -> None:
    """Red when a failure between the two renames loses the old folder, as when another writer took ours away."""
    final = tmp_path / "result"
    _fill(final, True, "old")
    with pytest.raises(OSError, match="No such file"):
        publish(tmp_path / "gone", final)
    assert _content(final) == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_what_a_kill_between_the_renames_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """Red when the place of the replaced folder has one name: no later run could use it."""
    final, rename = tmp_path / "result", Path.rename

    def write(content: str) -> None:
        with atomic_write(final) as unfinished:
            _fill(unfinished, True, content)

    def killed(old: Path, new: Path) -> Path:
        if new == final:
            raise KeyboardInterrupt
        return rename(old, new)

    for content in ("old", "newer"):
        _fill(final, True, content)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "rename", killed)
            with pytest.raises(KeyboardInterrupt):
                write("lost")
        assert not final.exists()
    _fill(final, True, "newest")
    write("last")
    assert _content(final) == "last"


def test_a_link_to_a_folder_is_replaced_and_its_folder_kept(tmp_path: Path) -> None:
    """Red when the work of hours is published and the run then fails on what it replaced."""
    _fill(tmp_path / "elsewhere", True, "old")
    final = tmp_path / "result"
    final.symlink_to(tmp_path / "elsewhere")
    with atomic_write(final) as unfinished:
        _fill(unfinished, True, "new")
    assert (_content(final), _content(tmp_path / "elsewhere")) == ("new", "old")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "result"]


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
