"""Generated scenes in the native layout of each large set: to look at where the sets themselves may not be shipped."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.datasets.scenes.language import SHAPES
from sa2va_native.datasets.scenes.scene import Frame, Scene, SceneObject, make_scene
from tests.sa2va_native.datasets.native import (
    OPEN_IMAGES_HEADER,
    jpeg,
    sa1b_annotation,
    sa1b_members,
    write_files,
    write_png,
    write_sav,
    write_tar,
    write_video,
)

SIDE = 256
VIDEO_FRAMES, EVERY = 25, 4


def scenes(count: int, first: int, split: str = "mask_only") -> list[Scene]:
    """Of three to four objects each; other ones for another ``first``."""
    return [make_scene(0, split, first + i, side=SIDE, max_objects=4) for i in range(count)]


def at(scene: Scene, share: float) -> Frame:
    """The scene on its way from the first (0) to the second frame (1)."""

    def between(start: float, end: float) -> float:
        return start + share * (end - start)

    def moved(start: SceneObject, end: SceneObject) -> SceneObject:
        pose = {name: between(getattr(start, name), getattr(end, name)) for name in ("x", "y", "area", "angle")}
        return dataclasses.replace(start, **pose)

    objects = tuple(moved(*pair) for pair in zip(scene.objects, scene.moved, strict=True))
    dx, dy = (round(share * shift) for shift in scene.pan)
    return dataclasses.replace(scene, moved=objects, pan=(dx, dy)).render(2)


def write_sav_videos(root: Path, count: int = 6, first: int = 90) -> Path:
    """A second of video each; every fourth frame is annotated."""
    for number, scene in enumerate(scenes(count, first)):
        frames = [at(scene, i / (VIDEO_FRAMES - 1)) for i in range(VIDEO_FRAMES)]
        video = f"sav_{number:06d}"
        write_video(root / video[:7] / f"{video}.mp4", [frame.image for frame in frames])
        objects = len(scene.objects)
        write_sav(
            root,
            video,
            video_height=float(SIDE),
            video_width=float(SIDE),
            masklet=[[encode_mask(mask) for mask in frame.masks] for frame in frames[::EVERY]],
            masklet_id=list(range(objects)),
            masklet_frame_count=[len(frames[::EVERY])] * objects,
            masklet_type=["manual"] * objects,
            masklet_num=objects,
        )
    return root


def write_sa1b_shard(root: Path, count: int = 8, first: int = 100) -> Path:
    """One official shard."""
    members: dict[str, bytes] = {}
    for number, scene in enumerate(scenes(count, first), start=1):
        frame = scene.render()
        annotations = [sa1b_annotation(100 * number + i, mask) for i, mask in enumerate(frame.masks)]
        members |= {f"./{name}": data for name, data in sa1b_members(number, annotations, frame.image).items()}
    write_tar(root / "sa_000000.tar", members)
    return root


def write_shards(root: Path, count: int = 8, first: int = 200) -> Path:
    """Shards of one's own: the json of SA-1B, and a caption."""
    for number, scene in enumerate(scenes(count, first), start=1):
        frame = scene.render()
        pairs = zip(frame.masks, scene.expressions, strict=True)
        annotations = [sa1b_annotation(i, mask, caption=texts[0]) for i, (mask, texts) in enumerate(pairs)]
        write_tar(root / f"shard_{number:04d}.tar", sa1b_members(number, annotations, frame.image))
    return root


def write_open_images_set(root: Path, count: int = 8, first: int = 300) -> Path:
    """Masks of half the size of their photograph, as they often are, and the names of the classes."""
    lines = [OPEN_IMAGES_HEADER]
    for number, scene in enumerate(scenes(count, first)):
        image, frame = f"{number:016x}", scene.render()
        write_files(root / "images/train", {f"{image}.jpg": jpeg(frame.image)})
        for i, (mask, item) in enumerate(zip(frame.masks, scene.objects, strict=True)):
            rows, columns = np.nonzero(mask)
            left, right, top, bottom = (
                edge / SIDE for edge in (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1)
            )
            name = f"{image}_m0{SHAPES.index(item.shape)}_{i:08x}.png"
            half = Image.fromarray(mask).resize((SIDE // 2, SIDE // 2), Image.Resampling.NEAREST)
            write_png(root / "masks/train" / name, np.asarray(half))
            label = f"/m/0{SHAPES.index(item.shape)}"
            lines.append(f"{name},{image},{label},{i:08x},{left:.6f},{right:.6f},{top:.6f},{bottom:.6f},0.9,0.5 0.5 1")
    (root / "train-annotations-object-segmentation.csv").write_text("\n".join(lines) + "\n")
    classes = [f"/m/0{number},{name.title()}" for number, name in enumerate(SHAPES)]
    (root / "oidv7-class-descriptions.csv").write_text("\n".join(["LabelName,DisplayName", *classes]) + "\n")
    return root


def write_described(root: Path, count: int = 8, first: int = 400) -> Path:
    """One split in two shards; the text is the true caption and where the object lies."""
    samples: dict[str, list[dict[str, Any]]] = {}
    members: dict[str, bytes] = {}
    for number, scene in enumerate(scenes(count, first)):
        frame = scene.render()
        members[f"{number:012d}.jpg"] = jpeg(frame.image)
        samples[f"{number:012d}"] = [
            {"caption": f"{item.caption.capitalize()}, {where(item)} of the picture.", "mask_rle": encode_mask(mask)}
            for item, mask in zip(scene.objects, frame.masks, strict=True)
        ]
    names = list(members)
    for shard, chosen in enumerate((names[::2], names[1::2])):
        write_tar(root / f"COCOStuff/images/{shard:08d}.tar", {name: members[name] for name in chosen})
    (root / "COCOStuff/annotations.json").write_text(json.dumps(samples))
    return root


def where(item: SceneObject) -> str:
    third = ("left", "middle", "right")[min(int(3 * item.x), 2)]
    height = ("upper", "", "lower")[min(int(3 * item.y), 2)]
    return f"in the {height} {third}".replace("  ", " ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="a new folder")
    out: Path = parser.parse_args().out
    write_sav_videos(out / "sav_videos")
    write_sa1b_shard(out / "sa1b")
    write_open_images_set(out / "openimages")
    write_described(out / "describe_anything")
    write_shards(out / "shards")
    print(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


if __name__ == "__main__":
    main()
