#!/usr/bin/env python3
"""Time to look for several expressions in one picture, which an evaluation encodes once a batch and not once each.

The picture is noise at the config's sizes, and the weights are random: answers are as long as they may be.

python benchmarks/shared_pictures.py                               # the mid model; its pictures are the 4B model's
python benchmarks/shared_pictures.py configs/pseudo_gumbel_4b.py --device cuda --dtype bfloat16 --expressions 8
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from benchmarks.train_step import noise, synchronise
from sa2va_native.files.paths import ROOT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default=str(ROOT / "configs/pseudo_gumbel_mid.py"))
    parser.add_argument("--expressions", type=int, default=4, help="in one picture (default: %(default)s)")
    parser.add_argument("--answer", type=int, default=8, help="tokens of each answer (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions, after a warm-up (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    args = parser.parse_args()
    torch.set_num_threads(1)

    settings = Config.fromfile(args.config).model.sa2va
    settings.update(dtype=args.dtype, weights=None, lora=None, max_new_tokens=args.answer)
    with torch.device(args.device):
        model = MODELS.build(settings).eval()
    side = noise(model, 1, args.device).caption_side.of([0] * args.expressions)
    texts = [f"object {number}" for number in range(args.expressions)]
    # On a shared machine the time of this thread says more than the clock on the wall.
    clock = time.process_time if args.device == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {"encoded each": [], "encoded once": [], "read": []}
    for _ in range(args.repeats + 1):
        for name, encode in (("encoded each", model.encode_pictures), ("encoded once", model.encode_distinct)):
            synchronise(args.device)
            start = clock()
            pictures = encode(side)
            synchronise(args.device)
            times[name].append(clock() - start)
        start = clock()
        model.segment(pictures, texts)
        synchronise(args.device)
        times["read"].append(clock() - start)
    each, once, read = (statistics.median(values[1:]) for values in times.values())
    for name, seconds in (("encoded each", each), ("encoded once", once), ("expressions read", read)):
        print(f"{name:<18} {seconds:9.3f} s")
    print(
        f"{args.expressions / (each + read):.3f} expressions/s before, {args.expressions / (once + read):.3f} now; "
        f"{args.expressions} expressions, answers of {args.answer} tokens, {args.device}, {args.dtype}"
    )


if __name__ == "__main__":
    main()
