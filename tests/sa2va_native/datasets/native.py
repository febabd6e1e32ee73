"""Writes small sets in the exact layout that each of the large ones has."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sa2va_native.datasets.reading.mask_codec import encode_mask

SIZE = (24, 32)  #: height, width


def picture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """uint8 (H, W, 3): smooth, so that JPEG and video keep it nearly as it is."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width]
    planes = [20 * seed + 100 * y / height, 60 + 10 * seed + 100 * x / width, 50 + 50 * (x + y) / (width + height)]
    return np.stack(planes, axis=2).clip(0, 255).astype(np.uint8)


def box(top: int, left: int, height: int = 10, width: int = 12, size: tuple[int, int] = SIZE) -> np.ndarray:
    """bool (H, W): a rectangle; empty with ``height=0``."""
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def write_pair(path: Path, seed: int = 1, **arrays: Any) -> dict[str, np.ndarray]:
    """A SA-V pair file; ``arrays`` stand in for its own, None leaves one out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {
        "frame1": picture(seed),
        "mask1": box(2, 3),
        "frame2": picture(seed + 1),
        "mask2": box(4, 6),
    }
    written = {name: array for name, array in {**own, **arrays}.items() if array is not None}
    np.savez(path, **written)
    return own


def write_sav_pairs(root: Path) -> Path:
    """Three good pairs in folders of different depth."""
    for number, folder in enumerate((".", "sav_000", "sav_001/deep")):
        write_pair(root / folder / f"masklet_data_{number}.npz", seed=number)
    return root


def jpeg(pixels: np.ndarray) -> bytes:
    """A JPEG of best quality."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=100, subsampling=0)
    return file.getvalue()


def sa1b_annotation(number: int, mask: np.ndarray, **more: Any) -> dict[str, Any]:
    """One annotation as SA-1B has it."""
    rows, columns = np.nonzero(mask) if mask.any() else (np.zeros(1), np.zeros(1))
    return {
        "bbox": [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1],
        "area": int(mask.sum()),
        "segmentation": encode_mask(mask),
        "predicted_iou": 0.95,
        "point_coords": [[float(columns.mean()), float(rows.mean())]],
        "crop_box": [0, 0, mask.shape[1], mask.shape[0]],
        "id": number,
        "stability_score": 0.97,
        **more,
    }


def sa1b_members(
    image_id: int, annotations: list[dict[str, Any]] | None = None, pixels: np.ndarray | None = None
) -> dict[str, bytes]:
    """``sa_{id}.jpg`` and ``sa_{id}.json``; ``picture(id)`` and two annotations unless others are given."""
    pixels = picture(image_id) if pixels is None else pixels
    if annotations is None:
        annotations = [
            sa1b_annotation(100 * image_id, box(2, 3)),
            sa1b_annotation(100 * image_id + 1, box(5, 8, 15, 20), predicted_iou=0.8, stability_score=0.9),
        ]
    image = {
        "image_id": image_id,
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "file_name": f"sa_{image_id}.jpg",
    }
    content = json.dumps({"image": image, "annotations": annotations}).encode()
    return {f"sa_{image_id}.jpg": jpeg(pixels), f"sa_{image_id}.json": content}


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """A plain tar; names as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def coco_folders(root: Path, sets: dict[str, str]) -> Path:
    """The folders of COCO, with empty files: name of a set -> folder of its pictures."""
    (root / "annotations").mkdir(parents=True)
    for name, pictures in sets.items():
        (root / "annotations" / f"instances_{name}.json").write_text("{}")
        (root / pictures).mkdir(parents=True, exist_ok=True)
    return root


def write_sa1b(root: Path, layout: str) -> Path:
    """Pictures 1, 2 and 3 with two annotations each, in one of the three layouts: ``tar``, ``beside``, ``apart``."""
    for image_id in (1, 2, 3):
        members = sa1b_members(image_id)
        if layout == "tar":
            shard = root / f"sa_00000{image_id % 2}.tar"
            if image_id == 1:
                members = {**members, **sa1b_members(3)}
            if image_id != 3:
                write_tar(shard, {f"./{name}": content for name, content in members.items()})
        elif layout == "beside":
            write_files(root / f"sa_00000{image_id % 2}", members)
        else:
            folders = {"jpg": "img", "json": "js"}
            write_files(root, {f"{folders[name.split('.')[1]]}/{name}": data for name, data in members.items()})
    return root


OPEN_IMAGES_HEADER = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"


def open_images_line(mask: str, image: str, label: str = "/m/01g317", box_side: float = 0.5, iou: float = 0.9) -> str:
    """One line of the csv, with a box from 0 to ``box_side`` in both directions."""
    return f"{mask},{image},{label},b1,0.0,{box_side},0.0,{box_side},{iou},0.1 0.2 1;0.3 0.4 0"


def write_png(path: Path, pixels: np.ndarray) -> Path:
    """bool as a 1-bit PNG, as Open Images has them; uint8 as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = (
        Image.fromarray(pixels.astype(np.uint8) * 255).convert("1") if pixels.dtype == bool else Image.fromarray(pixels)
    )
    shown.save(path)
    return path


