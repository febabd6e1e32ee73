"""Mutated files through every adapter: each sample is sound or one clear error; no crash, no hang, no code.

A new adapter joins by an entry in ``SETS``.
"""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import resource
import shutil
import signal
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from sa2va_native.datasets.adapters import (
    CocoInstances,
    DescribeAnything,
    OpenImages,
    OwnData,
    ReferExpressions,
    Sa1b,
    SavPairs,
    SavVideos,
    TarShards,
)
from sa2va_native.datasets.advice import ADVICE, advice_for
from sa2va_native.datasets.converters.convert import write_own_data
from sa2va_native.datasets.converters.labelme import LabelmeConverter
from sa2va_native.datasets.indexing.index import open_part
from sa2va_native.datasets.mixture import Adapter, MixtureDataset
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.datasets.transforms import SampleTransform
from sa2va_native.errors import BadSample, DataError
from sa2va_native.structures import Sample
from tests.sa2va_native.datasets.adapters.test_refer import Malicious
from tests.sa2va_native.datasets.native import (
    box,
    sa1b_annotation,
    sa1b_members,
    write_describe_anything,
    write_open_images,
    write_sa1b,
    write_sav,
    write_sav_pairs,
    write_tar,
)

#: Mutated sets in all; shared evenly by the adapters.
MUTATIONS = 3300
SECONDS_PER_ITEM = 20
MEMORY = 4 << 30
SIDE = 24
POLYGON = [[2, 2, 12, 2, 12, 12, 2, 12]]
TRANSFORM = SampleTransform(image_size=8, grounding_size=8, grid_size=2, mask_size=4)


class FuzzedSet(NamedTuple):
    """How to write a sound set into an empty folder, and to open it."""

    write: Callable[[Path], object]
    open: Callable[[Path], Adapter]
    one_file: bool = True  #: one annotation file for all: broken, it is the whole set that is refused
    made: tuple[str, ...] = ()  #: files that opening makes


