#!/usr/bin/env python3
"""How much faster each captioner is than the method's, and how many of its captions are the same.

Pictures are noise, and so are the adapters, as untrained ones are 0: ``--adapters`` is the standard deviation of B. The
captioners take turns.

python benchmarks/captioners.py                                           # the tiny model on one CPU thread
python benchmarks/captioners.py --dtype bfloat16
python benchmarks/captioners.py configs/pseudo_gumbel_4b.py --device cuda --dtype bfloat16 --batch 4
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

import torch

from benchmarks.train_step import TINY, build, noise, synchronise
from pseudo_gumbel.captioners import MergedTeacherCaptioner, StaticTeacherCaptioner, TeacherCaptioner
from sa2va_native.models.adapters import lora_layers

METHOD = TeacherCaptioner
OTHERS = (MergedTeacherCaptioner, StaticTeacherCaptioner)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default=TINY)
    parser.add_argument("--batch", type=int, default=4, help="regions at once (default: %(default)s)")
    parser.add_argument("--tokens", type=int, help="longest caption (default: the config's)")
    parser.add_argument("--adapters", type=float, default=0.02, help="size of LoRA's B (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=4, help="batches, after one for warm-up (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = build(args, None).eval()
    draw = torch.Generator(args.device).manual_seed(0)
    for layer in lora_layers(model):
        for inner in layer.lora_B.values():
            inner.weight.data.normal_(std=args.adapters, generator=draw)
    clock = time.process_time if args.device == "cpu" else time.perf_counter
    captioners = {kind.__name__: kind() for kind in (METHOD, *OTHERS)}
    seconds: dict[str, list[float]] = {name: [] for name in captioners}
    said: dict[str, list[list[int]]] = {name: [] for name in captioners}
    for turn in range(args.repeats + 1):
        batch = noise(model.student, args.batch, args.device, frames=1, seed=turn)
        pictures = model.student.encode_pictures(batch.caption_side, grounding=False)
        for name, captioner in captioners.items():
            synchronise(args.device)
            start = clock()
            captions = captioner(model, pictures, batch.caption_side.region).ids
            synchronise(args.device)
            seconds[name].append(clock() - start)
            said[name] += [ids.tolist() for ids in captions]
    medians = {name: statistics.median(values[1:] or values) for name, values in seconds.items()}
    print(f"{'':<24}{'s a batch':>10}{'gain':>7}{'equal captions':>16}{'tokens before they differ':>27}")
    expected, usual = said[METHOD.__name__], medians[METHOD.__name__]
    for name, value in medians.items():
        equal = sum(one == other for one, other in zip(expected, said[name], strict=True))
        alike = sum(map(before_they_differ, expected, said[name])) / max(sum(map(len, expected)), 1)
        print(f"{name:<24}{value:10.3f}{usual / value:7.2f}{f'{equal} of {len(expected)}':>16}{alike:27.1%}")
    print(f"batches of {args.batch}, {args.device}, {args.dtype}, adapters {args.adapters}")


def before_they_differ(one: Sequence[int], other: Sequence[int]) -> int:
    """The length of the common beginning."""
    pairs = list(zip(one, other, strict=False))
    return next((count for count, (a, b) in enumerate(pairs) if a != b), len(pairs))


if __name__ == "__main__":
    main()
