"""Describe Anything with each fault."""

from __future__ import annotations

import json
import pickle
from typing import Any

from sa2va_native.datasets.adapters.describe_anything import DescribeAnything
from sa2va_native.datasets.reading.mask_codec import encode_mask
from tests.sa2va_native.datasets.adapters.test_refer import Malicious
from tests.sa2va_native.datasets.faults.common import BAD_MASKS, BAD_TEXTS, TEXT, TEXTS, NativeSet, pictures
from tests.sa2va_native.datasets.native import SIZE, box, jpeg, picture, write_tar


def write_describe(native: NativeSet) -> None:
    """Split ``SAM``: each picture a sample of its own, then masks and captions of the first, then odd shards."""
    samples: dict[str, Any] = {}
    members: dict[str, bytes] = {}
    path, images = "SAM/annotations.json", native.root / "SAM/images"

    def described(caption: Any = TEXT, segmentation: Any = None, size: tuple[int, int] = SIZE) -> dict[str, Any]:
        return {"caption": caption, "mask_rle": segmentation or encode_mask(box(2, 3, size=size))}

    for number, file in enumerate(pictures()):
        sample, member = file.name.split(".")[0], f"{file.name.split('.')[0]}{'.0' * (number % 2)}.jpg"
        place, fault, record = f"SAM/images/00000000.tar:{member}", file.fault, f"{sample!r} mask 0"
        if file.content is None:
            place, fault = path, "missing: no picture"
        if native.expect(f"{path}#{record}", place, record, fault):
            samples[sample] = described(size=file.size)
            if file.content is not None:
                members[member] = file.content

    records: list[tuple[Any, str | None]] = [(described(text), None) for text in TEXTS]
    records += [(described(text), fault) for text, fault in BAD_TEXTS]
    records += [(described(segmentation=mask), fault) for mask, fault in BAD_MASKS]
    records += [(described() | {"mask_rle": None}, "no segmentation"), ("a caption", "a str, expected a caption")]
    kept = []
    for record, fault in records:
        name, place = f"'several' mask {len(kept)}", path
        if fault and fault.startswith("RLE of size"):
            place, fault = "SAM/images/00000000.tar:several.jpg", "annotated as 16 x 12 px"
        if native.expect(f"{path}#{name}", place, name, fault):
            kept.append(record)
    samples["several"], members["several.jpg"] = kept, jpeg(picture(1))

    write_tar(images / "00000000.tar", {"several.pickle": pickle.dumps([Malicious(native.trace)]), **members})
    if native.drop("pictures that an earlier shard already contains"):
        shard = write_tar(images / "00000001.tar", {"several.jpg": jpeg(picture(2)), "cut.jpg": jpeg(picture(3))})
        shard.write_bytes(shard.read_bytes()[:-9000])
        native.expect("", "SAM/images/00000001.tar", "shard", "not a whole uncompressed tar")
        (images / "00000002.tar").symlink_to(images / "00000002.tar")
        native.expect("", "SAM/images/00000002.tar", "shard", "not a whole uncompressed tar")
    (native.root / path).write_text(json.dumps(samples), encoding="utf-8")
    native.config = {"type": DescribeAnything.__name__, "root": str(native.root), "split": "SAM"}