def write_pictures(folder: Path) -> None:
    """Of each kind that is read: jpg, png, palette, 16 bits, CMYK, with alpha, turned by EXIF."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "0.jpg", exif=exif)
    image.save(folder / "1.png")
    image.quantize(16).save(folder / "2.png", transparency=3)
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(folder / "3.png")
    image.convert("CMYK").save(folder / "4.jpg")
    image.convert("RGBA").save(folder / "5.webp")


PICTURES = ("0.jpg", "1.png", "2.png", "3.png", "4.jpg", "5.webp")


def rle() -> dict[str, Any]:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[3:20, 5:15] = True
    return encode_mask(mask)


def coco_content() -> dict[str, Any]:
    counts = {"size": [SIDE, SIDE], "counts": [100, 200, SIDE**2 - 300]}
    images = [{"id": i, "file_name": name, "height": SIDE, "width": SIDE} for i, name in enumerate(PICTURES)]
    images[0]["next_image_id"] = 1
    masks = (POLYGON, POLYGON, rle(), counts, POLYGON, rle())
    keys = {"area": 100, "iscrowd": 0, "track_id": 1, "caption": "a box", "attributes": {"colour": "red"}}
    return {
        "images": images,
        "annotations": [{"id": i, "image_id": i, "segmentation": mask, **keys} for i, mask in enumerate(masks)],
    }


def write_coco(root: Path) -> None:
    write_pictures(root / "images")
    (root / "instances.json").write_text(json.dumps(coco_content()))


def write_refer(root: Path) -> None:
    write_coco(root)
    sentences = [
        {"sent_id": 7, "sent": "the left box", "tokens": ["the", "left", "box"]},
        {"sent_id": 8, "sent": "box"},
    ]
    refs = [{"ref_id": i, "ann_id": i, "image_id": i, "split": "train", "sentences": sentences} for i in range(6)]
    (root / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))


def write_own(root: Path) -> None:
    write_pictures(root / "images")
    Image.fromarray(np.eye(SIDE, dtype=bool)).save(root / "mask.png")
    masks: tuple[Any, ...] = (POLYGON, rle(), "mask.png", POLYGON, rle(), "mask.png")
    records = [
        {"image": f"images/{name}", "mask": mask, "text": "a"} for name, mask in zip(PICTURES, masks, strict=True)
    ]
    records[0] |= {"image2": "images/1.png", "mask2": "mask.png", "id": 5}
    (root / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def write_shards(root: Path) -> None:
    texts = [sa1b_annotation(number, box(2, 3 * number), caption="a box") for number in (1, 2)]
    write_tar(root / "a.tar", {**sa1b_members(1, texts), **sa1b_members(2, texts)})


def write_labelme(root: Path) -> None:
    """Every kind of shape; of the pictures one is moved beside its json and one inside it."""
    write_pictures(root / "images")
    png = io.BytesIO()
    Image.fromarray(np.eye(4, dtype=bool)).save(png, "PNG")
    kinds: dict[str, dict[str, Any]] = {
        "polygon": {"points": [[2, 2], [12, 2], [12, 12]], "description": "a box"},
        "rectangle": {"points": [[2, 2], [12, 12]], "group_id": 1},
        "oriented_rectangle": {"points": [[10, 2], [18, 10], [10, 18], [2, 10]]},
        "circle": {"points": [[9, 9], [9, 4]]},
        "mask": {"points": [[3, 3], [6, 6]], "mask": base64.b64encode(png.getvalue()).decode()},
        "line": {"points": [[3, 3], [6, 6]]},
    }
    shapes = [{"label": kind, "shape_type": kind, **shape} for kind, shape in kinds.items()]
    (root / "1.png").write_bytes((root / "images/1.png").read_bytes())
    embedded = base64.b64encode((root / "images/0.jpg").read_bytes()).decode()
    for name, picture, data in (("a", "images/2.png", None), ("b", "C:\\me\\1.png", None), ("c", "lost.jpg", embedded)):
        content = {"shapes": shapes, "imagePath": picture, "imageData": data, "imageHeight": SIDE, "imageWidth": SIDE}
        (root / f"{name}.json").write_text(json.dumps(content))


class LabelmeAlone(LabelmeConverter):
    """In this process."""

    parallel = False


def open_labelme(root: Path) -> OwnData:
    write_own_data(LabelmeAlone(root), root / "data.jsonl")
    return OwnData(root / "data.jsonl")


SETS = {
    "labelme": FuzzedSet(write_labelme, open_labelme, one_file=False, made=("data.jsonl*", "*.embedded.*")),
    "coco": FuzzedSet(write_coco, lambda root: CocoInstances(root / "instances.json", root / "images")),
    "coco with text": FuzzedSet(
        write_coco, lambda root: CocoInstances(root / "instances.json", root / "images", min_area=1, text_key="caption")
    ),
    "refer": FuzzedSet(write_refer, lambda root: ReferExpressions(root, "train")),
    "own": FuzzedSet(write_own, lambda root: OwnData(root / "data.jsonl")),
    "sav pairs": FuzzedSet(write_sav_pairs, SavPairs, one_file=False),
    "sav videos": FuzzedSet(write_sav, lambda root: SavVideos(root, frame_gap=3), one_file=False),
    "sa1b shards": FuzzedSet(
        lambda root: write_sa1b(root, "tar"), lambda root: Sa1b(root, max_area_share=0.9), one_file=False
    ),
    "sa1b files": FuzzedSet(
        lambda root: write_sa1b(root, "apart"), lambda root: Sa1b(root, min_predicted_iou=0.1), one_file=False
    ),
    "sa1b files in one folder": FuzzedSet(lambda root: write_sa1b(root, "beside"), Sa1b, one_file=False),
    "shards with text": FuzzedSet(write_shards, lambda root: TarShards(root, text_key="caption"), one_file=False),
    "describe anything": FuzzedSet(write_describe_anything, lambda root: DescribeAnything(root, "SAM")),
    "open images": FuzzedSet(write_open_images, lambda root: OpenImages(root, min_predicted_iou=0.1)),
}

#: What a value of a JSON file or of a pickle is replaced by.
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, 10**400, 1e308, float("nan"), float("inf")),
    *("", "x", "\ud800", "a\0b", "/etc/passwd", "../" * 9 + "etc/passwd", "images", "9" * 5000),
    *([], [[]], [None], [1, 2], {}, ["a" * 6]),
    *([[0, 0, 1e9, 0, 1e9, 1e9]], [[1, 1, 2, 2]], [[["a"] * 6]]),
    *({"size": [SIDE, SIDE], "counts": counts} for counts in ("0P", "ooooooooooooooooo0", "\x7f", [-1, SIDE**2 + 1])),
    {"size": [10**9, 10**9], "counts": [10**18]},
    # forms of masks, of numbers and of names that tools write
    *(
        POLYGON[0],
        [[2, 2], [12, 2], [12, 12]],
        [[[2, 2], [12, 2], [12, 12]]],
        [*POLYGON, [1, 1]],
        [*POLYGON, []],
        [[], []],
    ),
    *("0", "1", "24", "24.0", "nan", "true", [rle(), rle()], [rle(), *POLYGON], [rle(), {"size": [1, 1]}]),
    *(
        {"size": [str(SIDE), float(SIDE)], "counts": counts}
        for counts in ("100 200 276", "[100, 200, 276]", [100.0, "476"])
    ),
    *(
        {"size": [SIDE, SIDE], "counts": counts}
        for counts in ("b'0P'", "1 2", [float("nan")], [1.5], ["x"], {}, "9" * 5000)
    ),
    *({"type": "Polygon", "coordinates": POLYGON}, [POLYGON], [[[[1, 1]]]], [1, [2]], [POLYGON[0]] * 20_000),
    *(
        "https://x.org/images/1.png?a=b",
        "http://[",
        "s3://",
        "images\\1.png",
        "a\nERROR\x1b[2J\u202e.png",
        ["a text", "b"],
    ),
)


def mutate_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, empty, flipped, overwritten, doubled or with bytes taken out."""
    data = bytearray(content)
    place = int(rng.integers(len(data))) if data else 0
    match int(rng.integers(7)):
        case 0:
            return bytes(data[:place])
        case 1:
            return b""
        case 2:
            for at in rng.integers(len(data), size=int(rng.integers(1, 20))):
                data[at] ^= 1 << int(rng.integers(8))
        case 3:
            data[place : place + int(rng.integers(1, 64))] = rng.bytes(int(rng.integers(1, 64)))
        case 4:
            del data[place : place + int(rng.integers(1, 64))]
        case 5:
            data[place:place] = data[: int(rng.integers(len(data) + 1))]
        case _:  # headers and tables lie in front
            data[int(rng.integers(min(60, len(data))))] = int(rng.integers(256))
    return bytes(data)


