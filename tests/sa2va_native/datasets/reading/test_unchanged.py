"""One file that several adapters read is read once."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

from sa2va_native.datasets.reading.packed_records import PackedRecords
from sa2va_native.datasets.reading.unchanged import shared


def read_lines(path: Path, first: int) -> PackedRecords:
    return PackedRecords(path.read_text().splitlines()[first:])


def test_a_file_in_use_is_read_once(tmp_path: Path) -> None:
    """Red when each of the splits of RefCOCO parses and holds 200,000 annotations."""
    path = tmp_path / "lines"
    path.write_text("a\nb")
    first = shared(read_lines, path, 0)
    assert shared(read_lines, path, 0) is first
    assert list(shared(read_lines, path, 1)) == ["b"]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("a\nb")
    first = shared(read_lines, path, 0)
    path.write_text("a\nb\nc")
    assert list(shared(read_lines, path, 0)) == ["a", "b", "c"]
    assert list(first) == ["a", "b"]


def test_what_nobody_uses_is_let_go(tmp_path: Path) -> None:
    """Red when a tool that looks at one set after another ends up with all of them in memory."""
    path = tmp_path / "lines"
    path.write_text("a")
    content = weakref.ref(shared(read_lines, path, 0))
    gc.collect()
    assert content() is None
