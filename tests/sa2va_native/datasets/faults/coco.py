"""COCO and REFER with each fault."""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Callable
from typing import Any

from sa2va_native.datasets.adapters.coco import CocoInstances
from sa2va_native.datasets.adapters.refer import ReferExpressions
from sa2va_native.datasets.reading.mask_codec import encode_mask
from tests.sa2va_native.datasets.faults.common import (
    BAD_MASKS,
    BAD_TEXTS,
    POLYGON,
    TEXT,
    TEXTS,
    NativeSet,
    pictures,
    write_decomposed,
    write_outside,
)
from tests.sa2va_native.datasets.native import SIZE, box, jpeg, picture


def coco_content(native: NativeSet, sample_id: Callable[[int], str]) -> dict[str, Any]:
    """Images and annotations of equal numbers; annotation 1 is sound."""
    images, annotations, numbers = [], [], itertools.count(1)

    def add(name: str, segmentation: Any, path: str, fault: str | None, size: tuple[int, int] = SIZE) -> None:
        number = next(numbers)
        if native.expect(sample_id(number), path, f"annotation {number}", fault):
            images.append({"id": number, "file_name": name, "height": size[0], "width": size[1]})
            annotations.append(
                {"id": number, "image_id": number, "segmentation": segmentation, "area": 120, "iscrowd": 0}
            )

    folder = native.root / "images"
    for file in write_decomposed(native, folder, pictures()):
        add(file.name, POLYGON, f"images/{file.name}", file.fault, file.size)
    for segmentation in (encode_mask(box(2, 3)), {"size": list(SIZE), "counts": [100, 120, 548]}):
        add("sound.jpg", segmentation, "", None)
    for segmentation, fault in BAD_MASKS:
        add("sound.jpg", segmentation, "instances.json", fault)
    for name, fault in write_outside(native, folder, jpeg(picture(2)), ".jpg"):
        add(name, POLYGON, "instances.json", fault)
    return {"images": images, "annotations": annotations}


def write_coco(native: NativeSet, text_key: str | None = None) -> None:
    content = coco_content(native, lambda number: f"instances.json#annotation {number}")
    annotations = content["annotations"]
    for annotation, text in zip(annotations, itertools.cycle(TEXTS), strict=False):
        annotation["caption"] = text
    if native.faults:
        first = annotations[0]
        annotations.append(dict(first))  # stands there twice: one is kept
        annotations.append({**first, "segmentation": [[1, 1, 9, 1, 9, 9]]})
        native.expect("instances.json#annotation 1 (number 2 of this id)")
        content["images"] += [{"id": 900, "file_name": name} for name in ("sound.jpg", "cmyk.jpg")]
        for number, fault in ((900, "image_id 900 is given to images of different files"), (901, "is not among")):
            annotations.append({**first, "id": number, "image_id": number})
            native.expect("", "instances.json", f"annotation {number}", fault)
        for number, (text, fault) in enumerate(BAD_TEXTS if text_key else (), start=910):
            annotations.append({**first, "id": number, "caption": text})
            if text is None:
                native.drop(f"without '{text_key}'")
            else:
                native.expect("", "instances.json", f"annotation {number}", fault)
    (native.root / "instances.json").write_text(json.dumps(content))
    native.config = {
        "type": CocoInstances.__name__,
        "ann_file": str(native.root / "instances.json"),
        "image_root": str(native.root / "images"),
        "text_key": text_key,
    }


def write_refer(native: NativeSet) -> None:
    name = "refs(unc).p"
    content = coco_content(native, lambda number: f"{name}#ref {number} sentence {100 * number}")
    refs = [one_ref(annotation["id"], TEXTS[0]) for annotation in content["annotations"]]
    for number, text in enumerate(TEXTS[1:], start=101):
        refs[0]["sentences"].append(sentence(number, text))
        native.expect(f"{name}#ref 1 sentence {number}")
    if native.faults:
        again = {**content["annotations"][0], "id": 800}
        content["annotations"] += [again, {**again, "segmentation": [[1, 1, 9, 1, 9, 9]]}]
        for number, text, fault in (
            (800, TEXT, "ann_id 800 is given to 2 annotations"),
            (801, TEXT, "ann_id 801 is not in"),
            *((number, *bad) for number, bad in enumerate(BAD_TEXTS, start=802)),
        ):
            refs.append(one_ref(number, text) | {"ann_id": min(number, 801) if text == TEXT else 1})
            native.expect("", name, f"ref {number} sentence {100 * number}", fault)
        refs.append(one_ref(805, TEXT) | {"sentences": []})
        native.expect("", name, "ref 805 sentence None", "text is a NoneType")
    (native.root / "instances.json").write_text(json.dumps(content))
    (native.root / name).write_bytes(pickle.dumps(refs, protocol=2))
    native.config = {"type": ReferExpressions.__name__, "root": str(native.root), "split": "train"}


def one_ref(number: int, text: Any) -> dict[str, Any]:
    sentences = [sentence(100 * number, text)]
    return {"ref_id": number, "ann_id": number, "image_id": number, "split": "train", "sentences": sentences}


def sentence(number: int, text: Any) -> dict[str, Any]:
    return {"sent_id": number, "sent": text, "raw": text, "tokens": str(text).split(" ")}
