"""Conversion keeps every mask, and goes on where it stopped."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sa2va_native.datasets.adapters.coco import CocoInstances
from sa2va_native.datasets.adapters.own_data import OwnData
from sa2va_native.datasets.converters import convert
from sa2va_native.datasets.converters.coco import CocoConverter
from sa2va_native.datasets.converters.convert import Converted, write_own_data
from sa2va_native.datasets.converters.labelme import LabelmeConverter
from sa2va_native.datasets.converters.voc import VocConverter
from sa2va_native.datasets.reading.mask_codec import decode_mask
from sa2va_native.errors import BadSample, DataError

HEIGHT, WIDTH = 30, 40


def box(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_coco_keeps_pictures_masks_frames_and_text(scene_root: Path, tmp_path: Path):
    """Red when a mask, the second frame or a caption is lost on the way."""
    for split, text_key in (("labelled", "caption"), ("mask_only", None)):
        folder = scene_root / split
        out = tmp_path / f"{split}.jsonl"
        total = write_own_data(CocoConverter(folder / "instances.json"), out)
        before = CocoInstances(folder / "instances.json", folder / "images", text_key=text_key)
        after = OwnData(out, image_root=folder)
        assert total[:2] == (len(before), 0)
        assert len(before) == len(after)
        for index in range(len(before)):
            for name in ("image", "mask", "image2", "mask2"):
                np.testing.assert_array_equal(getattr(before[index], name), getattr(after[index], name))
            assert before[index].text == after[index].text


def test_one_set_of_coco_is_chosen_by_its_json(tmp_path: Path):
    """Red when paths are not relative to the root that the tool names."""
    (tmp_path / "annotations").mkdir()
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / name / "1.png")
        images = [{"id": 1, "file_name": "1.png"}]
        masks = [{"id": 1, "image_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]]}]
        (tmp_path / f"annotations/instances_{name}.json").write_text(
            json.dumps({"images": images, "annotations": masks})
        )
    with pytest.raises(DataError, match=r"expected one COCO set, found .*instances_train.json, .*Give the json of one"):
        CocoConverter(tmp_path)
    converter = CocoConverter(tmp_path / "annotations/instances_val.json")
    write_own_data(converter, tmp_path / "val.jsonl")
    assert converter.root == tmp_path.resolve()
    assert json.loads((tmp_path / "val.jsonl").read_text())["image"] == "val/1.png"
    np.testing.assert_array_equal(OwnData(tmp_path / "val.jsonl")[0].mask, box(1, 1, 9, 9))


def labelme(root: Path, shapes: list[Any] | None, **content: Any) -> Path:
    (root / "sub").mkdir(exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "a.png")
    sound = {"imagePath": "..\\a.png", "imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": shapes}
    (root / "sub/a.json").write_text(json.dumps({**sound, **content}))
    return root


def shape(kind: str, *points: tuple[float, float], **more: Any) -> dict[str, Any]:
    return {"label": "mug", "points": points, "shape_type": kind, "group_id": None, **more}


def test_pictures_behind_a_link_are_found_again(scene_root: Path, tmp_path: Path):
    """Red when records lead out of the folder that own data reads them from, which refuses each of them."""
    folder = scene_root / "mask_only"
    (tmp_path / "set").mkdir()
    (tmp_path / "set/images").symlink_to(folder / "images")
    (tmp_path / "set/instances.json").write_bytes((folder / "instances.json").read_bytes())
    for root in (tmp_path / "set", tmp_path / "set/instances.json"):
        converter, out = CocoConverter(root), tmp_path / f"{root.name}.jsonl"
        total = write_own_data(converter, out)
        data = OwnData(out, image_root=converter.root)
        assert [data[index].mask.any() for index in range(len(data))] == [True] * total.records


def test_every_shape_of_labelme_with_an_area(tmp_path: Path):
    """Red when a mask is shifted, rows and columns are swapped, or parts of one object become two."""
    png, part = io.BytesIO(), np.array([[1, 0, 1], [0, 1, 1]], bool)
    Image.fromarray(part).save(png, format="PNG")
    triangle = ((3.2, 2.5), (30, 8), (12, 25.7))
    shapes = [
        shape("polygon", *triangle),
        shape("rectangle", (20, 12), (5, 3)),
        shape("circle", (20, 15), (20, 9)),
        shape("mask", (7, 4), (9, 5), mask=base64.b64encode(png.getvalue()).decode()),
        shape("rectangle", (0, 0), (2, 2), group_id=1),
        shape("rectangle", (10, 10), (12, 12), group_id=1),
    ]
    write_own_data(LabelmeConverter(labelme(tmp_path, shapes)), tmp_path / "data.jsonl")
    masks = [sample.mask for sample in OwnData(tmp_path / "data.jsonl")]
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    pasted = box(0, 0, 0, 0)
    pasted[4:6, 7:10] = part
    expected = [
        decode_mask([np.ravel(triangle).tolist()], HEIGHT, WIDTH),
        box(5, 3, 20, 12),
        np.hypot(x - 20, y - 15) <= 6,
        pasted,
        box(0, 0, 2, 2) | box(10, 10, 12, 12),
    ]
    for mask, truth in zip(masks, expected, strict=True):
        np.testing.assert_array_equal(mask, truth)


def test_shapes_that_cannot_be_used_are_told(tmp_path: Path):
    """Red when a line, a broken mask or a lost picture is left out in silence."""
    good = shape("rectangle", (5, 3), (20, 12))
    bad = [
        (shape("line", (1, 1), (5, 5)), "a line of 2 points has no area"),
        (shape("polygon", (1, 1), (5, 5)), "polygon of 4 numbers"),
        (shape("mask", (1, 1), (5, 5), mask="???"), "mask cannot be read"),
        (shape("mask", (1, 1), (5, 5)), "mask cannot be read"),
        (shape("circle", (-50, -50), (-49, -50)), "empty mask"),
        ({**good, "points": [[1, "x"]]}, "points that are not numbers"),
        ({**good, "points": None}, "points are not a list"),
        ("junk", "a str, expected a shape"),
    ]
    converter = LabelmeConverter(labelme(tmp_path, [good, *(one for one, _ in bad)]))
    total = write_own_data(converter, tmp_path / "data.jsonl")
    assert total[:2] == (1, len(bad))
    lines = [json.loads(line) for line in total.report.read_text().splitlines()]
    for place, (line, (_, reason)) in enumerate(zip(lines, bad, strict=True), 1):
        assert line["record"] == f"shapes[{place}]"
        assert reason in line["reason"]
    for fault, reason in (
        ({"imagePath": "../../a.png"}, "missing"),
        ({"imagePath": "/etc/passwd"}, "leads out of"),
        ({"imageHeight": 0}, "imageHeight is 0"),
    ):
        (found,) = LabelmeConverter(labelme(tmp_path, [good], **fault)).convert("sub/a.json").bad
        assert reason in found.reason
    (tmp_path / "sub/a.json").write_text("{")
    assert "not JSON" in converter.convert("sub/a.json").bad[0].reason


def test_voc_objects_by_their_numbers(tmp_path: Path):
    """Red when the void border becomes an object, or palette colours are taken for numbers."""
    for name in ("JPEGImages", "SegmentationObject"):
        (tmp_path / name).mkdir()
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[box(2, 2, 20, 20)] = 1
    labels[box(15, 15, 35, 28)] = 7
    labels[box(0, 14, 40, 15)] = 255
    image = Image.fromarray(labels, "P")
    image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
    for name in ("a", "b"):
        image.save(tmp_path / f"SegmentationObject/{name}.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "JPEGImages/a.jpg")
    total = write_own_data(VocConverter(tmp_path), tmp_path / "data.jsonl")
    assert total[:2] == (2, 1), "b has no picture"
    for sample, number in zip(OwnData(tmp_path / "data.jsonl"), (1, 7), strict=True):
        np.testing.assert_array_equal(sample.mask, labels == number)


def test_voc_objects_by_their_colours(tmp_path: Path):
    """Red when coloured labels, as annotation tools write them, are refused, their border becomes an object, or only
    the folder of one year and pictures called .jpg are found."""
    for name in ("JPEGImages", "SegmentationObject"):
        (tmp_path / "VOC2012" / name).mkdir(parents=True)
    labels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    labels[box(2, 2, 20, 20)], labels[box(15, 15, 35, 28)] = (128, 0, 0), (0, 128, 0)
    masks = [(labels == colour).all(axis=2) for colour in ((0, 128, 0), (128, 0, 0))]
    labels[box(0, 29, 40, 30)] = (224, 224, 192)
    Image.fromarray(labels).save(tmp_path / "VOC2012/SegmentationObject/a.png")
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "VOC2012/SegmentationObject/b.png")
    for name in ("a.png", "b.JPG"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "VOC2012/JPEGImages" / name)
    total = write_own_data(VocConverter(tmp_path), tmp_path / "data.jsonl")
    assert total[:2] == (2, 1)
    assert "colours; save them as PNG" in total.report.read_text()
    data = OwnData(tmp_path / "data.jsonl")
    assert data[0].sample_id.endswith("id VOC2012/a object 1")
    for sample, mask in zip(data, masks, strict=True):
        np.testing.assert_array_equal(sample.mask, mask)


@pytest.mark.parametrize("orientation", [1, 6])
def test_labelme_without_a_size_has_that_of_its_picture(tmp_path: Path, orientation: int):
    """Red when such a file is left out, or its masks are made for the picture as it is stored, not as it is shown."""
    corners = ((5, 3), (20, 3), (20, 12), (5, 12))
    labelme(tmp_path, [shape("rotation", *corners)], imageHeight=None, imageWidth=None)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.png", exif=exif)
    write_own_data(LabelmeConverter(tmp_path), tmp_path / "data.jsonl")
    (sample,) = OwnData(tmp_path / "data.jsonl")
    truth = np.zeros((HEIGHT, WIDTH) if orientation == 1 else (WIDTH, HEIGHT), bool)
    truth[3:12, 5:20] = True
    np.testing.assert_array_equal(sample.mask, truth)
    (tmp_path / "a.png").write_bytes(b"junk")
    (bad,) = LabelmeConverter(tmp_path).convert("sub/a.json").bad
    assert "no imageHeight and imageWidth, and its picture is unreadable" in bad.reason


class Numbers:
    """Source ``n`` has n records; source 7 is bad; it stops at a given source, as a killed run does."""

    parallel = False

    def __init__(self, root: Path, stop: int = 99, length: int = 30) -> None:
        self.root, self.stop, self.length, self.seen = root, stop, length, 0

    def sources(self) -> list[str]:
        return [str(number) for number in range(self.length)]

    def convert(self, source: str) -> Converted:
        number = int(source)
        if number == self.stop:
            raise KeyboardInterrupt
        self.seen += 1
        bad = [BadSample("numbers", source, "seven")] if number == 7 else []
        return Converted([{"source": number, "record": record} for record in range(number)], bad)


def test_a_stopped_conversion_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when a stop loses records, writes them twice, or makes the whole begin again."""
    monkeypatch.setattr(convert, "_STRIDE", 4)
    write_own_data(Numbers(tmp_path), tmp_path / "whole.jsonl")
    for stop in (3, 10, 29):
        with pytest.raises(KeyboardInterrupt):
            write_own_data(Numbers(tmp_path, stop), tmp_path / "data.jsonl")
        assert not (tmp_path / "data.jsonl").exists()
    with pytest.raises(DataError, match="the sources have changed"):
        write_own_data(Numbers(tmp_path, length=31), tmp_path / "data.jsonl")
    last = Numbers(tmp_path)
    total = write_own_data(last, tmp_path / "data.jsonl")
    assert last.seen == 2, "28 and 29; the rest was noted as done"
    assert total[:2] == (sum(range(30)), 1)
    for name in ("{}.jsonl", "{}.jsonl.bad.jsonl"):
        whole, parts = ((tmp_path / name.format(stem)).read_bytes() for stem in ("whole", "data"))
        assert parts == whole
    assert not list(tmp_path.glob("*.p*")), "nothing is left behind"
    with pytest.raises(DataError, match=r"data.jsonl already exists"):
        write_own_data(Numbers(tmp_path), tmp_path / "data.jsonl")


