#!/usr/bin/env python3
"""Time to encode pictures without and with the feature cache: at a first visit, which stores them, and at a later one.

Pictures are noise at the config's sizes, new ones in each repetition. Files that were just written are read from the
machine's memory: from a slow disk a later visit takes longer.

python benchmarks/feature_cache.py                                 # the mid model; its pictures are the 4B model's
python benchmarks/feature_cache.py configs/pseudo_gumbel_4b.py --device cuda --dtype bfloat16 --batch-size 1
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from benchmarks.train_step import noise, synchronise
from sa2va_native.files.paths import ROOT
from sa2va_native.models.feature_cache import FeatureCache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default=str(ROOT / "configs/pseudo_gumbel_mid.py"))
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="repetitions, after a warm-up (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--folder", help="where to put the temporary folder of features (default: the system's)")
    args = parser.parse_args()
    torch.set_num_threads(1)

    settings = Config.fromfile(args.config).model.sa2va
    settings.update(dtype=args.dtype, weights=None, lora=None)
    with torch.device(args.device):
        model = MODELS.build(settings)
    times: dict[str, list[float]] = {"towers": [], "first visit": [], "later visit": []}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        cache = FeatureCache(folder, max_gb=1000)
        for _ in range(args.repeats + 1):
            side = noise(model, args.batch_size, args.device).caption_side
            for name, used in zip(times, (None, cache, cache), strict=True):
                model.feature_cache = used
                synchronise(args.device)
                start = time.perf_counter()
                model.encode_pictures(side)
                synchronise(args.device)
                times[name].append(time.perf_counter() - start)
        stored = sum(file.stat().st_size for file in Path(folder).rglob("*.safetensors"))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    for name, seconds in medians.items():
        print(f"{name:<12} {1000 * seconds:9.1f} ms  {seconds / medians['towers']:6.3f} of the towers")
    pictures = args.batch_size * (args.repeats + 1)
    print(f"{stored / pictures / 1e6:.1f} MB per picture, batch {args.batch_size}, {args.device}, {args.dtype}")


if __name__ == "__main__":
    main()
