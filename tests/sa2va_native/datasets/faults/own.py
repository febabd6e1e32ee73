"""Own data with each fault."""

from __future__ import annotations

import itertools
import json
from typing import Any

from PIL import Image

from sa2va_native.datasets.adapters.own_data import OwnData
from sa2va_native.datasets.reading.mask_codec import encode_mask
from tests.sa2va_native.datasets.faults.common import (
    BAD_MASKS,
    BAD_TEXTS,
    POLYGON,
    TEXTS,
    NativeSet,
    mask_files,
    pictures,
    saved,
    write_decomposed,
    write_outside,
)
from tests.sa2va_native.datasets.native import box, jpeg, picture, write_files


def write_own(native: NativeSet, text_required: bool = False) -> None:
    lines: list[str] = []
    images, masks = native.root / "images", native.root / "images/masks"
    texts = itertools.cycle(TEXTS)

    def add(path: str = "data.jsonl", fault: str | None = None, **record: Any) -> None:
        line = f"line {len(lines) + 1}"
        name = f" id {record['id']}" if "id" in record else ""
        if native.expect(f"data.jsonl#{line}{name}", path, line, fault):
            lines.append(json.dumps({"text": next(texts), **record}, ensure_ascii=False, default=str))

    for file in write_decomposed(native, images, pictures()):
        add(f"images/{file.name}", file.fault, image=file.name, mask=encode_mask(box(2, 3, size=file.size)))
    for file in write_decomposed(native, masks, mask_files()):
        add(f"images/masks/{file.name}", file.fault, image="sound.jpg", mask=f"masks/{file.name}")
    add(image="sound.jpg", mask=POLYGON, image2="cmyk.jpg", mask2=POLYGON)
    add(image="sound.jpg", mask=POLYGON, id=7)
    add(image="cmyk.jpg", mask=POLYGON, id=7)
    add(image="sound.jpg", mask=POLYGON, image2="cmyk.jpg", fault="no 'mask2'")
    for segmentation, fault in BAD_MASKS:
        of_picture = fault.startswith("RLE of size")
        path, fault = ("images/sound.jpg", "annotated as 16 x 12 px") if of_picture else ("data.jsonl", fault)
        add(path, fault, image="sound.jpg", mask=segmentation)
    other = saved(Image.fromarray(box(2, 3, size=(12, 16))), "PNG")
    write_files(masks, {"other-size.png": other})
    add("images/sound.jpg", "annotated as 16 x 12 px", image="sound.jpg", mask="masks/other-size.png")
    for name, fault in write_outside(native, images, jpeg(picture(2)), ".jpg"):
        add(fault=fault, image=name, mask=POLYGON)
    for name, fault in write_outside(native, images, other, ".png"):
        add(fault=fault, image="sound.jpg", mask=name)
    for text, fault in BAD_TEXTS:
        add(fault=fault if text_required or text is not None else None, image="sound.jpg", mask=POLYGON, text=text)
    content = "".join(f"{line}\n" for line in lines)
    if native.expect("", "data.jsonl", f"line {len(lines) + 1}", "the file ends in this line: is it truncated?"):
        content += lines[0][:-20]
    (native.root / "data.jsonl").write_text(content, encoding="utf-8", errors="backslashreplace")
    native.config = {
        "type": OwnData.__name__,
        "path": str(native.root / "data.jsonl"),
        "image_root": str(images),
        "text_required": text_required,
    }
