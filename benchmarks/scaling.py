#!/usr/bin/env python3
"""How the cost of a step grows with one thing at a time: regions, pictures, words, candidates, ranks.

Prints a table for each, and how the cost grows: the exponent of a power law through the first and the last value, 1 for
linear. A micro-batch without optimizer, on noise; ranks are processes of `train_step.py`, with it.

python benchmarks/scaling.py                                                   # the tiny model on one CPU thread
python benchmarks/scaling.py benchmarks/yardstick.py --features --json scaling.json
python benchmarks/scaling.py configs/pseudo_gumbel_4b.py --device cuda --dtype bfloat16 --only batch tokens
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

import torch

from benchmarks.train_step import TINY, Ours, Parts, build, forget_peak, measure, noise, peak, used
from benchmarks.train_step import parse_args as step_args

#: What is varied, alone; all else is as in BASE.
GRID = {
    "batch": (1, 2, 4, 8),  # regions, each of a picture of its own
    "regions": (1, 2, 4, 8),  # of one picture, in a batch as large
    "tokens": (8, 16, 32, 64),
    "candidates": (16, 128, 512),
    "ranks": (1, 2),
}
BASE = dict(batch=2, regions=1, tokens=16, candidates=128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default=TINY)
    parser.add_argument("--only", nargs="+", choices=list(GRID), default=list(GRID))
    parser.add_argument("--features", action="store_true", help="the towers' output comes from a feature cache")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--json", metavar="FILE", help="write the figures too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, dict[int, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        inside = [name for name in args.only if name != "ranks"]
        model = build(step_args(common(args)), folder if args.features else None) if inside else None
        for name in args.only:
            figures[name] = {}
            for value in GRID[name]:
                given = BASE | {name: value} | ({"batch": value} if name == "regions" else {})
                figures[name][value] = of_ranks(args, value) if name == "ranks" else of_step(args, model, given)
            print(table(name, figures[name]), flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps({"arguments": vars(args), **figures}, indent=2) + "\n", encoding="utf-8")


def common(args: argparse.Namespace) -> list[str]:
    """Options of ``train_step.py``."""
    return [args.config, "--device", args.device, "--dtype", args.dtype, *(["--features"] if args.features else [])]


def of_step(args: argparse.Namespace, model: Any, given: dict[str, int]) -> dict[str, float]:
    """Seconds by part of a micro-batch after one for warm-up, and its peak in GiB above what was there."""
    model.student.max_new_tokens = given["tokens"]
    model.estimator.top_k = min(given["candidates"], model.student.embedding.num_embeddings)
    batch = noise(model.student, given["batch"], args.device, 1, given["regions"])
    loop, parts = Ours(model), Parts(args.device)
    parts.around("vision tower", model.student.mllm.tower)
    parts.around("mask tower", model.student.grounding.tower)
    for _ in range(2):
        parts.seconds.clear()
        before = used(args.device)
        forget_peak(args.device)
        losses, _ = loop.losses(batch, parts)
        with parts("backward"):
            torch.stack(list(losses.values())).sum().backward()
        highest = peak(args.device) - before
        model.zero_grad(set_to_none=True)
    parts.remove()
    return {**parts.seconds, "step": sum(parts.seconds.values()), "peak, GiB": highest}


def of_ranks(args: argparse.Namespace, ranks: int) -> dict[str, float]:
    """The same of a rank among others, each with its own regions, the optimizer's step included."""
    options = ["--ranks", str(ranks), "--batch", str(BASE["batch"]), "--tokens", str(BASE["tokens"]), "--repeats", "1"]
    ours = measure(step_args([*common(args), *options]))["ours"]
    return {**ours["parts"], "step": ours["step"], "peak, GiB": ours["peak_gib"]}


def table(name: str, figures: dict[int, dict[str, float]]) -> str:
    """One column a value; in the last how the row grows."""
    lines = [f"{name:<26}" + "".join(f"{value:>10}" for value in figures) + f"{'exponent':>10}"]
    for row in dict.fromkeys(part for one in figures.values() for part in one):
        values = [one.get(row, 0.0) for one in figures.values()]
        grows = exponent(list(figures), values)
        lines.append(f"{row:<26}" + "".join(f"{value:10.3f}" for value in values) + f"{grows:10.2f}")
    return "\n".join(lines) + "\n"


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """p of the power law size^p through the first and the last cost; NaN where one of them is not positive."""
    if min(costs[0], costs[-1]) <= 0:
        return math.nan
    return math.log(costs[-1] / costs[0]) / math.log(sizes[-1] / sizes[0])


if __name__ == "__main__":
    main()
