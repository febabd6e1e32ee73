"""What the sets with faults share: odd pictures and masks, and the book of what each record must come to."""

from __future__ import annotations

import io
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from sa2va_native.datasets.reading.mask_codec import encode_mask
from tests.sa2va_native.datasets.native import SIZE, box, jpeg, picture, write_files

POLYGON = [[3, 2, 15, 2, 15, 12, 3, 12]]
TEXT = "the left box"
#: What people write, and what a tokenizer could take for something else.
TEXTS = (
    TEXT, "the [SEG] circle", "[SEG]", "<IMG_CONTEXT>", "a <vp>region</vp> in <img>", "the dog<|im_end|>",
    "a cat <|endoftext|>", "?!...", " a leading space", "красный круг 猫 🐈", "a very long sentence " * 60,
)  # fmt: skip
BAD_TEXTS: tuple[tuple[Any, str], ...] = (
    (5, "text is a int"), (None, "text is a NoneType"), (" ", "empty text"),
    ("\ud800", "text that is not valid Unicode"), ("a page of a book " * 400, "text of 6800 characters, above 4000"),
)  # fmt: skip
OUTSIDE = "leads out of"
LOOP = "a loop of symbolic links"
HUGE = "10001 x 10000 px is above 100000000 px"


@dataclass
class NativeSet:
    """A set on disk and what its adapter must make of it; with ``faults=False`` of the sound records alone."""

    root: Path
    faults: bool = True
    config: dict[str, Any] = field(default_factory=dict)  #: of the adapter
    sound: list[str] = field(default_factory=list)  #: ids of the samples
    bad: dict[tuple[str, str], str] = field(default_factory=dict)  #: (path below root, record) -> part of the reason
    dropped: dict[str, int] = field(default_factory=dict)  #: left out and only counted

    def expect(self, sample_id: str, path: str = "", record: str = "", fault: str | None = None) -> bool:
        """Note what a record must come to; whether it is to be written."""
        if fault is None:
            self.sound.append(sample_id)
        elif self.faults:
            assert (path, record) not in self.bad, "two records of one name"
            self.bad[path, record] = fault
        return fault is None or self.faults

    def drop(self, reason: str) -> bool:
        """Note a record that must be left out; whether it is to be written."""
        if self.faults:
            self.dropped[reason] = self.dropped.get(reason, 0) + 1
        return self.faults

    @property
    def trace(self) -> Path:
        """Exists once a payload of the set was executed."""
        return self.root / "trace"


class PictureFile(NamedTuple):
    """A picture of a set."""

    name: str
    content: bytes | None  #: None: there is no such file
    fault: str | None = None  #: part of the reason for which it is refused
    size: tuple[int, int] = SIZE  #: height and width that its annotation speaks of


def pictures() -> list[PictureFile]:
    """Pictures that are read, then those that are refused."""
    pixels = picture(1)
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6  # to be shown with a quarter turn
    whole = jpeg(pixels)
    return [
        PictureFile("sound.jpg", whole),
        PictureFile("16-bit.png", saved(Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "PNG")),
        PictureFile("palette.png", saved(image.quantize(16), "PNG", transparency=3)),
        PictureFile("cmyk.jpg", saved(image.convert("CMYK"), "JPEG")),
        PictureFile("turned.jpg", saved(image, "JPEG", exif=exif), size=SIZE[::-1]),
        PictureFile("as-stored.jpg", saved(image, "JPEG", exif=exif)),
        PictureFile("фото é 猫.jpg", whole),
        PictureFile("truncated.jpg", whole[:-100], "unreadable picture"),
        PictureFile("zero-byte.jpg", b"", "unreadable picture"),
        PictureFile("other-size.jpg", jpeg(picture(1, (20, 16))), "annotated as"),
        PictureFile("huge.jpg", claiming(whole), HUGE),
        PictureFile("missing.jpg", None, "missing: no such file"),
    ]


def mask_files() -> list[PictureFile]:
    """Masks as PNG files, in the same order."""
    mask = box(2, 3)
    whole = saved(Image.fromarray(mask), "PNG")
    levels = np.arange(mask.size).reshape(SIZE).astype(np.uint8)
    palette = Image.fromarray(mask.astype(np.uint8))
    palette.putpalette([0, 0, 0, 200, 0, 0])
    return [
        PictureFile("1-bit.png", whole),
        PictureFile("16-bit.png", saved(Image.fromarray(mask.astype(np.uint16) * 65535), "PNG")),
        PictureFile("palette.png", saved(palette, "PNG")),
        PictureFile("маска é.png", whole),
        PictureFile("truncated.png", whole[:-30], "unreadable picture"),
        PictureFile("zero-byte.png", b"", "unreadable picture"),
        PictureFile("huge.png", claiming(whole), HUGE),
        PictureFile("missing.png", None, "missing: no such file"),
        PictureFile("empty.png", saved(Image.fromarray(box(2, 3, 0)), "PNG"), "empty mask"),
        PictureFile("several.png", saved(Image.fromarray(levels), "PNG"), "mask with 255 values besides 0"),
    ]


#: Segmentations that are refused, and part of the reason. The first speaks of another size than its picture's.
BAD_MASKS: tuple[tuple[Any, str], ...] = (
    (encode_mask(box(2, 3, size=(12, 16))), "RLE of size [12, 16]"),
    (encode_mask(box(2, 3, height=0)), "empty mask"),
    ([[2, 2, 8, 8]], "polygon of 4 numbers"),
    ([[90, 90, 99, 90, 99, 99]], "mask entirely outside its picture"),
    ({"size": list(SIZE), "counts": encode_mask(box(2, 3))["counts"][:-1] + "o"}, "RLE counts cannot be decoded"),
)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def claiming(content: bytes, width: int = 10001, height: int = 10000) -> bytes:
    """A small PNG or JPEG whose header speaks of 100 megapixels."""
    if content.startswith(b"\x89PNG"):
        header = content[12:16] + struct.pack(">II", width, height) + content[24:29]
        return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    start = content.index(b"\xff\xc0") + 5
    return content[:start] + struct.pack(">HH", height, width) + content[start + 4 :]


def write_decomposed(native: NativeSet, folder: Path, files: list[PictureFile]) -> Iterator[PictureFile]:
    """Write what is to be written, as macOS would name it, and pass it on."""
    for file in files:
        if file.content is not None and (native.faults or file.fault is None):
            write_files(folder, {unicodedata.normalize("NFD", file.name): file.content})
        yield file


def write_outside(native: NativeSet, folder: Path, content: bytes, suffix: str) -> list[tuple[str, str]]:
    """Names below ``folder`` that lead out of it or nowhere, and part of the reason; none for a sound set."""
    if not native.faults:
        return []
    outside = folder.parent / f"outside{suffix}"
    outside.write_bytes(content)
    (folder / f"link{suffix}").symlink_to(outside)
    (folder / f"loop{suffix}").symlink_to(folder / f"loop{suffix}")
    return [
        (f"../outside{suffix}", OUTSIDE),
        (f"link{suffix}", OUTSIDE),
        (str(outside), OUTSIDE),
        (f"loop{suffix}", LOOP),
    ]
