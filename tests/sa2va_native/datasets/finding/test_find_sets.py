"""Which data sets lie at a path."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS
from PIL import Image

from pseudo_gumbel.cli.browse_data import draw
from sa2va_native.datasets.check import Region, check_set
from sa2va_native.datasets.finding.find_sets import coco_sets, find_mask_sets, find_sets
from sa2va_native.datasets.finding.found_set import FoundSet
from sa2va_native.errors import DataError
from tests.benchmark_layouts import write_benchmark
from tests.sa2va_native.datasets.adapters.test_own_data import SQUARE, make
from tests.sa2va_native.datasets.adapters.test_refer import make_refs, ref
from tests.sa2va_native.datasets.native import (
    coco_folders,
    sa1b_members,
    write_describe_anything,
    write_open_images,
    write_sa1b,
    write_sav,
    write_sav_pairs,
    write_tar,
)


@pytest.mark.parametrize("pictures", ["mine", "images/mine", "images"])
def test_pictures_of_coco_are_found_in_the_usual_places(tmp_path: Path, pictures: str) -> None:
    file = coco_folders(tmp_path, {"mine": pictures}) / "annotations" / "instances_mine.json"
    config = {"type": "CocoInstances", "ann_file": str(file), "image_root": str(tmp_path / pictures)}
    assert find_sets(tmp_path) == find_sets(file) == [("mine", config)]


def coco_json(file: Path, *names: str, **written: Any) -> Path:
    """A json of COCO with a square in each picture; pictures are not made."""
    images = [{"id": place, "file_name": name} for place, name in enumerate(names)]
    square = [[1, 1, 9, 1, 9, 9, 1, 9]]
    masks = [{"id": place, "image_id": place, "segmentation": square} for place in range(len(names))]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"info": {}, "images": images, "annotations": masks}, **written))
    return file


def pictures(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(file)


@pytest.mark.parametrize(
    ("file", "name", "below"),
    [
        ("result.json", "images/1.png", "."),
        ("result.json", "images\\1.png", "."),
        ("train/_annotations.coco.json", "1.png", "train"),
        ("annotations/train.json", "1.png", "train"),
        ("annotations/train.json", "1.png", "annotations"),
        ("annotations/instances_default.json", "s/1.png", "images/default"),
        ("annotations/instances_default.json", "default/1.png", "images"),
        ("annotations/instances_default.json", "images/1.png", "."),
        ("instances.json", "images/1.png", "."),
    ],
)
def test_coco_as_tools_export_it(tmp_path: Path, file: str, name: str, below: str) -> None:
    """Red when a COCO json that is not called instances is taken for own data, or pictures are sought in a folder that
    is there and holds others."""
    coco_json(tmp_path / file, name)
    pictures(tmp_path / below / name.replace("\\", "/"))
    (tmp_path / "images").mkdir(exist_ok=True)
    config = {"type": "CocoInstances", "ann_file": str(tmp_path / file), "image_root": str(tmp_path / below)}
    for path in (tmp_path, tmp_path / file):
        (found,) = find_sets(path)
        assert {key: str(Path(value)) for key, value in found.config.items()} == config


def test_splits_that_folders_name(tmp_path: Path) -> None:
    """Red when the validation and test splits of Roboflow are trained on, as their files have one name."""
    for split in ("train", "valid", "test"):
        coco_json(tmp_path / split / "_annotations.coco.json", "1.png")
        pictures(tmp_path / split / "1.png")
    assert [found.name for found in find_sets(tmp_path)] == ["test", "train", "valid"]
    assert [found.name for found in find_mask_sets(tmp_path)] == ["train"]


def test_a_json_is_known_by_its_beginning(tmp_path: Path) -> None:
    """Red when a large COCO json is taken for own data, or own data in a json for COCO."""
    pictures(tmp_path / "1.png")
    large = coco_json(tmp_path / "a.json", *["1.png"] * 20_000, indent=2)
    assert large.stat().st_size > 1 << 20
    record = {"image": "1.png", "mask": SQUARE}
    contents = [json.dumps(record), json.dumps([record], indent=1), json.dumps(record) + "\n" + json.dumps(record)]
    (tmp_path / "b.json").write_text(f"{json.dumps({**record, 'id': '-' * (1 << 20)})}\n" * 2)
    for place, content in enumerate(contents):
        (tmp_path / f"c{place}.json").write_text(content)
    types = [find_sets(file)[0].config["type"] for file in sorted(tmp_path.glob("*.json"))]
    assert types == ["CocoInstances", *["OwnData"] * 4]
    assert find_sets(tmp_path)[0].config["ann_file"] == str(large), "the one of them that is COCO"
    coco_json(tmp_path / "d.json", "1.png")
    with pytest.raises(DataError, match=r"2 COCO jsons \(a.json, d.json\). Give the path of one"):
        find_sets(tmp_path)


def test_files_that_are_no_set(tmp_path: Path) -> None:
    """Red when a run begins on a shard, a table or a picture that is read as lines of own data."""
    for name in ("0.tar", "a.csv", "a.jpg"):
        (tmp_path / name).touch()
        with pytest.raises(DataError, match=r"not a .json or .jsonl. Give the folder of the set"):
            find_sets(tmp_path / name)
        with pytest.raises(DataError, match=r"not a .json. Give the json of a COCO set"):
            coco_sets(tmp_path / name)
    (tmp_path / "a.json").write_text('{"data": []}')
    with pytest.raises(DataError, match=r"one object with 'data'. Expected own data .* or COCO with the lists"):
        find_sets(tmp_path / "a.json")


def test_validation_sets_are_checked_but_not_trained_on(tmp_path: Path) -> None:
    """Red when the validation set is trained on, or a lone one is not taken."""
    root = coco_folders(tmp_path / "both", {"train2017": "train2017", "val2017": "val2017"})
    assert [found.name for found in find_sets(root)] == ["train2017", "val2017"]
    assert [found.name for found in find_mask_sets(root)] == ["train2017"]
    assert len(find_mask_sets(coco_folders(tmp_path / "val", {"val": "val"}))) == 1


def test_own_data_by_file_or_folder(tmp_path: Path) -> None:
    """Red when what is found cannot be built."""
    file = make(tmp_path, {"image": "a.png", "mask": SQUARE})
    assert find_sets(file) == find_sets(tmp_path)
    assert DATASETS.build(find_mask_sets(tmp_path)[0].config)[0].mask.any()
    file.rename(tmp_path / "other.jsonl")
    assert len(DATASETS.build(find_sets(tmp_path / "other.jsonl")[0].config)) == 1


def test_refer_is_a_set_for_each_split(tmp_path: Path) -> None:
    """Red when sentences of a split are not looked at."""
    make_refs(tmp_path, [ref(1, "left one"), ref(2, "right one", "small one", split="val")])
    (tmp_path / "refs(google).p").write_bytes(pickle.dumps([ref(3, "hidden", split="test")]))
    found = find_sets(tmp_path)
    assert {one.name: len(DATASETS.build(one.config)) for one in found} == {
        "google test": 1,
        "unc train": 1,
        "unc val": 2,
    }
    with pytest.raises(DataError, match="kind 'refer' in the config"):
        find_mask_sets(tmp_path)


def test_grefcoco_is_not_taken_for_plain_coco(tmp_path: Path) -> None:
    """Red when its masks are trained on as COCO's, without a word of its expressions; it may stand beside refs(*).p."""
    make_refs(tmp_path, [ref(1, "left one")])
    grefs = [{**ref(1, "both", split=split), "ann_id": [1, 2]} for split in ("train", "val")]
    (tmp_path / "grefs(unc).json").write_text(json.dumps(grefs))
    assert [one.name for one in find_sets(tmp_path)] == ["unc train", "grefs(unc) train", "grefs(unc) val"]
    (tmp_path / "refs(unc).p").unlink()
    assert [len(DATASETS.build(one.config)) for one in find_sets(tmp_path)] == [1, 1]
    with pytest.raises(DataError, match="kind 'refer' in the config"):
        find_mask_sets(tmp_path)


