#!/usr/bin/env python3
"""How much faster captions are with LoRA merged, and how many of them are the same.

Pictures are noise, and so are the adapters, as untrained ones are 0: ``--adapters`` is the standard deviation of B. The
two captioners take turns.

python benchmarks/merged_captions.py                                           # the tiny model on one CPU thread
python benchmarks/merged_captions.py --dtype bfloat16
python benchmarks/merged_captions.py configs/pseudo_gumbel_4b.py --device cuda --dtype bfloat16 --batch 4
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

from benchmarks.train_step import TINY, build, noise, synchronise
from pseudo_gumbel.captioners import MergedTeacherCaptioner, TeacherCaptioner
from sa2va_native.models.adapters import lora_layers


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
    captioners = {"adapters": TeacherCaptioner(), "merged": MergedTeacherCaptioner()}
    seconds: dict[str, list[float]] = {name: [] for name in captioners}
    equal = tokens = alike = 0
    for turn in range(args.repeats + 1):
        batch = noise(model.student, args.batch, args.device, frames=1, seed=turn)
        pictures = model.student.encode_pictures(batch.caption_side, grounding=False)
        said = {}
        for name, captioner in captioners.items():
            synchronise(args.device)
            start = clock()
            said[name] = captioner(model, pictures, batch.caption_side.region).ids
            synchronise(args.device)
            seconds[name].append(clock() - start)
        for one, other in zip(said["adapters"], said["merged"], strict=True):
            equal += torch.equal(one, other)
            same = [a == b for a, b in zip(one.tolist(), other.tolist(), strict=False)]
            alike, tokens = alike + (same.index(False) if False in same else len(same)), tokens + len(one)
    medians = {name: statistics.median(values[1:] or values) for name, values in seconds.items()}
    print("\n".join(f"{name:<10} {value:8.3f} s a batch" for name, value in medians.items()))
    print(f"{medians['adapters'] / medians['merged']:.2f} times as fast")
    count = args.batch * (args.repeats + 1)
    print(f"{equal} of {count} captions equal; {alike / max(tokens, 1):.1%} of the tokens before the first difference")
    print(f"batches of {args.batch}, {args.device}, {args.dtype}, adapters {args.adapters}")


if __name__ == "__main__":
    main()
