"""The check of a data set: every fault is counted under its kind and told how to be mended."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sa2va_native.datasets.adapters.coco import CocoInstances
from sa2va_native.datasets.adapters.own_data import OwnData
from sa2va_native.datasets.adapters.sa1b import Sa1b
from sa2va_native.datasets.advice import ADVICE, advice_for
from sa2va_native.datasets.check import Region, check_set, format_report, spread
from sa2va_native.files.paths import ROOT
from tests.sa2va_native.datasets.adapters.test_coco import annotation, write
from tests.sa2va_native.datasets.adapters.test_own_data import SQUARE, make
from tests.sa2va_native.datasets.native import write_sa1b


def faulty(root: Path) -> Path:
    """4 sound records, among them a dot and a pair of frames with text, and 4 bad ones of 3 kinds."""
    good = {"image": "a.png", "mask": SQUARE}
    records = [
        {**good, "id": "x", "text": "the box", "image2": "b.png", "mask2": SQUARE},
        {**good, "image": "gone.png"},
        {**good, "mask": [[1, 1, 2, 2]]},
        {**good, "id": "x"},
        {**good, "mask": [[1, 1, 2, 1, 2, 2, 1, 2]]},
        {**good, "image": "lost.png"},
        {**good, "id": "y"},
        {**good, "maks": 3},
    ]
    return make(root, *records)


def test_every_fault_is_counted_under_its_kind(tmp_path: Path):
    """Red when a bad sample is not counted, counts under another kind, or its place is not told."""
    told = []
    data = OwnData(faulty(tmp_path))
    report = check_set(data, range(len(data)), Region(2), on_bad=told.append)
    assert {title: problem.count for title, problem in report.problems.items()} == {
        "missing file": 2,
        "polygon with too few points": 1,
        "misspelt key": 1,
    }
    assert (report.looked_at, report.bad, report.without_text, report.two_frames) == (8, 4, 3, 1)
    assert [bad.record for bad in told] == ["line 2", "line 3", "line 6", "line 8"]
    # cells of 5 x 10 px: the dot of 1 px is 2 % of its cell, the square 3 x 6 of the first and 3 x 6 of the second
    assert report.too_few_cells == {"nearest": 1, "average": 4, "any": 1}
    text = format_report(report, len(data), Region(2))
    assert "8 of 8 samples checked, 4 bad\n  2 x missing file\n      fix: add the file" in text
    assert f"{tmp_path}/gone.png: line 2: missing: no such file" in text
    assert "note: 1 ids are given twice; all their records are used: x (line 1, line 4)" in text


def test_examples_are_few(tmp_path: Path):
    data = OwnData(make(tmp_path, *[{"image": "gone.png", "mask": SQUARE}] * 9))
    text = format_report(check_set(data, range(9), Region()), 9, Region())
    assert text.count("line ") == 3
    assert "and 6 more" in text


def test_objects_are_counted_by_the_limits_of_the_config(tmp_path: Path):
    """Red when cells are chosen by another share than training's, or too few of them count as enough."""
    data = OwnData(make(tmp_path, {"image": "a.png", "mask": SQUARE}))  # 36 % of each of two cells of 5 x 10 px
    for region, lost in (
        (Region(2, min_share=0.3, min_cells=2), 0),
        (Region(2, min_share=0.4), 1),
        (Region(2, min_cells=3), 1),
    ):
        assert check_set(data, range(1), region).too_few_cells["any"] == lost
    region = Region(2, pooling="any", min_cells=3)
    told = format_report(check_set(data, range(1), region), 1, region)
    assert "objects with fewer than 3 region cells of 2 x 2, by pooling: nearest 1 (100.0%), " in told
    assert "any 1 (100.0%, the configured one)" in told


def test_what_settings_leave_out_is_noted(tmp_path: Path):
    """Red when a set that lost its objects to a setting looks whole, as one of CVAT's brush masks does."""
    write(tmp_path, [annotation(1), annotation(2, iscrowd=1), annotation(3, iscrowd=1)])
    data = CocoInstances(tmp_path / "instances.json", tmp_path / "images")
    told = format_report(check_set(data, range(1), Region()), 1, Region())
    assert "note: left out: 2 crowds (an annotation tool such as CVAT" in told
    root = write_sa1b(tmp_path / "sa1b", "tar")
    notes = check_set(Sa1b(root, min_predicted_iou=0.9), [], Region()).notes
    assert len(notes) == 1
    assert "left out: 3 " in notes[0]


