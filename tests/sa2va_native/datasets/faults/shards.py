"""SA-1B in its layouts, and other shards, with each fault."""

from __future__ import annotations

import itertools
import json
from typing import Any

from sa2va_native.datasets.adapters.sa1b import Sa1b
from sa2va_native.datasets.adapters.tar_shards import TarShards
from tests.sa2va_native.datasets.faults.common import BAD_MASKS, BAD_TEXTS, POLYGON, TEXTS, NativeSet, pictures
from tests.sa2va_native.datasets.native import SIZE, box, jpeg, picture, sa1b_annotation, write_files, write_tar


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
    if native.drop("with an id that their json already has"):
        annotations.append(annotated(0))
    if text_key and native.drop(f"without '{text_key}'"):
        annotations.append({**annotated(90), text_key: 5})
        for position, (text, fault) in enumerate(BAD_TEXTS[-2:], start=91):
            annotations.append({**annotated(position), text_key: text})
            native.expect("", json_path, f"annotation {position}", fault)
    write(stem, "json", content_of(annotations))
    write(stem, "jpg", whole)

    for content in (content_of([annotated(1)])[:-9], b""):
        json_path, _, stem = place(next(numbers))
        if native.expect("", json_path, "json", "not JSON; truncated?"):
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
    native.expect("", "sa_000003.tar", "sa_2.json", "truncated: 8 of")
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
