"""Layouts that are converted in one step: every mask and text comes through, and a folder of each names that step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.registry import DATASETS
from PIL import ExifTags, Image

from pseudo_gumbel.cli import convert_data
from sa2va_native.datasets.adapters.own_data import OwnData
from sa2va_native.datasets.finding.find_sets import find_sets
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.errors import ConfigError, DataError
from tests.sa2va_native.datasets.native import SIZE, box, jpeg, picture, write_files

HEIGHT, WIDTH = SIZE
LEFT, RIGHT = box(2, 3), box(6, 18)  # of 10 x 12 px
BOXES = ((3, 2, 15, 12), (18, 6, 30, 16))  # the same as x0, y0, x1, y1


def corners(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def flat(points: list[list[float]]) -> list[float]:
    return [value for point in points for value in point]


def labels(left: int = 1, right: int = 2) -> np.ndarray:
    """uint8 (H, W)."""
    return (left * LEFT + right * RIGHT).astype(np.uint8)


def write_labels(path: Path, numbers: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(numbers, "P" if palette else "L")
    if palette:
        image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
    image.save(path)


def write_photo(path: Path) -> None:
    write_files(path.parent, {path.name: jpeg(picture(1))})


def yolo(root: Path, images: str = "images/train", texts: str = "labels/train") -> None:
    write_photo(root / images / "a.jpg")
    lines = [
        f"{number} {' '.join(str(x / WIDTH) + ' ' + str(y / HEIGHT) for x, y in corners(*one))}"
        for number, one in enumerate(BOXES)
    ]
    write_files(root / texts, {"a.txt": "\n".join(lines).encode()})
    (root / "data.yaml").write_text("path: .\nnames:\n  0: red square\n  1: blue square\n")


def id_masks(root: Path) -> None:
    write_photo(root / "images/a.jpg")
    write_labels(root / "masks/a.png", labels())


def davis(root: Path) -> None:
    for frame in range(2):
        write_photo(root / f"JPEGImages/480p/clip/{frame:05d}.jpg")
        write_labels(root / f"Annotations/480p/clip/{frame:05d}.png", labels(), palette=True)


def sam(root: Path) -> None:
    write_photo(root / "a.jpg")
    found = [
        {"segmentation": encode_mask(mask), "area": 120, "stability_score": 0.97, "crop_box": [0, 0, WIDTH, HEIGHT]}
        for mask in (LEFT, RIGHT)
    ]
    (root / "a.json").write_text(json.dumps(found))


def sa2va(root: Path) -> None:
    write_photo(root / "images/a.jpg")
    masks = [[flat(corners(*one))] for one in BOXES]
    (root / "annotations.json").write_text(json.dumps([{"image": "a.jpg", "mask": masks, "text": ["one", "two"]}]))


def phrasecut(root: Path) -> None:
    write_photo(root / "images/7.jpg")
    phrases = [("one", [[corners(*BOXES[0])]]), ("two", [[corners(*BOXES[1])]])]
    tasks = [{"task_id": "7__0", "image_id": 7, "phrase": text, "Polygons": outlines} for text, outlines in phrases]
    (root / "refer_train.json").write_text(json.dumps(tasks))


LAYOUTS: dict[str, tuple[Callable[[Path], None], list[str | None]]] = {
    "yolo": (yolo, [None, None]),
    "id-masks": (id_masks, [None, None]),
    "davis": (davis, [None] * 4),
    "sam": (sam, [None, None]),
    "sa2va": (sa2va, ["one", "two"]),
    "phrasecut": (phrasecut, ["one", "two"]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_named_and_its_step_makes_it_own_data(layout: str, tmp_path: Path, capsys: Any) -> None:
    """Red when a folder is not told the command for it, the command fails, or a mask or a text is lost or shifted."""
    write, texts = LAYOUTS[layout]
    write(tmp_path)
    with pytest.raises(DataError) as told:
        find_sets(tmp_path)
    step = str(told.value).partition("run pseudo-gumbel convert-data ")[2].split(" (known")[0]
    assert step.split()[0] == layout
    run(*step.split())
    assert f"{tmp_path / 'data.jsonl'}: {len(texts)} objects" in capsys.readouterr().out
    (found,) = find_sets(tmp_path)
    data = DATASETS.build(found.config)
    assert [data[index].text for index in range(len(data))] == texts
    for index in range(len(data)):
        np.testing.assert_array_equal(data[index].mask, (LEFT, RIGHT)[index % 2])
    assert not list(tmp_path.glob("*.bad.jsonl"))


def run(*arguments: str) -> None:
    convert_data.convert(convert_data.parse_args(arguments, "convert-data"))


def converted(layout: str, root: Path, *options: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The records, and the reasons of what was left out."""
    out = root / "out.jsonl"
    run(layout, str(root), "--out", str(out), *options)
    report = root / "out.jsonl.bad.jsonl"
    reasons = [json.loads(line)["reason"] for line in report.read_text().splitlines()] if report.exists() else []
    return [json.loads(line) for line in out.read_text().splitlines()], reasons