def mutate_value(value: Any, rng: np.random.Generator) -> Any:
    """One value somewhere inside, replaced, taken out, or doubled."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    if not inner or rng.random() < 0.1:
        return ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
    key, chosen = inner[int(rng.integers(len(inner)))]
    copied = value.copy()
    draw = rng.random()
    if draw < 0.1:
        del copied[key]
    elif draw < 0.2 and isinstance(copied, list):
        copied.append(chosen)
    else:
        copied[key] = mutate_value(chosen, rng)
    return copied


def mutate_file(path: Path, trace: Path, rng: np.random.Generator) -> None:
    """Bytes of any file; of an annotation file as often one of its values; of a pickle sometimes code."""
    draw = rng.random()
    if path.suffix == ".p" and draw < 0.2:
        path.write_bytes(pickle.dumps([Malicious(trace)], int(rng.integers(6))))
    elif path.suffix == ".p" and draw < 0.6:
        path.write_bytes(pickle.dumps(mutate_value(pickle.loads(path.read_bytes()), rng), int(rng.integers(6))))
    elif path.suffix == ".json" and draw < 0.7:
        path.write_text(json.dumps(mutate_value(json.loads(path.read_text()), rng)))
    elif path.suffix == ".jsonl" and draw < 0.7:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        changed = mutate_value(lines, rng)
        path.write_text(
            "".join(json.dumps(line) + "\n" for line in (changed if isinstance(changed, list) else [changed]))
        )
    elif draw > 0.93:
        path.unlink()
        HARMFUL[int(rng.integers(len(HARMFUL)))](path)
    else:
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))


def pipe_link(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 42)


#: What a file is replaced by.
HARMFUL: tuple[Callable[[Path], object], ...] = (
    lambda path: None,
    lambda path: path.symlink_to(path),
    *(lambda path, to=to: path.symlink_to(to) for to in ("/etc/passwd", "/dev/zero", "/", ".", "nowhere")),
    os.mkfifo,
    pipe_link,
    sparse,
    Path.mkdir,
)


def mutate_index(root: Path, rng: np.random.Generator) -> None:
    """Bytes of a file of the index, or a value of its list."""
    open_part.cache_clear()
    files = sorted(path for path in (root / ".index").iterdir() if path.suffix in (".json", ".arrow"))
    chosen = files[int(rng.integers(len(files)))]
    if chosen.suffix == ".json" and rng.random() < 0.7:
        chosen.write_text(json.dumps(mutate_value(json.loads(chosen.read_text()), rng)))
    else:
        chosen.write_bytes(mutate_bytes(chosen.read_bytes(), rng))


class Hang(BaseException):
    """Not an ``Exception``, so that no handler takes it for a broken picture."""


@contextmanager
def limited() -> Iterator[None]:
    """At most so many seconds, and so much more memory than now."""

    def stop(*_: object) -> None:
        raise Hang

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits, handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    signal.alarm(SECONDS_PER_ITEM)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def refusal(read: Callable[[], Any], root: Path) -> tuple[Any, DataError | None]:
    """What ``read`` gives, or the error that it is refused with; whatever else is raised passes up."""
    error = None
    try:
        with limited():
            return read(), None
    except DataError as refused:
        error = refused
    assert str(root) in str(error), "the file is not named"
    str(error).encode()  # can be shown
    return None, error


def look(fuzzed: FuzzedSet, root: Path, outcomes: Counter[str]) -> None:
    """Open a set and read all of it: sample by sample, then through a mixture, which reports."""
    adapter, error = refusal(lambda: fuzzed.open(root), root)
    assert not isinstance(error, BadSample), "a bad sample ends the run before it began"
    if error is not None:
        outcomes["set refused"] += 1
        return
    bad = set()
    for index in range(len(adapter)):
        if hasattr(adapter, "area_share"):
            assert isinstance(adapter.area_share(index), float)
        sample, error = refusal(lambda index=index: adapter[index], root)
        if error is None:
            check_sound(sample)
        else:
            assert isinstance(error, BadSample), "one record ends the run"
            assert error.record
            assert advice_for(error.reason) in ADVICE, f"no advice for: {error.reason}"
            bad.add((error.path, error.record, error.reason))
        outcomes["sound" if error is None else "sample refused"] += 1
    assert reported(adapter, root.parent / "bad_samples.jsonl") == bad, "every bad sample is named, and nothing else"


def check_sound(sample: Sample) -> None:
    for image, mask in ((sample.image, sample.mask), (sample.image2, sample.mask2)):
        if image is not None or mask is not None:
            assert image is not None
            assert mask is not None
            assert (image.dtype, mask.dtype) == (np.uint8, bool)
            assert image.shape == (*mask.shape, 3)
            assert mask.any()
    if sample.text is not None:
        assert sample.text.encode().strip()


def reported(adapter: Adapter, report: Path) -> set[tuple[str, str, str]]:
    """The bad samples that a mixture names while every item is asked for."""
    report.unlink(missing_ok=True)
    source = {"kind": "cycle", "dataset": adapter}
    mixture = MixtureDataset([source], TRANSFORM, max_bad_samples=len(adapter), report_file=report)
    for index in range(len(mixture)):
        with suppress(DataError):  # nothing usable is left
            mixture[index]
    lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    return {(line["path"], line["record"], line["reason"]) for line in lines if "path" in line}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SETS)
def test_mutated_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    """Red when a mutated file crashes an adapter, holds it up, runs code, or is lost without a report."""
    fuzzed, outcomes, trace = SETS[name], Counter[str](), tmp_path / "trace"
    sound = tmp_path / "sound"
    sound.mkdir()
    fuzzed.write(sound)
    look(fuzzed, sound, outcomes)
    assert set(outcomes) == {"sound"}, "the set is sound before it is mutated"
    for number in range(-(-MUTATIONS // len(SETS))):
        rng = np.random.default_rng((zlib.crc32(name.encode()), number))
        root = tmp_path / "set"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(sound, root, ignore=shutil.ignore_patterns(".index", *fuzzed.made))
        files = sorted(path for path in root.rglob("*") if path.is_file())
        annotations = [path for path in files if path.parent == root]
        chosen = annotations if annotations and rng.random() < 0.6 else files
        if (sound / ".index").is_dir() and rng.random() < 0.25:
            fuzzed.open(root)
            mutate_index(root, rng)
        else:
            mutate_file(chosen[int(rng.integers(len(chosen)))], trace, rng)
        try:
            look(fuzzed, root, outcomes)
        except BaseException as error:
            error.add_note(f"mutation {number} of '{name}'")
            raise
        assert not trace.exists(), f"mutation {number} of '{name}' ran code"
    expected = ("sound", "sample refused", "set refused") if fuzzed.one_file else ("sound", "sample refused")
    assert all(outcomes[kind] for kind in expected), outcomes
    print(dict(outcomes))
