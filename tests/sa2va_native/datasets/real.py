"""Small real sets in their native layouts: what lies in the folder of real data, and what it lacks, generated."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np

from tests.sa2va_native.datasets.native import write_video


def expressions(realdata: Path) -> list[dict]:
    """Human expressions for masks of tiny_coco: ``image``, ``image_id``, ``expression`` and ``ann_id`` of each."""
    return json.loads((realdata / "refcocos/join_tiny_coco_val2017.json").read_text())


def write_refer(realdata: Path, folder: Path) -> dict:
    """Them as a REFER set, and the config of its adapter."""
    coco = realdata / "tiny_coco"
    folder.mkdir(parents=True)
    shutil.copy(coco / "annotations/instances_val2017.json", folder / "instances.json")
    refs = [
        {
            "ref_id": number,
            "ann_id": one["ann_id"],
            "image_id": one["image_id"],
            "split": "train",
            "sentences": [{"sent_id": number, "sent": one["expression"], "raw": one["expression"], "tokens": []}],
        }
        for number, one in enumerate(expressions(realdata))
    ]
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    return {"type": "ReferExpressions", "root": str(folder), "split": "train", "image_root": str(coco / "val2017")}


def write_sav(realdata: Path, folder: Path) -> Path:
    """Real annotations of SA-V, and a video of their size and length: the grey level of a frame tells which it is."""
    (folder / "sav_000").mkdir(parents=True)
    for kind in ("manual", "auto"):
        shutil.copy(realdata / f"sav_example/sav_000001_{kind}.json", folder / "sav_000")
    content = json.loads((folder / "sav_000/sav_000001_manual.json").read_text())
    size = int(content["video_height"]), int(content["video_width"])
    levels = {level: np.full((*size, 3), level, np.uint8) for level in map(grey_level, range(64))}
    frames = [levels[grey_level(number)] for number in range(int(content["video_frame_count"]))]
    write_video(folder / "sav_000/sav_000001.mp4", frames)
    return folder


def grey_level(frame: int) -> int:
    """Of a frame of the generated video; those of 64 frames in a row differ by 3 and more."""
    return 20 + 3 * (frame % 64)