def test_yolo_as_roboflow_has_it_and_what_is_no_mask(tmp_path: Path) -> None:
    """Red when boxes become masks, pixels are taken for fractions, or the validation split is trained on."""
    for split in ("train", "valid"):
        yolo(tmp_path, f"{split}/images", f"{split}/labels")
    with (tmp_path / "train/labels/a.txt").open("a") as file:
        file.write("\n0 0.5 0.5 0.2 0.2\n\n0 0.1 0.1 0.2\n0 3 2 15 2 15 12\n0 a 2 3 4 5 6\n5 .1 .1 .9 .1 .9 .9\n")
    (tmp_path / "train/labels/gone.txt").write_text("0 .1 .1 .9 .1 .9 .9")
    records, reasons = converted("yolo", tmp_path)
    assert [record["category"] for record in records] == ["red square", "blue square", "5"]
    assert [record["image"] for record in records] == ["train/images/a.jpg"] * 3
    assert [reason[:30] for reason in reasons] == [
        "a box (class, x, y, width, hei", "polygon of 3 numbers, expected", "polygon with the coordinate 15",
        "polygon with a coordinate that", "missing: no such file",
    ]  # fmt: skip
    (tmp_path / "out.jsonl").unlink()
    records, _ = converted("yolo", tmp_path, "--split", "valid")
    assert {record["image"] for record in records} == {"valid/images/a.jpg"}
    (tmp_path / "data.yaml").write_text("names: [a")
    with pytest.raises(DataError, match=r"data.yaml: not YAML \(.*Correct it"):
        run("yolo", str(tmp_path), "--split", "test")
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(DataError, match=r"no labels/\*\*/\*.txt in a folder 'test'. Give another --split"):
        run("yolo", str(tmp_path), "--split", "test")


def test_the_coordinate_that_lies_outside_is_told(tmp_path: Path) -> None:
    """Red when another one is named, because it is the largest."""
    yolo(tmp_path)
    (tmp_path / "labels/train/a.txt").write_text("0 -.2 .1 .9 .1 .9 .9\n0 .1 .1 1.2 .1 .9 .9\n0 nan .1 .9 .1 .9 .9\n")
    with pytest.raises(DataError, match="none of 3 objects"):
        run("yolo", str(tmp_path), "--out", str(tmp_path / "out.jsonl"))
    lines = (tmp_path / "out.jsonl.bad.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"].split(";")[0] for line in lines] == [
        "polygon with the coordinate -0.2", "polygon with the coordinate 1.2",
        "polygon with a coordinate that is not a number (nan)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "pictures", "folder"),
    [
        ("id-masks", "images", "masks"),
        ("davis", "JPEGImages/clip", "Annotations/clip"),
        ("voc", "JPEGImages", "SegmentationObject"),
    ],
)
def test_labels_of_another_size_than_their_picture_are_told(
    tmp_path: Path, layout: str, pictures: str, folder: str
) -> None:
    """Red when they become masks that no training can use, or those of a picture that is shown turned are lost."""
    for name in ("a", "b", "c"):
        write_photo(tmp_path / pictures / f"{name}.jpg")
    write_labels(tmp_path / folder / "a.png", labels(1, 0))
    write_labels(tmp_path / folder / "b.png", labels(1, 0)[::2, ::2])
    write_labels(tmp_path / folder / "c.png", np.rot90(labels(1, 0)))
    with Image.open(tmp_path / pictures / "c.jpg") as photo:
        exif = photo.getexif()
        exif[ExifTags.Base.Orientation] = 8
        photo.save(tmp_path / pictures / "c.jpg", exif=exif)
    records, reasons = converted(layout, tmp_path)
    assert reasons == [f"mask of size ({HEIGHT // 2}, {WIDTH // 2}) on a picture of size {SIZE}"]
    assert [record["image"][-5:] for record in records] == ["a.jpg", "c.jpg"]
    for sample, mask in zip(OwnData(tmp_path / "out.jsonl"), (LEFT, np.rot90(LEFT)), strict=True):
        np.testing.assert_array_equal(sample.mask, mask)


