"""Open Images with each fault."""

from __future__ import annotations

import itertools

from PIL import Image

from sa2va_native.datasets.adapters.open_images import OpenImages
from tests.sa2va_native.datasets.faults.common import (
    NativeSet,
    mask_files,
    pictures,
    saved,
    write_decomposed,
    write_outside,
)
from tests.sa2va_native.datasets.native import OPEN_IMAGES_HEADER, box, jpeg, open_images_line, picture, write_files


def write_open_images(native: NativeSet, class_names: bool = False) -> None:
    root, lines = native.root, [OPEN_IMAGES_HEADER]
    csv = "train-annotations-object-segmentation.csv"
    images, masks, numbers = root / "images/train", root / "masks/train", itertools.count(1)
    whole = mask_files()[0].content or b""

    def add(image: str, mask: str | None = None, path: str = "", fault: str | None = None) -> None:
        if mask is None:
            mask = f"m{next(numbers)}.png"
            write_files(masks, {mask: whole})
        if native.expect(f"{csv}#{mask}", path.format(mask=mask), f"mask {mask}", fault):
            lines.append(open_images_line(mask, image))

    for file in write_decomposed(native, images, [file._replace(name=f"{file.name[:-4]}.jpg") for file in pictures()]):
        path, fault = f"images/train/{file.name}", file.fault
        if fault == "annotated as":  # what the csv never does
            path, fault = "masks/train/{mask}", "another shape"
        add(file.name[:-4], None, path, fault)
    for file in write_decomposed(native, masks, mask_files()):
        add("sound", file.name, f"masks/train/{file.name}", file.fault)
    write_files(masks, {"half.png": saved(Image.fromarray(box(1, 2, 5, 6, size=(12, 16))), "PNG")})
    add("sound", "half.png")
    for name, fault in write_outside(native, images, jpeg(picture(2)), ".jpg"):
        add(name.removesuffix(".jpg"), None, csv, fault)
    for name, fault in write_outside(native, masks, whole, ".png"):
        add("sound", name, csv, fault)
    write_files(masks, {"a, b.png": whole, "quoted.png": whole})
    add("sound", '"a, b.png"')
    native.sound[-1] = f"{csv}#a, b.png"
    add("sound", '"quoted.png"')
    native.sound[-1] = f"{csv}#quoted.png"
    if native.drop("with a MaskPath that an earlier line has"):
        lines.append(open_images_line("half.png", "cmyk"))
    for line, fault in (
        ('"open.png,sound' + open_images_line("", ""), "no csv"),
        ('"m"x.png,sound' + open_images_line("", ""), "no csv"),
        ("cut.png,sound,/m/", "3 fields, and 10 columns"),
    ):
        if native.expect("", csv, f"line {len(lines) + 1}", fault):
            lines.append(line)
    if class_names:
        if native.drop("of a class without a name"):
            lines.append(open_images_line("nameless.png", "sound", label="/m/0"))
        names = "LabelName,DisplayName\n/m/01g317,Person of <p> [SEG] é\n"
        (root / "oidv7-class-descriptions.csv").write_text(names, encoding="utf-8")
    (root / csv).write_text("\n".join(lines) + "\n", encoding="utf-8")
    native.config = {"type": OpenImages.__name__, "root": str(root), "class_names": class_names}
