#!/usr/bin/env python3
"""Where the time of a cycle step goes: milliseconds of each part and its share of the whole; on CUDA, memory too.

Pictures are noise with one region each, at the config's sizes: no data set is needed.

python benchmarks/step_parts.py                                    # the tiny model on one CPU thread
python benchmarks/step_parts.py configs/pseudo_gumbel_4b.py --device cuda --dtype bfloat16 --batch-size 1
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from sa2va_native.files.paths import ROOT
from sa2va_native.structures import Batch, DrawKey, Side

TINY = str(ROOT / "configs/pseudo_gumbel_tiny.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default=TINY)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument(
        "--repeats", type=int, default=10, help="repetitions, after two for warm-up (default: %(default)s)"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    args = parser.parse_args()
    torch.set_num_threads(1)

    config = Config.fromfile(args.config)
    config.model.sa2va.update(dtype=args.dtype)
    if args.config != TINY:
        config.model.sa2va.weights = None
    with torch.device(args.device):
        model = MODELS.build(config.model).train()
    batch = noise(model.student, args.batch_size, args.device)
    times: dict[str, list[float]] = {}

    def timed(name: str, part: Callable[[], Any]) -> Any:
        synchronise(args.device)
        start = time.perf_counter()
        result = part()
        synchronise(args.device)
        times.setdefault(name, []).append(time.perf_counter() - start)
        return result

    for _ in range(args.repeats + 2):
        step(model, batch, timed)
    medians = {name: statistics.median(values[2:]) for name, values in times.items()}
    whole = sum(medians.values())
    for name, seconds in medians.items():
        print(f"{name:<28} {1000 * seconds:8.1f} ms  {seconds / whole:6.1%}")
    print(f"{'one micro-batch':<28} {1000 * whole:8.1f} ms  batch {args.batch_size}, {args.device}, {args.dtype}")
    if args.device.startswith("cuda"):
        print(
            f"{'peak memory':<28} {torch.cuda.max_memory_allocated() / 2**30:8.1f} GiB, without optimizer and teacher"
        )


def noise(student: Any, batch_size: int, device: str) -> Batch:
    """Two frames of noise per sample, with an object over a quarter of each."""

    def side() -> Side:
        picture, grounding = student.mllm.image_size, student.grounding.image_size
        grid, mask = student.mllm.grid_size, student.grounding.mask_size
        region, object_mask = torch.zeros(batch_size, grid, grid), torch.zeros(batch_size, mask, mask)
        region[:, : grid // 2, : grid // 2] = 1
        object_mask[:, : mask // 2, : mask // 2] = 1
        pictures = (torch.randint(256, (batch_size, 3, size, size), dtype=torch.uint8) for size in (picture, grounding))
        return Side(*(tensor.to(device) for tensor in (*pictures, region.bool(), object_mask)))

    keys = [DrawKey(0, i) for i in range(batch_size)]
    rows = [[None] * batch_size, keys, [""] * batch_size, [{}] * batch_size, [""] * batch_size]
    return Batch("cycle", side(), side(), *rows, gt_masks=[])


def step(model: Any, batch: Any, timed: Callable[[str, Callable[[], Any]], Any]) -> None:
    """The cycle as in ``PseudoGumbel.cycle_loss``, part by part."""
    cycle = timed("0 encode pictures", lambda: model.begin(batch))
    cycle.captions = timed("1 teacher captions", lambda: model.teacher_captions(cycle.pictures1, cycle.side1.region))
    cycle.corrupted = timed("2 corrupt", lambda: model.corrupt(cycle.captions, batch))
    cycle.logits = timed("3 student logits", lambda: model.student_logits(cycle))
    cycle.words = timed("4 words", lambda: model.estimator.words(cycle))
    cycle.text_embeds, cycle.mask_logits = timed("5 mask from words", lambda: model.read(cycle))
    cycle.costs = timed("6 costs", lambda: model.mask_costs(cycle))
    losses = timed("6 losses", lambda: model.estimator.losses(cycle))
    timed("backward", lambda: sum(loss for name, loss in losses.items() if "loss" in name).backward())
    model.zero_grad(set_to_none=True)


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
