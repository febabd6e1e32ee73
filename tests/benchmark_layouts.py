"""Writes each benchmark's layout below one folder of data, small, and with a fault where one is asked for."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sa2va_native.datasets.reading.mask_codec import encode_mask
from tests.sa2va_native.datasets.native import box, jpeg, picture, write_files, write_png

#: A polygon, another one, and their areas' place: left and right of the small pictures.
LEFT, RIGHT = [[3, 2, 15, 2, 15, 12, 3, 12]], [[18, 6, 28, 6, 28, 20, 18, 20]]
PHOTOS = "coco2014/train2014"


def coco_content(folder: Path, name: str, count: int = 3) -> dict[str, Any]:
    """Pictures 1, 2, ... in ``folder``, and their annotations 10, 11, 20, 21, ...: two objects each."""
    images = [{"id": n, "file_name": name.format(n), "height": 24, "width": 32} for n in range(1, count + 1)]
    write_files(folder, {image["file_name"]: jpeg(picture(image["id"])) for image in images})
    annotations = [
        {"id": 10 * image["id"] + side, "image_id": image["id"], "segmentation": polygon, "area": 120, "iscrowd": 0}
        for image in images
        for side, polygon in enumerate((LEFT, RIGHT))
    ]
    return {"images": images, "annotations": annotations}


def write_refs(data: Path, folder: str, name: str, splits: tuple[str, ...], fault: bool) -> None:
    """REFER's layout, or gRefCOCO's: in each split two sentences for one object, and for gRefCOCO for both and none."""
    content = coco_content(data / PHOTOS, "COCO_train2014_{:012d}.jpg")
    refs: list[dict[str, Any]] = []

    def add(ann_id: Any, image: int, split: str, *texts: str) -> None:
        number = len(refs) + 1
        sentences = [{"sent_id": 10 * number + n, "sent": text} for n, text in enumerate(texts)]
        refs.append({"ref_id": number, "ann_id": ann_id, "image_id": image, "split": split, "sentences": sentences})

    several = name.startswith("grefs")
    for image, split in enumerate(splits, start=1):
        left = 10 * image
        add([left] if several else left, image, split, "the red circle", "the left one")
        if several:
            add([left, left + 1], image, split, "both of them")
            add([-1], image, split, "the dog")
            refs[-1]["no_target"] = True
    if fault:
        add([99] if several else 99, 1, splits[0], "the one that is gone")
    (data / folder).mkdir(parents=True, exist_ok=True)
    (data / folder / "instances.json").write_text(json.dumps(content))
    written = json.dumps(refs).encode() if several else pickle.dumps(refs, protocol=2)
    (data / folder / name).write_bytes(written)


def write_reason_seg(data: Path, fault: bool) -> None:
    for number, split in enumerate(("val", "test"), start=1):
        shapes = [
            {"label": "target", "points": [[3, 2], [15, 2], [15, 12], [3, 12]]},
            {"label": "ignore", "points": [[18, 6], [28, 6], [28, 20], [18, 20]]},
        ]
        content = {"text": ["what is red?", "another wording"], "is_sentence": True, "shapes": shapes}
        files = {"1.jpg": jpeg(picture(number)), "1.json": json.dumps(content).encode()}
        if fault:
            files |= {"2.jpg": jpeg(picture(number)), "2.json": json.dumps({**content, "shapes": shapes[1:]}).encode()}
        write_files(data / "ReasonSeg" / split, files)


def write_coco(data: Path, fault: bool) -> None:
    content = coco_content(data / "coco/val2017", "{:012d}.jpg")
    if fault:
        content["annotations"].append({**content["annotations"][0], "id": 99, "image_id": 99})
    (data / "coco/annotations").mkdir(parents=True)
    (data / "coco/annotations/instances_val2017.json").write_text(json.dumps(content))


def write_coco_text(data: Path, fault: bool) -> None:
    content = coco_content(data / "coco_text/images", "{}.jpg", count=2)
    for annotation in content["annotations"]:
        annotation["caption"] = "a red circle"
    if fault:
        content["annotations"][0]["caption"] = "  "
    (data / "coco_text/instances.json").write_text(json.dumps(content))


def write_own(data: Path, fault: bool) -> None:
    records = [{"image": "a.jpg", "mask": mask, "text": text} for mask, text in ((LEFT, "red one"), (RIGHT, "other"))]
    if fault:
        del records[1]["text"]
    write_files(data / "own", {"a.jpg": jpeg(picture(1)), "data.jsonl": "\n".join(map(json.dumps, records)).encode()})


def clip_masks(frames: int) -> list[np.ndarray]:
    """An object that moves to the right and is hidden in the last frame."""
    return [box(4, 2 + 3 * frame) if frame < frames - 1 else box(0, 0, 0) for frame in range(frames)]


def write_video_expressions(data: Path, root: str, images: str, expressions: str, fault: bool, davis: bool) -> None:
    """Two videos of seven and two frames; each has an expression for one object, the first also one for another.

    Their ``type_id`` is 0 and 1, as in ReVOS, which has one without a target too, and videos in folders of folders.
    """
    revos = "revos" in root
    first_name = "UVO/all/-a" if revos else "a"
    videos, masks = {}, {}
    for name, count in ((first_name, 7), ("b", 2)):
        frames = [f"{number:05d}" for number in range(count)]
        moving, still = clip_masks(count), [box(14, 20, 6, 8)] * count
        for frame, first, second in zip(frames, moving, still, strict=True):
            write_files(data / root / images / name, {f"{frame}.jpg": jpeg(picture(len(masks)))})
            if davis:
                labels = first.astype(np.uint8) + 2 * second.astype(np.uint8)
                write_png(data / root / "valid/Annotations" / name / f"{frame}.png", labels)
        number = len(masks)
        masks[str(number)] = [encode_mask(mask) if mask.any() else None for mask in moving]
        masks[str(number + 1)] = [encode_mask(mask) for mask in still]
        said = {"0": {"exp": "the one that moves", "anno_id": [number], "obj_id": "1", "type_id": 0}}
        if name == first_name:
            said["1"] = {"exp": "both", "anno_id": [number, number + 1], "obj_id": "2", "type_id": 1}
        elif revos:
            said["1"] = {"exp": "the dog", "anno_id": [], "obj_id": [], "type_id": 2}
        videos[name] = {"frames": frames, "expressions": said}
    if fault:
        videos["b"]["expressions"]["9"] = {"exp": "the one that is gone", "anno_id": [99], "obj_id": "9", "type_id": 0}
    (data / root / expressions).parent.mkdir(parents=True, exist_ok=True)
    (data / root / expressions).write_text(json.dumps({"videos": videos}))
    if not davis:
        (data / root / "mask_dict.json").write_text(json.dumps(masks))


def write_davis17(data: Path, fault: bool) -> None:
    """Two clips of seven and three frames, in each two objects; the fault is a label picture that is missing."""
    root = data / "DAVIS"
    for name, count in (("a", 7), ("b", 3)):
        for number, moving in enumerate(clip_masks(count)):
            write_files(root / "JPEGImages/480p" / name, {f"{number:05d}.jpg": jpeg(picture(number))})
            labels = moving.astype(np.uint8) + 2 * box(14, 20, 6, 8).astype(np.uint8)
            write_png(root / "Annotations/480p" / name / f"{number:05d}.png", labels)
    write_files(root / "ImageSets/2017", {"val.txt": b"a\nb\n"})
    if fault:
        (root / "Annotations/480p/b/00001.png").unlink()


def write_dlc_bench(data: Path, fault: bool) -> None:
    content = coco_content(data / "DLC-Bench/images", "{}.jpg", count=2)
    if fault:
        content["images"].pop()
    (data / "DLC-Bench/annotations.json").write_text(json.dumps(content))


def _videos(root: str, images: str, expressions: str, davis: bool = False) -> Callable[[Path, bool], None]:
    return lambda data, fault: write_video_expressions(data, f"video_datas/{root}", images, expressions, fault, davis)


def _refs(folder: str, name: str, *splits: str) -> Callable[[Path, bool], None]:
    return lambda data, fault: write_refs(data, folder, name, splits, fault)


#: Benchmark -> how its data are written below a folder, and what its fault is called.
LAYOUTS: dict[str, tuple[Callable[[Path, bool], None], str]] = {
    "refcoco": (_refs("refcoco", "refs(unc).p", "val", "testA", "testB"), "ann_id 99 is not in"),
    "refcoco_plus": (_refs("refcoco+", "refs(unc).p", "val", "testA", "testB"), "ann_id 99 is not in"),
    "refcocog": (_refs("refcocog", "refs(umd).p", "val", "test"), "ann_id 99 is not in"),
    "refcocog_google": (_refs("refcocog", "refs(google).p", "val"), "ann_id 99 is not in"),
    "refcocog_captions": (_refs("refcocog", "refs(umd).p", "val", "test"), "ann_id 99 is not in"),
    "grefcoco": (_refs("grefcoco", "grefs(unc).json", "val", "testA", "testB"), "ann_id 99 is not in"),
    "reason_seg": (write_reason_seg, "empty mask: no pixel of a target"),
    "coco": (write_coco, "image_id 99 is not among the images"),
    "coco_text": (write_coco_text, "empty text"),
    "own": (write_own, "text is a NoneType"),
    "dlc_bench": (write_dlc_bench, "image_id 2 is not among the images"),
    "davis17": (write_davis17, "missing: no such file"),
    "mevis": (_videos("mevis/valid_u", "JPEGImages", "meta_expressions.json"), "anno_id 99 is not in"),
    "revos": (_videos("revos", "", "meta_expressions_valid_.json"), "anno_id 99 is not in"),
    "ref_davis": (
        _videos("davis17", "valid/JPEGImages", "meta_expressions/valid/meta_expressions.json", davis=True),
        "obj_id 9 is not in its masks",
    ),
}


def write_benchmark(name: str, data: Path, fault: bool = False) -> None:
    """The data of a benchmark below ``data``, as its paths begin."""
    LAYOUTS[name][0](data, fault)


def left_mask() -> Any:
    """bool (H, W): the object left in every picture, as pycocotools draws it."""
    return box(2, 3)