def test_a_limit_is_spread_over_the_set():
    assert spread(101, 3) == [0, 50, 100]
    assert list(spread(5, None)) == list(spread(5, 9)) == [0, 1, 2, 3, 4]


def test_a_reason_gets_the_advice_for_it():
    """Red when a reason is reworded and gets none, or that of another."""
    reasons = {
        "missing: no such file": "missing file",
        "'../a' leads out of root, to '/a'": "path outside its folder",
        "'a': a loop of symbolic links": "path outside its folder",
        "3 is not the path of a file": "no usable path",
        "unreadable picture (OSError: image file is truncated)": "unreadable picture",
        "9 x 9 px is above 3 px; shrink it, or raise max_pixels": "too many pixels",
        "picture of mode F, whose range is not known": "picture with an unknown range",
        "picture of 9 x 8 px (width x height), annotated as 8 x 9 px": "picture whose size differs from the annotation",
        "RLE of size [1, 2] (height, width) on a picture of size [2, 1]": "RLE whose size differs from the picture",
        "RLE counts cannot be decoded": "broken RLE",
        "polygon of 4 numbers, expected x, y of at least 3 points": "polygon with too few points",
        "polygon with a coordinate that is not finite": "polygon with impossible coordinates",
        "mask entirely outside its picture of 9 x 9 px": "mask outside its picture",
        "empty mask: it covers no pixel": "empty mask",
        "no 'mask'": "no mask",
        "no 'mask', only a 'bbox', which has no outline": "box without a mask",
        "mask with 3 values besides 0": "mask file with several values",
        "unknown key 'imge'. Did you mean 'image'?": "misspelt key",
        "empty text": "unusable text",
        "not JSON (Expecting value)": "line that is not JSON",
        "image_id 3 is given to images of different files": "ambiguous id",
        "track_id 3 is given to 2 annotations of the next frame": "ambiguous id",
        "ann_id 3 is not in instances.json": "reference to a missing entry",
        "ann_id 3 is no list; files with one number each are refs(*).p": "ref that contradicts itself",
        "ann_id 3 is an object of image 1, not of image_id 2": "ref that contradicts itself",
        "no_target is True and ann_id [3]": "ref that contradicts itself",
        "frames of several sizes": "broken entry of a clip",
        "anno_id 3, expected a list": "broken entry of a clip",
        "type_id 'a', expected a whole number": "broken entry of a clip",
        "no target, which a 'cycle' source describes": "expression without a target",
        "its name is not UTF-8; rename it": "name that is not UTF-8",
        "unreadable ([Errno 13] Permission denied)": "unreadable file",
        "unreadable video (ValueError: frame 24 of a video of 20 frames)": "video shorter than its annotation",
        "unreadable video (ValueError: 9 x 9 px is above 3 px)": "unreadable video",
        "frame 6: RLE counts are a int, expected text or a list of run lengths": "broken RLE",
        "a list, expected an RLE": "broken RLE",
        "not an annotation of SA-V (DataError: a.json: not JSON (cut off). Download it again.)": "broken masklet json",
        "unreadable npz (ValueError: without mask2; it has frame1)": "broken pair file",
        "frame with values from -1 to 3, expected 0 to 1 or 0 to 255": "array that is not a picture or mask",
        "mask of size (2, 3) on a frame of size (3, 2)": "mask whose size differs from its picture",
        "not a whole uncompressed tar (unexpected end of data)": "broken shard",
        "truncated: 3 of 9 bytes": "broken shard",
        "no json among its members: jpg, text": "incomplete sample in a shard",
        "not JSON; truncated? (Expecting value)": "broken json of a picture",
        "no list 'annotations' in it": "broken json of a picture",
        "changed since it was indexed": "changed since it was indexed",
        "no csv (unexpected end of data)": "broken line in a csv",
        "3 fields, and 10 columns": "broken line in a csv",
        "'predicted_iou' is None, and min_predicted_iou needs a number": "missing number for a limit",
        "could not convert string to float: 'x'": "missing number for a limit",
        "attributes are not an object of names and values": "unusable attributes",
        "labels of shape (2, 2, 3), expected one channel of whole numbers": "labels with several channels",
        "no 'ref_id'": "missing key",
        "a str, expected a caption and a mask_rle": "record that is not an object",
    }
    assert {reason: advice_for(reason).title for reason in reasons} == reasons
    assert {advice.title for advice in ADVICE} == set(reasons.values())
    assert "not fractions of the picture" in advice_for("empty mask: it covers no pixel").remedy, (
        "0..1 become nothing at 0, 0"
    )
    assert advice_for("frame 17 of 'a b' is odd").title == "frame … of … is odd"