def test_generated_scenes_are_found(scene_root: Path) -> None:
    (found,) = find_sets(scene_root / "mask_only")
    assert len(DATASETS.build(found.config)) == 24


def test_what_was_looked_for_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"nowhere: no such file or folder. Expected own data \(data.jsonl\), the layout"
    ):
        find_sets(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"the folder is empty. Expected own data"):
        find_sets(tmp_path)
    (tmp_path / "readme").touch()
    with pytest.raises(
        DataError, match=r"no data.jsonl, no annotations/instances_\*.json, no instances.json. Expected"
    ):
        find_sets(tmp_path)
    with pytest.raises(DataError, match=r"looked for the folders .*train, .*images"):
        find_sets(coco_folders(tmp_path, {"train": "elsewhere"}))
    coco_json(tmp_path / "annotations/instances_train.json", "sub/1.jpg")
    with pytest.raises(DataError, match=r"looked for 'sub/1.jpg' in the folders .*train, .*images"):
        find_sets(tmp_path)


@pytest.mark.parametrize(
    ("write", "adapter", "length"),
    [
        (write_sav_pairs, "SavPairs", 3),
        (write_sav, "SavVideos", 1),
        (lambda root: write_sa1b(root, "tar"), "Sa1b", 6),
        (lambda root: write_sa1b(root, "beside"), "Sa1b", 6),
        (lambda root: write_sa1b(root, "apart"), "Sa1b", 6),
        (lambda root: write_tar(root / "deep/mine_0.tar", sa1b_members(1)), "TarShards", 2),
        (write_open_images, "OpenImages", 3),
        (write_describe_anything, "DescribeAnything", 3),
    ],
)
def test_large_sets_are_known_by_their_files(tmp_path: Path, write: Callable, adapter: str, length: int) -> None:
    """Red when a set as it is published is not found, or taken for another, or what is found cannot be built."""
    write(tmp_path)
    (found,) = find_mask_sets(tmp_path)
    assert found.config["type"] == adapter
    assert len(DATASETS.build(found.config)) == length