def write_open_images(root: Path, lines: list[str] | None = None, header: str = OPEN_IMAGES_HEADER) -> Path:
    """Photo ``p1`` with masks ``m1.png`` (of its size) and ``m2.png`` (half of it), and ``p2`` with ``m3.png``."""
    for number in (1, 2):
        write_files(root / "images/train", {f"p{number}.jpg": jpeg(picture(number))})
    write_png(root / "masks/train/m1.png", box(2, 3))
    write_png(root / "masks/train/m2.png", box(1, 2, 5, 6, size=(12, 16)))
    write_png(root / "masks/train/m3.png", box(9, 9))
    if lines is None:
        lines = [
            open_images_line("m1.png", "p1"),
            open_images_line("m2.png", "p1", label="/m/0bt9lr", iou=0.7),
            open_images_line("m3.png", "p2", label="/m/04rmv", box_side=0.1),
        ]
    (root / "train-annotations-object-segmentation.csv").write_text("\n".join([header, *lines]) + "\n")
    return root


def write_describe_anything(root: Path, split: str = "SAM", **more: Any) -> Path:
    """Sample ``a`` with two masks in one shard, ``b`` with one in the other, and a pickle that nobody opens.

    Args:
        more: further samples of the json, or other ones.
    """

    def described(caption: str, mask: np.ndarray) -> dict[str, Any]:
        return {"caption": caption, "mask_rle": encode_mask(mask)}

    samples = {
        "a": [described("A grey box.", box(2, 3)), described("A wide box,\nlow in the picture.", box(5, 8, 15, 20))],
        "b": described("A box in the corner.", box(0, 0)),
        **more,
    }
    first = {"a.jpg": jpeg(picture(1)), "a.pickle": b"."}
    write_tar(root / split / "images/00000000.tar", first)
    write_tar(root / split / "images/00000001.tar", {"./b.0.jpg": jpeg(picture(2)), "./b.1.jpg": jpeg(picture(3))})
    (root / split / "annotations.json").write_text(json.dumps(samples))
    return root


def write_video(path: Path, pictures: list[np.ndarray], key_every: int = 12, codec: str = "libx264") -> Path:
    """An mp4 of 24 frames a second, with a key frame every ``key_every`` and frames that refer to later ones."""
    av = pytest.importorskip("av", reason="PyAV is an extra: pip install -r requirements/video.txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = key_every
        stream.options = {"crf": "4", "bf": "2"}
        for pixels in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def mark_as_turned(path: Path) -> Path:
    """Write into an mp4's track header that its pictures are to be shown turned by 90 degrees, clockwise.

    The matrix a, b, u, c, d, v, x, y, w of ISO/IEC 14496-12 takes a point (p, q) to (ap + cq + x, bp + dq + y).
    """
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8  # version and flags, times and ids, reserved, layer and volume
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def hide_first_frames(path: Path, count: int) -> Path:
    """Write into an mp4's edit list that it is to be shown from a later frame on (ISO/IEC 14496-12, ``elst``)."""
    av = pytest.importorskip("av", reason="PyAV is an extra: pip install -r requirements/video.txt")
    content = bytearray(path.read_bytes())
    entry = content.index(b"elst") + 4 + 4 + 4  # version and flags, number of entries
    duration, start, rate = struct.unpack(">IiI", content[entry : entry + 12])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        ticks = round(1 / (stream.average_rate * stream.time_base))
    content[entry : entry + 12] = struct.pack(">IiI", duration, start + count * ticks, rate)
    path.write_bytes(content)
    return path


VIDEO_SIZE = (48, 64)


def video_picture(number: int) -> np.ndarray:
    """Frame ``number`` of a written video: its grey level tells which it is."""
    return np.full((*VIDEO_SIZE, 3), 20 + 4 * number, np.uint8)


def sav_masks(frames: int = 7) -> list[list[dict[str, Any]]]:
    """Two masklets: one that moves right by a pixel a frame, and one that frames 0 to 3 show."""
    first = [box(4, 5 + frame, 20, 16, size=VIDEO_SIZE) for frame in range(frames)]
    second = [box(30, 40, 8 if frame < 4 else 0, 10, size=VIDEO_SIZE) for frame in range(frames)]
    return [[encode_mask(one), encode_mask(two)] for one, two in zip(first, second, strict=True)]


def write_sav(root: Path, video_id: str = "sav_000001", kind: str = "manual", **changes: Any) -> Path:
    """A video of 25 frames and the json of 7 annotated ones; ``changes`` stand in for keys of the json."""
    folder = root / video_id[:7]
    if not (folder / f"{video_id}.mp4").exists():
        write_video(folder / f"{video_id}.mp4", [video_picture(number) for number in range(25)])
    masks = sav_masks()
    content = {
        "video_id": video_id,
        "video_duration": 25 / 24,
        "video_frame_count": 25.0,
        "video_height": float(VIDEO_SIZE[0]),
        "video_width": float(VIDEO_SIZE[1]),
        "video_split": "train",
        "masklet": masks,
        "masklet_id": [0, 1],
        "masklet_frame_count": [7, 7],
        "masklet_type": [kind, kind],
        "masklet_num": 2,
        **changes,
    }
    path = folder / f"{video_id}_{kind}.json"
    path.write_text(json.dumps(content))
    return path