def _text(node: ast.expr | None) -> str:
    """A literal, with a 0 for each value in it; empty if it is none."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "0" for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else ""


def test_every_reason_in_the_code_has_advice():
    """Red when a new reason is written without advice. The fuzz test looks at those that are put together."""
    places, found = {"BadSample": 2, "MaskError": 0}, set()
    sources = (ROOT / "projects/sa2va_native/datasets").rglob("*.py")
    for file in (source for source in sources if source.parent.name != "converters"):  # those name their own remedies
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in places:
                found.add(_text(next(iter(call.args[places[call.func.id] :]), None)))
    found = {text for text in found if re.search("[a-z]", text.removeprefix("frame "))}
    assert len(found) > 40
    assert {text for text in found if advice_for(text) not in ADVICE} == set()


@pytest.mark.slow
def test_the_tool_says_so_and_ends_with_status_one(tmp_path: Path):
    """Red when a script that checks data before a run cannot tell that it is bad."""
    path, bad = faulty(tmp_path), tmp_path / "bad.jsonl"
    command = [sys.executable, ROOT / "tools/check_data.py"]
    ended = subprocess.run([*command, path, "--report", bad], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "data: OwnData, 8 of 8 samples checked" in ended.stdout
    assert "2 x missing file" in ended.stdout
    assert [json.loads(line)["record"] for line in bad.read_text().splitlines()] == [f"line {n}" for n in (2, 3, 6, 8)]
    Image.new("RGB", (20, 10)).save(tmp_path / "gone.png")
    for number in (3, 6, 8):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([*lines[: number - 1], lines[0], *lines[number:]]))
    ended = subprocess.run([*command, tmp_path], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "8 of 8 samples checked, 0 bad" in ended.stdout
    ended = subprocess.run([*command, tmp_path / "nowhere"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "DataError" in ended.stderr


def test_the_report_says_where_a_missing_file_lies(tmp_path: Path):
    """Red when a picture in another folder is told to be missing and no more."""
    (tmp_path / "photos").mkdir()
    data = OwnData(
        make(
            tmp_path,
            {"image": "images/c.png", "mask": SQUARE},
            {"image": "lost.png", "mask": SQUARE},
            {"image": "/gone/c.png", "mask": SQUARE},
        )
    )
    (tmp_path / "a.png").rename(tmp_path / "photos/c.png")
    text = format_report(check_set(data, range(3), Region()), 3, Region())
    assert text.count(f"a file of that name lies at {tmp_path}/photos/c.png") == 2
    assert f"images/c.png: line 1: missing: no such file (a file of that name lies at {tmp_path}/photos/c.png)" in text


def test_pieces_that_are_left_out_are_noted(tmp_path: Path):
    """Red when a set whose masks lost pieces looks whole."""
    data = OwnData(make(tmp_path, {"image": "a.png", "mask": [*SQUARE, [1, 1], [2, 2]]}))
    report = check_set(data, range(1), Region())
    assert (report.bad, report.strays) == (0, 2)
    text = format_report(report, 1, Region())
    assert "note: 2 pieces of masks were left out; the rest of these masks is used" in text
    assert "data.jsonl#line 1: polygon of 2 numbers" in text