def test_splits_of_describe_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when a split gets lost, one that is given alone is taken for SA-1B for its shards, or a COCO set for one."""
    write_describe_anything(write_describe_anything(tmp_path), split="LVIS")
    assert [found.name for found in find_sets(tmp_path)] == ["LVIS", "SAM"]
    monkeypatch.chdir(tmp_path / "SAM")
    (found,) = find_sets(".")
    assert found == find_sets(tmp_path / "SAM")[0] == find_sets(tmp_path)[1]
    coco_folders(tmp_path / "SAM", {"train": "train"})
    assert find_sets(tmp_path / "SAM")[0].config["type"] == "CocoInstances"


@pytest.mark.parametrize(
    ("name", "training"),
    [("festival_train", True), ("carnival2", True), ("contest", True), ("trainval", True), ("latest_train", True),
     ("val2017", False), ("cocoVal2014", False), ("lvis_v1_val", False), ("testA", False), ("unc testB", False),
     ("TEST", False), ("testset", False), ("minival", False), ("validation", False), ("test-dev2017", False),
     ("valid", False)],
)  # fmt: skip
def test_a_name_is_read_word_by_word(name: str, training: bool) -> None:
    """Red when a set is left out because its name contains val or test, or a validation set is trained on."""
    assert FoundSet(name, {}).training == training


def test_what_is_left_out_or_not_read_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Red when a set at the path is neither used nor mentioned."""
    root = coco_folders(tmp_path / "a", {"festival_train": "festival_train", "street_val": "street_val"})
    with logged(caplog):
        assert [found.name for found in find_mask_sets(root)] == ["festival_train"]
        assert "not trained on, for validation or test by its name: street_val" in caplog.text
        (root / "annotations/captions_train.json").write_text("{}")
        find_sets(root)
        assert "not read beside instances_*.json: captions_train.json. Give the path of one" in caplog.text


@contextmanager
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """MMEngine's logger passes nothing on to the root's handlers."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        yield
    finally:
        logger.removeHandler(caplog.handler)


def test_lvis_and_fiftyone_are_found(tmp_path: Path) -> None:
    """Red when LVIS, whose pictures have a URL and no name, or FiftyOne's labels.json and data/ is not a COCO set."""
    file = coco_json(tmp_path / "lvis/annotations/lvis_v1_train.json", "x")
    content = json.loads(file.read_text())
    content["images"] = [{"id": 0, "coco_url": "http://x.org/train2017/1.jpg"}]
    file.write_text(json.dumps(content))
    pictures(tmp_path / "lvis/train2017/1.jpg")
    coco_json(tmp_path / "fiftyone/labels.json", "1.jpg")
    pictures(tmp_path / "fiftyone/data/1.jpg")
    for root in (tmp_path / "lvis", tmp_path / "fiftyone"):
        (found,) = find_mask_sets(root)
        assert DATASETS.build(found.config)[0].mask.sum() == 64


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("a.json", '{"version": "5.0", "shapes": [], "imagePath": "a.jpg"}', "convert-data labelme"),
        ("samples.json", '{"samples": []}', "FiftyOne's own format: export it as fiftyone.types.COCO"),
        ("annotations.xml", "<annotations>", "CVAT's own format: export it as COCO"),
        ("data.yaml", "names: [a]", "YOLO's layout"),
        ("VOC2012/SegmentationObject/a.png", "", "convert-data voc"),
    ],
)
def test_layouts_that_are_not_read_are_named(tmp_path: Path, file: str, content: str, named: str) -> None:
    """Red when a folder of a known tool is told no more than that nothing was found."""
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(content)
    with pytest.raises(DataError) as told:
        find_sets(tmp_path)
    assert named in str(told.value)