def test_a_mask_of_black_and_white_is_one_object(tmp_path: Path) -> None:
    """Red when white is taken for a border, the border for an object, a number above 255 is lost, or a JPEG's blur is
    read as numbers or left out without a word."""
    id_masks(tmp_path)
    write_photo(tmp_path / "masks/b_blurred.jpg")
    write_photo(tmp_path / "images/b.jpg")
    write_photo(tmp_path / "images/c.jpg")
    write_photo(tmp_path / "images/d.jpg")
    write_labels(tmp_path / "masks/b.png", labels(255, 255))
    write_labels(tmp_path / "masks/c.png", labels(3, 255))
    Image.fromarray(255 * LEFT.astype(np.uint16) + 300 * RIGHT.astype(np.uint16)).save(tmp_path / "masks/d.png")
    write_labels(tmp_path / "masks/e.png", labels())
    write_photo(tmp_path / "images/f.jpg")
    write_labels(tmp_path / "masks/f.png", labels(0, 0))
    records, reasons = converted("id-masks", tmp_path)
    assert [record["id"] for record in records] == [
        f"masks/{name}.png object {number}"
        for name, number in (("a", 1), ("a", 2), ("b", 255), ("c", 3), ("d", 255), ("d", 300))
    ]
    masks = [sample.mask for sample in OwnData(tmp_path / "out.jsonl")]
    for mask, truth in zip(masks, (LEFT, RIGHT, LEFT | RIGHT, LEFT, LEFT, RIGHT), strict=True):
        np.testing.assert_array_equal(mask, truth)
    blurred, *others = reasons
    assert blurred == "a JPEG blurs the numbers at the objects' edges. Save it as PNG"
    assert others == ["missing: no such file", "empty mask: no object in it"]


def test_an_object_of_a_clip_has_its_later_frame(tmp_path: Path) -> None:
    """Red when objects change their places between frames, or one that is hidden or last is dropped."""
    frames = [(1, 2), (1, 0), (2, 1), (0, 2)]  # numbers of the objects left and right
    for place, (left, right) in enumerate(frames):
        write_photo(tmp_path / f"JPEGImages/clip/{place:05d}.jpg")
        write_labels(tmp_path / f"Annotations/clip/{place:05d}.png", labels(left, right), palette=True)
    records, reasons = converted("davis", tmp_path, "--frame-gap", "2")
    assert not reasons
    assert [(record["id"][-16:], record.get("image2", "")[-9:]) for record in records] == [
        ("00000.jpg object 1"[-16:], "00002.jpg"), ("00000.jpg object 2"[-16:], "00002.jpg"),
        ("00001.jpg object 1"[-16:], ""), ("00002.jpg object 1"[-16:], ""), ("00002.jpg object 2"[-16:], ""),
        ("00003.jpg object 2"[-16:], ""),
    ]  # fmt: skip
    first = OwnData(tmp_path / "out.jsonl")[0]
    np.testing.assert_array_equal(first.mask, LEFT)
    np.testing.assert_array_equal(first.mask2, RIGHT)
    (tmp_path / "Annotations/clip/00001.png").write_bytes(b"junk")
    (tmp_path / "out.jsonl").unlink()
    records, (reason,) = converted("davis", tmp_path)
    assert len(records) == 5
    assert "unreadable picture" in reason


def test_lists_tell_what_they_leave_out(tmp_path: Path) -> None:
    """Red when one bad mask or text costs its neighbours, or is dropped in silence."""
    sa2va(tmp_path)
    (record,) = json.loads((tmp_path / "annotations.json").read_text())
    bad = [
        {**record, "text": ["one", " "]},
        {**record, "mask": [record["mask"][0], [[1, 2]]]},
        {**record, "mask": [[*record["mask"][0], [1, 2]]], "text": ["one"]},
        {**record, "text": ["one"]},
        {**record, "image": "gone.jpg"},
        7,
    ]
    (tmp_path / "annotations.json").write_text(json.dumps([record, *bad]))
    with pytest.raises(DataError, match=r"annotations.json: looks like Sa2VA's fine-tuning data: run .*data sa2va"):
        find_sets(tmp_path / "annotations.json")
    records, reasons = converted("sa2va", tmp_path)
    assert [record["text"] for record in records] == ["one", "two", "one", "one", "one"]
    assert [reason[:24] for reason in reasons] == [
        "empty text", "polygon of 2 numbers, ex", "piece left out: polygon ", "mask 2 and text 1: expec",
        "missing: no such file", "a int, expected a JSON o",
    ]  # fmt: skip


