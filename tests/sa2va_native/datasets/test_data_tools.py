"""The tools that read and write data: where their output goes, and what they say when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from sa2va_native.files.paths import ROOT
from tests.ranks import Ended, call_tool
from tests.sa2va_native.datasets.adapters.test_coco import annotation, write
from tests.sa2va_native.datasets.adapters.test_own_data import SQUARE, make

OUTPUTS = [("check_data.py", "--report", "bad.jsonl"), ("browse_data.py", "--out", "sheet.png")]


def call(tool: str, *arguments: object) -> Ended:
    (ended,) = call_tool(ROOT / "tools" / tool, *arguments)
    return ended


@pytest.mark.parametrize(("tool", "option", "name"), OUTPUTS)
def test_a_folder_that_is_not_there_is_made(tmp_path: Path, tool: str, option: str, name: str) -> None:
    """Red when all samples are looked at and the result is lost, as its folder is not there."""
    data, out = make(tmp_path, {"image": "a.png", "mask": SQUARE}), tmp_path / "new/deep" / name
    ended = call(tool, data, option, out)
    assert ended.status == 0, ended.output
    assert out.is_file()


@pytest.mark.parametrize(("tool", "option", "name"), OUTPUTS)
def test_an_output_that_cannot_be_written_is_told_at_once(tmp_path: Path, tool: str, option: str, name: str) -> None:
    """Red when the samples are read before it is seen, or a traceback is all that is said."""
    data, out = make(tmp_path, {"image": "a.png", "mask": SQUARE}), tmp_path / "file" / name
    out.parent.touch()
    ended = call(tool, data, option, out)
    assert ended.status == 1
    assert f"ConfigError: {option} {out} cannot be written" in ended.output
    assert "Traceback" not in ended.output
    assert "samples checked" not in ended.output


def test_a_sheet_is_a_picture(tmp_path: Path) -> None:
    """Red when the format is found to be none when the sheet is drawn."""
    ended = call("browse_data.py", make(tmp_path, {"image": "a.png", "mask": SQUARE}), "--out", tmp_path / "sheet.txt")
    assert ended.status == 1
    assert "end it with .png, .jpg or .webp" in ended.output


def test_crowds_are_converted_on_request_and_nothing_is_converted_twice(tmp_path: Path) -> None:
    """Red when CVAT's brush masks cannot be had, a json of any name is not taken, or a second call says that the
    folder holds no COCO set, as its own data is there now."""
    path, _ = write(tmp_path, [annotation(1), annotation(2, iscrowd=1)])
    path = path.rename(tmp_path / "mine.json")
    for crowds, out in (((), "one/a.jsonl"), (("--include-crowd",), "two/b.jsonl")):
        ended = call("prepare_data/own_data.py", "coco", path, *crowds, "--out", tmp_path / out)
        assert ended.status == 0, ended.output
        assert len((tmp_path / out).read_text().splitlines()) == 1 + len(crowds)
    ended = call("prepare_data/own_data.py", "coco", tmp_path)
    assert "data.jsonl: 1 objects" in ended.output, ended.output
    assert "data.jsonl already exists" in call("prepare_data/own_data.py", "coco", tmp_path).output
    ended = call("prepare_data/own_data.py", "coco", tmp_path, "--out", tmp_path / "new.jsonl")
    assert "new.jsonl: 1 objects" in ended.output, ended.output