@pytest.mark.parametrize("file", ["annotations/instances_a.json", "annotations/a.json", "a.json", "instances.json"])
def test_a_pipe_in_place_of_a_json_is_refused_at_once(tmp_path: Path, file: str) -> None:
    """Red when looking for sets waits for somebody to write to a pipe."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / file)
    with pytest.raises(DataError, match=r"not a regular file|no data.jsonl"):
        find_sets(tmp_path)


def test_pictures_elsewhere_are_told(tmp_path: Path) -> None:
    """Red when the user has to search for pictures that lie in a folder of another name."""
    coco_json(tmp_path / "annotations/instances_train.json", "1.png")
    pictures(tmp_path / "photos/deep/1.png")
    with pytest.raises(DataError, match=r"A file of that name lies at .*/photos/deep/1.png"):
        find_sets(tmp_path)


@pytest.mark.parametrize(
    ("annotation", "named"),
    [({"segments_info": []}, "panoptic layout"), ({"isfake": 0}, "Objects365"), ({"caption": "a"}, "none with a mask")],
)
def test_a_layout_without_masks_is_named_before_its_pictures_are_missed(
    tmp_path: Path, annotation: dict[str, Any], named: str
) -> None:
    """Red when panoptic_train2017.json, whose pictures are in train2017/, is told to lack pictures."""
    content = {"images": [{"id": 1, "file_name": "1.png"}], "annotations": [{"id": 1, "image_id": 1, **annotation}]}
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/panoptic_train2017.json").write_text(json.dumps(content))
    pictures(tmp_path / "train2017/1.png")
    with pytest.raises(DataError, match=named):
        find_sets(tmp_path)


@pytest.mark.parametrize(
    ("benchmark", "folder", "adapter", "lengths"),
    [
        ("reason_seg", "ReasonSeg", "ReasonSeg", {"test": 1, "val": 1}),
        ("reason_seg", "ReasonSeg/val", "ReasonSeg", {"val": 1}),
        ("mevis", "video_datas/mevis", "VideoExpressions", {"valid_u": 3}),
        ("mevis", "video_datas/mevis/valid_u", "VideoExpressions", {"valid_u": 3}),
        ("revos", "video_datas/revos", "VideoExpressions", {"valid": 4}),
        ("ref_davis", "video_datas/davis17", "DavisExpressions", {"valid": 3}),
    ],
)
def test_sets_of_benchmarks_are_found(
    tmp_path: Path, benchmark: str, folder: str, adapter: str, lengths: dict[str, int]
) -> None:
    """Red when what a benchmark reads cannot be checked or looked at by its path, or clips are trained on."""
    write_benchmark(benchmark, tmp_path)
    found = find_sets(tmp_path / folder)
    assert {one.name: len(DATASETS.build(one.config)) for one in found} == lengths
    assert {one.config["type"] for one in found} == {adapter}
    report = check_set(DATASETS.build(found[0].config), range(lengths[found[0].name]), Region(grid_size=4))
    assert (report.bad, report.without_text, report.too_few_cells["any"]) == (0, 0, 0)
    (sample,) = draw(DATASETS.build(found[0].config), 1, 0)
    assert sample.image.ndim == 3
    if adapter == "ReasonSeg":
        assert [one.config["type"] for one in find_mask_sets(tmp_path / folder)] == [adapter] * len(lengths)
    else:
        with pytest.raises(DataError, match="holds clips with expressions, which are evaluated"):
            find_mask_sets(tmp_path / folder)


def test_several_layouts_in_one_folder_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Red when one of them is taken, or converted, without a word of the others."""
    (tmp_path / "a").mkdir()
    make(tmp_path / "a", {"image": "a.png", "mask": SQUARE})
    coco_json(tmp_path / "a/annotations/instances_train.json", "1.png")
    pictures(tmp_path / "a/train/1.png")
    with logged(caplog):
        assert [one.config["type"] for one in find_sets(tmp_path / "a")] == ["OwnData"]
        assert "holds several layouts: read as own data, not as COCO" in caplog.text
    (tmp_path / "a/data.jsonl").rename(tmp_path / "a/other.jsonl")
    labelme = '{"version": "5.0", "shapes": [], "imagePath": "a.jpg"}'
    (tmp_path / "b/labels").mkdir(parents=True)
    (tmp_path / "b/labels/a.txt").write_text("0 0 0 1 0 1 1")
    (tmp_path / "b/a.json").write_text(labelme)
    with pytest.raises(
        DataError, match=r"holds several layouts: YOLO's layout: run .*yolo .*; or LabelMe's layout: run"
    ):
        find_sets(tmp_path / "b")
    with pytest.raises(
        DataError, match=r"sets in its folders: a is COCO; b/a.json is LabelMe's .*; b/labels/a.txt is YOLO's"
    ):
        find_sets(tmp_path)
    write_sav_pairs(tmp_path / "c")
    with pytest.raises(DataError, match=r"sets in its folders: a is COCO; .*; c is SavPairs. Give the path of one"):
        find_sets(tmp_path)
