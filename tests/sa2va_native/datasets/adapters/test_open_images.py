"""Open Images: the csv, masks of another size than their photo, names of classes, and faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sa2va_native.datasets.adapters.open_images import OpenImages, fit_mask
from sa2va_native.errors import BadSample, DataError
from tests.sa2va_native.datasets.native import (
    OPEN_IMAGES_HEADER,
    box,
    open_images_line,
    picture,
    write_open_images,
    write_png,
)


def ids(data: OpenImages) -> list[str]:
    return [data[i].sample_id.split("#")[1] for i in range(len(data))]


def test_masks_are_brought_to_the_size_of_their_photo(tmp_path: Path):
    """Red when a mask of half the size is laid into a corner, or one of the photo's size is touched."""
    data = OpenImages(write_open_images(tmp_path))
    assert ids(data) == ["m1.png", "m2.png", "m3.png"]
    np.testing.assert_array_equal(data[0].mask, box(2, 3))
    np.testing.assert_array_equal(data[1].mask, box(2, 4, 10, 12))
    np.testing.assert_allclose(data[2].image.astype(int), picture(2), atol=4)
    assert data[0].text is None


@pytest.mark.parametrize("shape", [(683, 1024), (100, 150), (67, 100), (2000, 3000)])
def test_rounded_sizes_fit_and_keep_the_share_of_the_object(shape: tuple[int, int]):
    """Red when the rounding of a resized photo (683 of 682.7) counts as another picture, or the object moves."""
    height, width = shape
    mask = np.zeros(shape, bool)
    mask[height // 4 : height // 2, width // 3 : width // 2] = True
    fitted = fit_mask(mask, 400, 600)
    assert fitted.mean() == pytest.approx(mask.mean(), rel=0.05)
    for axis, sides in enumerate(((400, height), (600, width))):
        middles = [(np.nonzero(one)[axis].mean() + 0.5) / side for one, side in zip((fitted, mask), sides, strict=True)]
        assert middles[0] == pytest.approx(middles[1], abs=0.003)


@pytest.mark.parametrize(
    ("class_file", "content"),
    [
        ("oidv7-class-descriptions.csv", 'LabelName,DisplayName\n/m/01g317,Person\n/m/0bt9lr,"Dog, ""small"""\n'),
        ("class-descriptions-boxable.csv", '/m/01g317,Person\n/m/0bt9lr,"Dog, ""small"""\n'),
    ],
)
def test_names_of_classes_are_the_text(tmp_path: Path, class_file: str, content: str):
    """Red when a quoted comma cuts a name, or an object without name goes to a source that needs text."""
    write_open_images(tmp_path)
    with pytest.raises(DataError, match=r"class_names needs oidv7-class-descriptions\.csv or class-desc"):
        OpenImages(tmp_path, class_names=True)
    (tmp_path / class_file).write_text(content)
    data = OpenImages(tmp_path, class_names=True)
    assert [data[i].text for i in range(len(data))] == ["Person", 'Dog, "small"']
    assert data.index.dropped == {"of a class without a name": 1}


@pytest.mark.parametrize(("name", "reason"), [("  ", "empty text"), ("x" * 4001, "text of 4001 characters")])
def test_a_name_that_is_no_text_is_a_bad_sample(tmp_path: Path, name: str, reason: str):
    write_open_images(tmp_path)
    (tmp_path / "class-descriptions-boxable.csv").write_text(f"/m/01g317,{name}\n/m/0bt9lr,Dog\n")
    with pytest.raises(BadSample, match=reason):
        OpenImages(tmp_path, class_names=True)[0]


@pytest.mark.parametrize(
    ("limit", "kept", "reason"),
    [
        ({"min_predicted_iou": 0.8}, ["m1.png", "m3.png"], "below min_predicted_iou=0.8"),
        ({"min_area_share": 0.02}, ["m1.png", "m2.png"], "below min_area_share=0.02"),
    ],
)
def test_each_filter_counts_what_it_drops(tmp_path: Path, limit: dict[str, float], kept: list[str], reason: str):
    """Red when a filter drops without a count, or takes the wrong column."""
    data = OpenImages(write_open_images(tmp_path), **limit)
    assert ids(data) == kept
    assert data.index.dropped == {reason: 1}


LINE = open_images_line("m1.png", "p1")
FAULTS = {
    "too few fields": ("m2.png,p1", "line 2: 2 fields, and 10 columns"),
    "open quote": (open_images_line('"m2.png', "p1"), r"line 2: no csv \("),
    "text behind a quote": (open_images_line('"m2"x.png', "p1"), r"line 2: no csv \("),
    "no UTF-8": (open_images_line("m2\udcff.png", "p1"), r"line 2: no csv \(.*utf-8"),
    "mask missing": (open_images_line("m9.png", "p1"), r"m9.png: mask m9.png: missing"),
    "photo missing": (open_images_line("m2.png", "p9"), r"p9.jpg: mask m2.png: missing"),
    "mask out of its folder": (open_images_line("../../p.png", "p1"), r"leads out of"),
    "photo out of its folder": (open_images_line("m2.png", "../../p"), r"leads out of"),
    "mask of another shape": (open_images_line("tall.png", "p1"), r"size \(32, 24\) on a picture of size \(24, 32\)"),
    "mask empty": (open_images_line("empty.png", "p1"), "empty mask"),
    "mask cut off": (open_images_line("cut.png", "p1"), "unreadable picture"),
    "no number": (LINE.replace("0.9,", "high,").replace("m1", "m2"), "'predicted_iou' is 'high'"),
}


@pytest.mark.parametrize(("line", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_line_is_one_bad_sample(tmp_path: Path, line: str, reason: str):
    """Red when a fault takes the lines behind it along (an open quote), leaves the folder, or vanishes."""
    write_open_images(tmp_path, lines=[])
    write_png(tmp_path / "p.png", box(2, 3))
    (tmp_path / "p.jpg").write_bytes((tmp_path / "images/train/p1.jpg").read_bytes())
    masks = tmp_path / "masks/train"
    write_png(masks / "tall.png", box(2, 3, size=(32, 24)))
    write_png(masks / "empty.png", box(0, 0, height=0))
    (masks / "cut.png").write_bytes((masks / "m1.png").read_bytes()[:48])
    path = tmp_path / "train-annotations-object-segmentation.csv"
    path.write_bytes(f"{OPEN_IMAGES_HEADER}\r\n{line}\r\n\r\n{LINE}\r\n".encode("utf-8", "surrogateescape"))
    data = OpenImages(tmp_path, min_predicted_iou=0.1)
    with pytest.raises(BadSample, match=reason):
        data[0]
    assert data[1].sample_id.endswith("#m1.png")
    assert len(data) == 2


def test_quoted_fields_are_read(tmp_path: Path):
    quoted = ",".join(f'"{field}"' for field in LINE.split(","))
    header = "\ufeff" + ",".join(f'"{name}"' for name in OPEN_IMAGES_HEADER.split(","))
    assert ids(OpenImages(write_open_images(tmp_path, [quoted], header))) == ["m1.png"]


def test_a_mask_that_is_listed_twice_is_one_item(tmp_path: Path):
    """Red when a repeated line doubles an object's weight unseen."""
    data = OpenImages(write_open_images(tmp_path, [LINE, open_images_line("m3.png", "p2"), LINE]))
    assert ids(data) == ["m1.png", "m3.png"]
    assert data.index.dropped == {"with a MaskPath that an earlier line has": 1}


def test_a_missing_column_is_named_if_it_is_needed(tmp_path: Path):
    """Red when a column that nobody asked for is demanded, or a KeyError names nothing."""
    header = OPEN_IMAGES_HEADER.replace("PredictedIoU", "PredictedIou")
    write_open_images(tmp_path, header=header)
    assert len(OpenImages(tmp_path)) == 3
    with pytest.raises(DataError, match=r"segmentation.csv: no column 'PredictedIoU'. Did you mean 'PredictedIou'"):
        OpenImages(tmp_path, min_predicted_iou=0.5)
    write_open_images(tmp_path, header=OPEN_IMAGES_HEADER.replace("MaskPath", "Mask"))
    with pytest.raises(DataError, match=r"no column 'MaskPath'. Did you mean 'Mask'"):
        OpenImages(tmp_path)


def test_a_root_of_another_layout_is_refused_with_the_expected_one(tmp_path: Path):
    write_open_images(tmp_path)
    with pytest.raises(DataError, match=r"validation-annotations-object-segmentation.csv: no such file. Expected"):
        OpenImages(tmp_path, split="validation")
    (tmp_path / "masks").rename(tmp_path / "mask")
    with pytest.raises(DataError, match=r"masks.train: no such folder. Expected"):
        OpenImages(tmp_path)
    path = write_open_images(tmp_path, lines=[]) / "train-annotations-object-segmentation.csv"
    with pytest.raises(DataError, match="no record is left"):
        OpenImages(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="no header"):
        OpenImages(tmp_path)
