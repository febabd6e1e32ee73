"""Every adapter's set in its native layout, with each fault that can occur in it, and what each record must come to.

A new adapter joins by an entry in ``SETS``.
"""

from __future__ import annotations

import io
import itertools
import json
import pickle
import struct
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from projects.sa2va.datasets.coco import CocoInstances
from projects.sa2va.datasets.describe_anything import DescribeAnything
from projects.sa2va.datasets.mask_codec import encode_mask
from projects.sa2va.datasets.open_images import OpenImages
from projects.sa2va.datasets.own_data import OwnData
from projects.sa2va.datasets.refer import ReferExpressions
from projects.sa2va.datasets.sa1b import Sa1b
from projects.sa2va.datasets.sav_pairs import SavPairs
from projects.sa2va.datasets.sav_videos import SavVideos
from projects.sa2va.datasets.tar_shards import TarShards
from projects.sa2va.structures import Kind
from tests.sa2va.datasets.native import (
    OPEN_IMAGES_HEADER,
    SIZE,
    box,
    jpeg,
    open_images_line,
    picture,
    sa1b_annotation,
    sav_masks,
    write_files,
    write_pair,
    write_sav,
    write_tar,
    write_video,
)
from tests.sa2va.datasets.test_refer import Malicious

POLYGON = [[3, 2, 15, 2, 15, 12, 3, 12]]
TEXT = "the left box"
#: What people write, and what a tokenizer could take for something else.
TEXTS = (
    TEXT, "the [SEG] circle", "[SEG]", "<IMG_CONTEXT>", "a <vp>region</vp> in <img>", "the dog<|im_end|>",
    "a cat <|endoftext|>", "?!...", " a leading space", "красный круг 猫 🐈", "a very long sentence " * 60,
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
    dropped: dict[str, int] = field(default_factory=dict)  #: of a set with an index: left out and only counted

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
    ([[90, 90, 99, 90, 99, 99]], "mask wholly outside its picture"),
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
        for number, text, fault in ((910, 5, "text is a int"), (911, " ", "empty text"), (912, "\ud800", "no Unicode")):
            if text_key:
                annotations.append({**first, "id": number, "caption": text})
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
            (802, " ", "empty text"),
            (803, "\ud800", "no Unicode"),
            (804, 5, "text is a int"),
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
    add(fault="text is a int", image="sound.jpg", mask=POLYGON, text=5)
    add(fault="empty text", image="sound.jpg", mask=POLYGON, text=" ")
    if text_required:
        add(fault="text is a NoneType", image="sound.jpg", mask=POLYGON, text=None)
    else:
        add(image="sound.jpg", mask=POLYGON, text=None)
    content = "".join(f"{line}\n" for line in lines)
    if native.expect("", "data.jsonl", f"line {len(lines) + 1}", "the file ends in this line: is it cut off?"):
        content += lines[0][:-20]
    (native.root / "data.jsonl").write_text(content, encoding="utf-8")
    native.config = {
        "type": OwnData.__name__,
        "path": str(native.root / "data.jsonl"),
        "image_root": str(images),
        "text_required": text_required,
    }


def write_pairs(native: NativeSet) -> None:
    root = native.root
    for folder in (".", "sav_000/deep", "видео é"):
        name = f"{folder}/masklet_data_猫.npz".removeprefix("./")
        write_pair(root / name)
        native.expect(name)
    write_pair(root / "levels.npz", frame1=picture(1).astype(np.uint16), mask1=box(2, 3) * 1.0)
    native.expect("levels.npz")
    small, absent = box(2, 3, size=(12, 16)), np.full(SIZE, None, dtype=object)
    payload = np.array([Malicious(native.trace)], dtype=object)
    for name, record, fault, arrays in (
        ("other-size", "mask1", "mask of size (12, 16) on a frame of size (24, 32)", {"mask1": small}),
        ("empty", "frame2 and mask2", "empty mask", {"mask2": box(2, 3, height=0)}),
        ("16-bit", "frame1 and mask1", "frame with values from", {"frame1": picture(1).astype(np.uint16) * 257}),
        ("objects", "pair", "Object arrays cannot be loaded", {"mask1": absent}),
        ("code", "pair", "Object arrays cannot be loaded", {"frame1": payload}),
        ("missing", "pair", "without mask2", {"mask2": None}),
    ):
        if native.expect("", f"{name}.npz", record, fault):
            write_pair(root / f"{name}.npz", **arrays)
    whole = (root / "levels.npz").read_bytes()
    files = {
        "truncated": whole[:-100],
        "zero-byte": b"",
        "pickle": pickle.dumps(Malicious(native.trace)),
        "huge": claiming_arrays(whole),
    }
    for name, content in files.items():
        fault = f"an array of {2**32 - 2} bytes, above" if name == "huge" else "unreadable npz"
        if native.expect("", f"{name}.npz", "pair", fault):
            (root / f"{name}.npz").write_bytes(content)
    if native.expect("", "loop.npz", "pair", "unreadable npz"):
        (root / "loop.npz").symlink_to(root / "loop.npz")
        (root / "sav_000/again").symlink_to(root)
    native.config = {"type": SavPairs.__name__, "root": str(root)}


def claiming_arrays(content: bytes) -> bytes:
    """A small npz whose list of contents speaks of 4 GB."""
    entry = content.index(b"PK\x01\x02")
    return content[: entry + 24] + struct.pack("<I", 2**32 - 2) + content[entry + 28 :]


def write_videos(native: NativeSet) -> None:
    root, numbers = native.root, itertools.count(2)
    pair, unseen = "masklet 0 frames 0 and 6", "pairs with a frame that does not show the object"
    shown = [[first, sav_masks()[0][1]] for first, _ in sav_masks()]
    for folder, kind in itertools.product(("", "видео é/"), ("manual", "auto")):
        write_sav(root / folder, kind=kind, masklet=shown)
        for masklet in (0, 1):
            native.expect(f"{folder}sav_000/sav_000001_{kind}.json#masklet {masklet} frames 0 and 6")
    native.config = {"type": SavVideos.__name__, "root": str(root)}
    if not native.faults:
        return

    def add(ending: str, record: str, fault: str, unseen_too: bool = True, **changes: Any) -> tuple[Path, Path]:
        """The json and the video of one more; the path is that of the file with this ending."""
        path = write_sav(root, name := f"sav_{next(numbers):06d}", **changes)
        native.expect("", f"sav_000/{name}{ending}", record, fault)
        if unseen_too:
            native.drop(unseen)
        return path, path.with_name(f"{name}.mp4")

    of_json, of_video = "_manual.json", ".mp4"
    for change in (lambda content: content[: len(content) // 2], lambda content: b""):
        path, _ = add(of_json, "file", "no annotation of SA-V", unseen_too=False)
        path.write_bytes(change(path.read_bytes()))
        _, video = add(of_video, pair, "unreadable video")
        video.write_bytes(change(video.read_bytes()))
    path, _ = add(of_json, "file", "unreadable", unseen_too=False)
    path.unlink()
    path.symlink_to(path)
    _, video = add(of_video, pair, "missing: no such file")
    video.unlink()
    _, video = add(of_video, pair, "missing: no such file")
    video.unlink()
    video.symlink_to(video)
    _, video = add(of_video, pair, "frame 24 of a video of 20 frames")
    write_video(video, [picture(1, (48, 64))] * 20)
    _, video = add(of_video, pair, HUGE)
    write_huge_video(video)
    _, video = add(of_json, pair, "frame 0: RLE of size [48, 64]")
    write_video(video, [picture(1)] * 25)
    for segmentation, fault in (
        (BAD_MASKS[0][0], "RLE of size [12, 16]"),
        (POLYGON, "a list, expected an RLE"),
        ({"size": [48, 64], "counts": "o"}, "RLE counts cannot be decoded"),
    ):
        masks = sav_masks()
        masks[0][0] = segmentation
        add(of_json, pair, fault, masklet=masks)
    masks = sav_masks()
    for frame in masks:
        frame[0] = encode_mask(np.zeros((48, 64), bool))
    write_sav(root, f"sav_{next(numbers):06d}", masklet=masks)
    native.dropped[unseen] += 2  # both of its masklets
    (root / "sav_000/again").symlink_to(root)


def write_huge_video(path: Path) -> None:
    """A small video whose frames speak of 100 megapixels."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=24)
        stream.width, stream.height, stream.pix_fmt = 10001, 10000, "yuvj420p"
        for number in range(25):
            packet = av.Packet(claiming(jpeg(picture(1))))
            packet.stream, packet.time_base = stream, Fraction(1, 24)
            packet.pts = packet.dts = number
            packet.is_keyframe = True
            container.mux(packet)


def write_shards(native: NativeSet, adapter: type = Sa1b, layout: str = "tar", text_key: str | None = None) -> None:
    """Layouts ``tar``, ``beside`` and ``apart``; one shard, or folder, holds all but what breaks a shard."""
    root, numbers = native.root, itertools.count(1)
    members: dict[str, bytes] = {}

    def place(number: int, name: str = "") -> tuple[str, str, str]:
        """How the errors name json and picture of a sample, and its member of a shard or file without suffix."""
        stem = f"{name}sa_{number}"
        if layout == "tar":
            return f"sa_000001.tar/{stem}.json", f"sa_000001.tar:{stem}.", stem
        if layout == "beside":
            return f"sa_000001/{stem}.json", f"sa_000001/{stem}.", f"sa_000001/{stem}"
        return f"{name}js/sa_{number}.json", f"{name}img/sa_{number}.", f"{name}js/sa_{number}"

    def write(stem: str, suffix: str, content: bytes) -> None:
        name = f"{stem}.{suffix}"
        if layout != "tar":
            write_files(root, {name.replace("js/sa_", "img/sa_") if suffix != "json" else name: content})
        else:
            members[name] = content

    texts = itertools.cycle(TEXTS)

    def annotated(number: int, segmentation: Any = None, size: tuple[int, int] = SIZE) -> dict[str, Any]:
        annotation = sa1b_annotation(number, box(2, 3, size=size), caption=next(texts))
        return annotation if segmentation is None else annotation | {"segmentation": segmentation}

    def content_of(annotations: list[dict[str, Any]]) -> bytes:
        image = {"image_id": 1, "width": SIZE[1], "height": SIZE[0], "file_name": "sa_1.jpg"}
        return json.dumps({"image": image, "annotations": annotations}).encode()

    whole = jpeg(picture(1))
    for file in pictures():
        number = next(numbers)
        folder = "папка é/" if "фото" in file.name else ""
        json_path, picture_path, stem = place(number, folder)
        suffix = file.name[-3:] if adapter is TarShards else "jpg"
        path, record, fault = picture_path + suffix, f"annotation {100 * number}", file.fault
        if file.content is None and layout == "tar":
            path, record, fault = "sa_000001.tar", stem, "no picture among its members: json"
        if native.expect(f"{json_path}#annotation {100 * number}", path, record, fault):
            write(stem, "json", content_of([annotated(100 * number, size=file.size)]))
            if file.content is not None:
                write(stem, suffix, file.content)

    number = next(numbers)
    json_path, picture_path, stem = place(number)
    annotations = []
    for position, (segmentation, fault) in enumerate(((None, None), (POLYGON, None), *BAD_MASKS)):
        path = json_path
        if fault and fault.startswith("RLE of size"):
            path, fault = f"{picture_path}jpg", "annotated as 16 x 12 px"
        if native.expect(f"{json_path}#annotation {position}", path, f"annotation {position}", fault):
            annotations.append(annotated(position, segmentation))
    if native.drop("of an id that their json has already"):
        annotations.append(annotated(0))
    if text_key and native.drop(f"without '{text_key}'"):
        annotations.append({**annotated(90), text_key: 5})
        annotations.append({**annotated(91), text_key: "\ud800"})
        native.expect("", json_path, "annotation 91", "text that is no Unicode")
    write(stem, "json", content_of(annotations))
    write(stem, "jpg", whole)

    for content in (content_of([annotated(1)])[:-9], b""):
        json_path, _, stem = place(next(numbers))
        if native.expect("", json_path, "json", "not JSON; cut off?"):
            write(stem, "json", content)
            write(stem, "jpg", whole)
    if layout == "tar":
        number = next(numbers)
        if native.expect("", "sa_000001.tar", f"sa_{number}", "no json among its members: jpg"):
            write(f"sa_{number}", "jpg", whole)
        write_odd_shards(native, whole, content_of([annotated(1)]), members)
    elif native.faults:
        write_links(native, layout, whole, content_of([annotated(1)]))
    native.config = {"type": adapter.__name__, "root": str(root), "text_key": text_key}


def write_odd_shards(native: NativeSet, photo: bytes, content: bytes, members: dict[str, bytes]) -> None:
    """The shard of ``members``, and shards that are broken."""
    root = native.root
    write_tar(root / "sa_000001.tar", members)
    if not native.faults:
        return
    # a tar's names are never paths that are written to or read from
    write_tar(root / "sa_000002.tar", {"../../sa_1.jpg": photo, "../../sa_1.json": content})
    native.expect("../sa_1.json#annotation 1")
    shard = write_tar(
        root / "sa_000003.tar", {"sa_1.jpg": photo, "sa_1.json": content, "sa_2.jpg": photo, "sa_2.json": content}
    )
    whole = shard.read_bytes()
    shard.write_bytes(whole[: whole.index(b"sa_2.json") + 520])
    native.expect("sa_000003.tar/sa_1.json#annotation 1")
    native.expect("", "sa_000003.tar", "sa_2.json", "cut off: 8 of")
    native.expect("", "sa_000003.tar", "shard", "not a whole uncompressed tar")
    (root / "sa_000004.tar").write_bytes(b"")
    native.expect("", "sa_000004.tar", "shard", "not a whole uncompressed tar")
    (root / "sa_000005.tar").symlink_to(root / "sa_000005.tar")
    native.expect("", "sa_000005.tar", "shard", "not a whole uncompressed tar")


def write_links(native: NativeSet, layout: str, photo: bytes, content: bytes) -> None:
    """Files and folders that are links to themselves."""
    jsons, photos = ("sa_000001", "sa_000001") if layout == "beside" else ("js", "img")
    write_files(native.root, {f"{jsons}/sa_901.json": content, f"{photos}/sa_902.jpg": photo})
    (native.root / jsons / "again").symlink_to(native.root)
    for name, record, fault in (
        (f"{photos}/sa_901.jpg", "annotation 1", "unreadable picture"),
        (f"{jsons}/sa_902.json", "json", "unreadable"),
    ):
        (native.root / name).symlink_to(native.root / name)
        native.expect("", name, record, fault)


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
    if native.drop("of a MaskPath that an earlier line has"):
        lines.append(open_images_line("half.png", "cmyk"))
    for line, fault in (
        ('"open.png,sound' + open_images_line("", ""), "no csv"),
        ('"m"x.png,sound' + open_images_line("", ""), "no csv"),
        ("cut.png,sound,/m/", "3 fields, and 10 columns"),
    ):
        if native.expect("", csv, f"line {len(lines) + 1}", fault):
            lines.append(line)
    if class_names:
        if native.drop("of a class without name"):
            lines.append(open_images_line("nameless.png", "sound", label="/m/0"))
        names = "LabelName,DisplayName\n/m/01g317,Person of <p> [SEG] é\n"
        (root / "oidv7-class-descriptions.csv").write_text(names, encoding="utf-8")
    (root / csv).write_text("\n".join(lines) + "\n", encoding="utf-8")
    native.config = {"type": OpenImages.__name__, "root": str(root), "class_names": class_names}


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
    bad_texts = (None, "text is a"), (" ", "empty text"), ("\ud800", "text that is no Unicode")
    records += [(described(text), fault) for text, fault in bad_texts]
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
    if native.drop("pictures that an earlier shard has already"):
        shard = write_tar(images / "00000001.tar", {"several.jpg": jpeg(picture(2)), "cut.jpg": jpeg(picture(3))})
        shard.write_bytes(shard.read_bytes()[:-9000])
        native.expect("", "SAM/images/00000001.tar", "shard", "not a whole uncompressed tar")
        (images / "00000002.tar").symlink_to(images / "00000002.tar")
        native.expect("", "SAM/images/00000002.tar", "shard", "not a whole uncompressed tar")
    (native.root / path).write_text(json.dumps(samples), encoding="utf-8")
    native.config = {"type": DescribeAnything.__name__, "root": str(native.root), "split": "SAM"}


class FaultySet(NamedTuple):
    """How a set is written into an empty folder, and what it trains."""

    kind: Kind
    write: Callable[[NativeSet], None]


SETS = {
    "CocoInstances": FaultySet("cycle", write_coco),
    "CocoInstances with text": FaultySet("caption", partial(write_coco, text_key="caption")),
    "ReferExpressions": FaultySet("refer", write_refer),
    "OwnData": FaultySet("cycle", write_own),
    "OwnData with text": FaultySet("refer", partial(write_own, text_required=True)),
    "SavPairs": FaultySet("cycle", write_pairs),
    "SavVideos": FaultySet("cycle", write_videos),
    "Sa1b tar": FaultySet("cycle", write_shards),
    "Sa1b beside": FaultySet("cycle", partial(write_shards, layout="beside")),
    "Sa1b apart": FaultySet("cycle", partial(write_shards, layout="apart")),
    "TarShards": FaultySet("caption", partial(write_shards, adapter=TarShards, text_key="caption")),
    "OpenImages": FaultySet("cycle", write_open_images),
    "OpenImages with text": FaultySet("refer", partial(write_open_images, class_names=True)),
    "DescribeAnything": FaultySet("caption", write_describe),
}


def write_set(name: str, root: Path, faults: bool = True) -> NativeSet:
    """One of ``SETS`` in a new folder."""
    root.mkdir(parents=True)
    native = NativeSet(root, faults)
    SETS[name].write(native)
    return native
