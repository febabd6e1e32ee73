"""SA-V, pair files and videos, with each fault."""

from __future__ import annotations

import itertools
import pickle
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from sa2va_native.datasets.adapters.sav_pairs import SavPairs
from sa2va_native.datasets.adapters.sav_videos import SavVideos
from sa2va_native.datasets.reading.mask_codec import encode_mask
from tests.sa2va_native.datasets.adapters.test_refer import Malicious
from tests.sa2va_native.datasets.faults.common import BAD_MASKS, HUGE, POLYGON, NativeSet, claiming
from tests.sa2va_native.datasets.native import SIZE, box, jpeg, picture, sav_masks, write_pair, write_sav, write_video


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
        path, _ = add(of_json, "file", "not an annotation of SA-V", unseen_too=False)
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