def test_a_json_that_is_named_is_converted_whatever_it_begins_with(tmp_path: Path) -> None:
    """Red when a fault in its first record has it said that there is no such json."""
    sa2va(tmp_path)
    (record,) = json.loads((tmp_path / "annotations.json").read_text())
    (tmp_path / "annotations.json").write_text(json.dumps([{**record, "text": "one"}, record]))
    run("sa2va", str(tmp_path / "annotations.json"), "--out", str(tmp_path / "out.jsonl"))
    assert [sample.text for sample in OwnData(tmp_path / "out.jsonl")] == ["one", "two"]
    (bad,) = (tmp_path / "out.jsonl.bad.jsonl").read_text().splitlines()
    assert json.loads(bad)["reason"] == "mask 2 and text str: expected a list of each, as long"


def test_jsons_without_their_pictures_are_told(tmp_path: Path) -> None:
    """Red when a list of masks is taken for another picture's, or another json of the folder ends the conversion."""
    sam(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.json").rename(tmp_path / "sub/a.json")
    (tmp_path / "images").mkdir()
    (tmp_path / "a.jpg").rename(tmp_path / "images/a.jpg")
    (tmp_path / "sub/b.json").write_text("[{}]")
    (tmp_path / "sub/c.json").write_text("{")
    content = json.loads((tmp_path / "sub/a.json").read_text())
    (tmp_path / "sub/a.json").write_text(json.dumps([*content, {"segmentation": [1]}, 3]))
    records, reasons = converted("sam", tmp_path)
    assert [record["image"] for record in records] == ["images/a.jpg"] * 2
    assert reasons[0].startswith("polygon of 1 numbers")
    assert reasons[1].startswith("a int, expected")
    assert reasons[2] == "missing: no such file"


def test_boxes_of_labelme_are_counted(tmp_path: Path, capsys: Any) -> None:
    """Red when boxes around objects pass for masks without a word."""
    write_photo(tmp_path / "a.jpg")
    shapes = [
        {"label": "a", "shape_type": kind, "points": points}
        for kind, points in (
            ("rectangle", [[3, 2], [15, 12]]),
            ("rectangle", [[3, 2], [9, 9]]),
            ("polygon", corners(*BOXES[0])),
        )
    ]
    (tmp_path / "a.json").write_text(json.dumps({"imagePath": "a.jpg", "shapes": shapes}))
    run("labelme", str(tmp_path))
    assert "note: 2 x rectangle filled as a mask" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["coco", "--split", "a"], "--split is for yolo"),
        (["yolo", "--frame-gap", "2"], "--frame-gap is for davis"),
        (["yolo", "--include-crowd"], "--include-crowd is for coco"),
        (["davis"], r"no Annotations/\*\*/\*.png"),
        (["id-masks"], "no PNG in a folder masks/"),
        (["yolo"], "no text file in a folder labels/"),
        (["sam"], r"no \*.json in it"),
        (["sa2va"], "expected one json of Sa2VA's fine-tuning data, found none"),
    ],
)
def test_options_and_folders_that_do_not_fit(arguments: list[str], told: str, tmp_path: Path) -> None:
    """Red when an option is ignored, or an empty folder becomes an empty set."""
    (tmp_path / "readme").touch()
    layout, *options = arguments
    with pytest.raises((DataError, ConfigError), match=told):
        run(layout, str(tmp_path), *options)


def test_the_training_split_of_phrasecut_is_the_one_to_convert(tmp_path: Path) -> None:
    """Red when the command that is named makes training data of a test split, or several splits are mixed."""
    phrasecut(tmp_path)
    for split in ("miniv", "test"):
        (tmp_path / f"refer_{split}.json").write_bytes((tmp_path / "refer_train.json").read_bytes())
    with pytest.raises(DataError, match=r"run pseudo-gumbel convert-data phrasecut \S+/refer_train.json \(known"):
        find_sets(tmp_path)
    with pytest.raises(
        DataError, match=r"expected one json of PhraseCut, found refer_miniv.json, .*Give the path of one"
    ):
        run("phrasecut", str(tmp_path))