def test_nothing_to_convert_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match=r"nothing to convert: no SegmentationObject/\*.png in it or in a subfolder"):
        write_own_data(VocConverter(tmp_path), tmp_path / "data.jsonl")
    with pytest.raises(DataError, match=r"nothing to convert: no \*.json in it or below"):
        write_own_data(LabelmeConverter(tmp_path), tmp_path / "data.jsonl")
    with pytest.raises(DataError, match="nothing to convert"):
        write_own_data(Numbers(tmp_path, length=0), tmp_path / "data.jsonl")
    with pytest.raises(DataError, match="none of 0 objects can be used"):
        write_own_data(Numbers(tmp_path, length=1), tmp_path / "data.jsonl")


def encoded(size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    """A green PNG, as LabelMe keeps it inside its json."""
    file = io.BytesIO()
    Image.new("RGB", size, (0, 200, 0)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("kind", ["oriented_rectangle", "rotation", "quadrilateral", "polygon"])
def test_outlines_of_labelme_are_filled_as_polygons(tmp_path: Path, kind: str):
    """Red when a rotated box is told to have no area."""
    corners = ((10, 10), (30, 14), (28, 25), (8, 21))
    write_own_data(LabelmeConverter(labelme(tmp_path, [shape(kind, *corners)])), tmp_path / "data.jsonl")
    truth = decode_mask([np.ravel(corners).tolist()], HEIGHT, WIDTH)
    np.testing.assert_array_equal(OwnData(tmp_path / "data.jsonl")[0].mask, truth)


def test_kinds_of_labelme_are_told_apart(tmp_path: Path):
    """Red when an unknown kind is said to have no area, or a lost list of shapes to be no object."""
    good = shape("rectangle", (5, 3), (20, 12))
    odd = [shape("spline", (1, 1), (5, 5), (9, 1)), shape("circle", (5, 5)), shape("points", (5, 5))]
    found = LabelmeConverter(labelme(tmp_path, [good, *odd])).convert("sub/a.json")
    assert [bad.reason.split(";")[0] for bad in found.bad] == [
        "shape_type 'spline' is unknown", "a circle of 1 points, expected 2", "a points of 1 points has no area"
    ]  # fmt: skip
    (bad,) = LabelmeConverter(labelme(tmp_path, None)).convert("sub/a.json").bad
    assert bad.reason == "no list 'shapes'"
    (bad,) = (
        LabelmeConverter(labelme(tmp_path, [good], imageHeight=60_000, imageWidth=60_000)).convert("sub/a.json").bad
    )
    assert "px is above" in bad.reason
    assert LabelmeConverter(labelme(tmp_path, [good], imageHeight=str(HEIGHT))).convert("sub/a.json").records


def test_the_description_of_a_shape_becomes_its_text(tmp_path: Path):
    """Red when what people wrote about their objects is lost, or a second text of one object is dropped in silence."""
    box_of = (5, 3), (20, 12)
    shapes = [
        shape("rectangle", *box_of, description="the red mug"),
        shape("rectangle", *box_of, description=""),
        shape("rectangle", *box_of, group_id=1, description="a pair of mugs"),
        shape("rectangle", *box_of, group_id=1, description="its other half"),
        shape("rectangle", *box_of, description=5),
    ]
    found = LabelmeConverter(labelme(tmp_path, shapes)).convert("sub/a.json")
    assert [record.get("text") for record in found.records] == ["the red mug", None, "a pair of mugs", None]
    assert [(bad.record, bad.reason) for bad in found.bad] == [
        ("shapes[3]", "description 'its other half' is not used: its object has another"),
        ("shapes[4]", "text is a int, expected a string"),
    ]


@pytest.mark.parametrize("name", ["C:\\me\\b.png", "/data/me/b.png", "pictures/b.png"])
def test_a_picture_that_was_moved_beside_its_json_is_found(tmp_path: Path, name: str):
    """Red when jsons of another machine are left out, or a picture of that name with another size is taken."""
    labelme(tmp_path, [shape("rectangle", (5, 3), (20, 12))], imagePath=name)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "sub/b.png")
    found = LabelmeConverter(tmp_path).convert("sub/a.json")
    assert [record["image"] for record in found.records] == ["sub/b.png"]
    Image.new("RGB", (WIDTH + 1, HEIGHT)).save(tmp_path / "sub/b.png")
    assert not LabelmeConverter(tmp_path).convert("sub/a.json").records


def test_a_picture_inside_its_json_is_written_beside_it(tmp_path: Path):
    """Red when a json that carries its picture is left out because the file is not there."""
    for name in ("lost.png", None):
        labelme(tmp_path, [shape("rectangle", (5, 3), (20, 12))], imagePath=name, imageData=encoded())
        out = tmp_path / f"{name}.jsonl"
        write_own_data(LabelmeConverter(tmp_path), out)
        (sample,) = OwnData(out)
        assert (sample.image == (0, 200, 0)).all()
        np.testing.assert_array_equal(sample.mask, box(5, 3, 20, 12))
    labelme(tmp_path, [], imagePath="lost.png", imageData="???")
    (bad,) = LabelmeConverter(tmp_path).convert("sub/a.json").bad
    assert "its imageData cannot be read" in bad.reason


def test_a_picture_elsewhere_is_not_guessed_but_told(tmp_path: Path):
    """Red when a picture of the same name in another folder is taken for the one that was annotated, or not told."""
    labelme(tmp_path, [shape("rectangle", (5, 3), (20, 12))], imagePath="c.png")
    (tmp_path / "sub/photos").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "sub/photos/c.png")
    (bad,) = LabelmeConverter(tmp_path).convert("sub/a.json").bad
    assert "a file of that name lies at" in bad.reason
    assert "sub/photos/c.png" in bad.reason


def test_a_list_of_captions_loses_none(tmp_path: Path):
    """Red when captions that stand in a list are dropped, or pieces of a mask are left out in silence."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images/1.png")
    square = [[1, 1, 9, 1, 9, 9, 1, 9], [3, 3]]
    given = {"id": 1, "image_id": 1, "segmentation": square, "caption": ["one", "two", " "], "captions": "three"}
    content = {"images": [{"id": 1, "file_name": "1.png"}], "annotations": [given]}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    total = write_own_data(CocoConverter(tmp_path), tmp_path / "data.jsonl")
    data = OwnData(tmp_path / "data.jsonl")
    assert [data[index].text for index in range(len(data))] == ["one", "two", "three"]
    reasons = [json.loads(line)["reason"] for line in total.report.read_text().splitlines()]
    assert [reason[:36] for reason in reasons] == ["piece left out: polygon of 2 numbers", "empty text"]
