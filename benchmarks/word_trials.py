#!/usr/bin/env python3
"""What a step of word trials costs beside the specified one: seconds and peak memory of a micro-batch, with backward.

Each row is a process of its own, since memory that was once used is not given back. Pictures are noise: no data set is
needed. ``plain`` reads each tried word with picture and question of its own, as before readings shared them.

python benchmarks/word_trials.py                          # mid size, on one CPU thread
python benchmarks/word_trials.py --size tiny --batch-size 8
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from train_step import noise

from pseudo_gumbel.readers import reader
from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.files.paths import ROOT


class Cost(NamedTuple):
    """Of a micro-batch."""

    seconds: float  #: processor time of one thread, median over steps
    peak: float  #: GiB that the process held at most, above what it held before its first step


ROWS = {
    "specified": ("pseudo_gumbel", 1, False),
    "word trials": ("word_trials", 1, False),
    "word trials, plain": ("word_trials", 1, True),
    "word trials, 2 positions": ("word_trials", 2, False),
    "word trials, masks alone": ("word_trials_masks", 1, False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="mid", choices=["tiny", "mid"])
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="steps, after one for warm-up (default: %(default)s)")
    args = parser.parse_args()
    costs: dict[str, Cost] = {}
    for name, row in ROWS.items():
        with get_context("spawn").Pool(1) as pool:
            costs[name] = pool.apply(measure, (args.size, args.batch_size, args.repeats, *row))
        (seconds, peak), base = costs[name], costs["specified"]
        slower, larger = seconds / base.seconds, peak / base.peak
        print(f"{name:<26} {seconds:7.2f} s ({slower:4.2f} x) {peak:6.2f} GiB ({larger:4.2f} x)", flush=True)


def measure(size: str, batch_size: int, repeats: int, family: str, positions: int, plain: bool) -> Cost:
    """Takes a few steps."""
    torch.set_num_threads(1)
    MMLogger.get_instance("mmengine", log_level="ERROR")
    config: Any = Config.fromfile(ROOT / f"configs/{family}_{size}.py")
    if positions > 1:
        config.model.estimator.positions = positions
    if plain:
        reader.read_sharing_heads = reader.read
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    model.teacher = EMATeacher(model)
    batch, times = noise(model.student, batch_size, "cpu"), []
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    held = peak_memory()
    for _ in range(repeats + 1):
        start = time.process_time()
        losses = model(batch, mode="loss")
        sum(loss for name, loss in losses.items() if "loss" in name).backward()
        times.append(time.process_time() - start)
        model.zero_grad(set_to_none=True)
    return Cost(statistics.median(times[1:]), peak_memory() - held)


def peak_memory() -> float:
    """GiB of memory that this process has held at most (Linux)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 2**20


if __name__ == "__main__":
    main()
