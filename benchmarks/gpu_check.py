#!/usr/bin/env python3
"""Does this machine's GPU train the 4B model, how fast, and in how much memory? Under 8 minutes, with random weights.

- the GPU tests, among them a tiny step that must equal the CPU's
- a cycle micro-batch, part by part; arithmetic, its share of what the card can do, and kernel launches
- the captions of each captioner: their time, and the share of them that equals the method's
- a run of two optimizer steps in bf16 with ZeRO-2 on one rank, and the second one again from the first one's
  checkpoint; its peak memory against the plan

Needs no data and no weights, only the packages; writes 50 GB to --work-dir and deletes it. Exits with status 1 if
anything failed.

python benchmarks/gpu_check.py                                 # also as: make gpu-check
python benchmarks/gpu_check.py --device cpu --config tiny      # what of it a machine without a GPU can run
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.train_step import build, measure, noise, table
from benchmarks.train_step import parse_args as step_args
from sa2va_native.files.paths import ROOT
from sa2va_native.structures import Batch

CONFIGS = {"4b": str(ROOT / "benchmarks/gpu_check_4b.py"), "tiny": str(ROOT / "configs/pseudo_gumbel_tiny.py")}
#: Dense bf16 operations a second of cards by a part of their name, as NVIDIA's data sheets have them.
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}
#: Losses of a step after a resume and without one differ by this much at most; kernels may add in another order.
TOLERANCE = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--config", default="4b", choices=list(CONFIGS))
    parser.add_argument("--work-dir", help="for checkpoints (default: a temporary folder)")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu-check: no CUDA device here. Without one: --device cpu --config tiny")
    checks: list[Callable[[argparse.Namespace], str]] = [step_by_part, captioners, train_and_resume]
    if args.device == "cuda":
        checks.insert(0, gpu_tests)
    failed, start = [], time.perf_counter()
    for check in checks:
        name = check.__name__.replace("_", " ")
        print(f"== {name}", flush=True)
        try:
            print(check(args), flush=True)
        except CheckError as error:
            failed.append(name)
            print(f"FAILED: {error}", flush=True)
    print(f"== {time.perf_counter() - start:.0f} s; {'failed: ' + ', '.join(failed) if failed else 'all passed'}")
    sys.exit(bool(failed))


class CheckError(Exception):
    """What a check found wrong."""


def gpu_tests(args: argparse.Namespace) -> str:
    """The tests that need a GPU; the last line of their report."""
    output = call(["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/test_gpu.py"])
    if " passed" not in output or "skipped" in output:
        raise CheckError(output.strip().splitlines()[-1])
    return output.strip().splitlines()[-1]


def step_by_part(args: argparse.Namespace) -> str:
    """Seconds of a micro-batch of one region, its arithmetic and its launches."""
    dtype = "bfloat16" if args.device == "cuda" else "float32"
    options = ["--device", args.device, "--dtype", dtype, "--batch", "1", "--frames", "2", "--repeats", "2"]
    asked = step_args([CONFIGS[args.config], *options])
    report = measure(asked)
    work = work_of_a_step(asked)
    torch.cuda.empty_cache()  # for the run; does nothing without a GPU
    seconds = report["ours"]["step"]
    lines = [table(report, asked), f"{work.flops / 1e12:.2f} TFLOP, recomputation included; {work.launches:,} launches"]
    if args.device == "cuda":
        name = torch.cuda.get_device_name()
        peak = next((flops for card, flops in PEAK_FLOPS.items() if card in name), None)
        share = f"{work.flops / seconds / peak:.1%} of the peak" if peak else "peak unknown"
        lines.append(f"{name}: {work.flops / seconds / 1e12:.1f} TFLOP/s, {share}")
    return "\n".join(lines)


class Work(NamedTuple):
    """What a micro-batch gives the device to do, backward pass included."""

    flops: int
    launches: int  #: 0 on a CPU


def work_of_a_step(asked: argparse.Namespace) -> Work:
    """Of a model and a batch like those of :func:`benchmarks.train_step.measure`."""
    model = build(asked, None)
    batch = noise(model.student, asked.batch, asked.device, asked.frames, asked.regions)
    with FlopCounterMode(display=False) as counter:
        take_step(model, batch)
    launches = 0
    if asked.device == "cuda":
        with profile(activities=[ProfilerActivity.CUDA]) as traced:
            take_step(model, batch)
        launches = sum(event.count for event in traced.key_averages() if "LaunchKernel" in event.key)
    return Work(counter.get_total_flops(), launches)


def take_step(model: Any, batch: Batch) -> None:
    """A micro-batch, whose gradients are forgotten."""
    losses = model(batch, mode="loss")
    torch.stack([value for name, value in losses.items() if "loss" in name]).sum().backward()
    model.zero_grad(set_to_none=True)


def captioners(args: argparse.Namespace) -> str:
    """Seconds of each captioner, and the share of equal captions.

    Whether they are right, the GPU tests tell: random weights find many words nearly as likely, and rounding decides.
    """
    options = ["--device", args.device, "--dtype", "bfloat16", "--batch", "1", "--repeats", "2"]
    output = call(["benchmarks/captioners.py", CONFIGS[args.config], *options])
    return "\n".join(output.splitlines()[-5:])  # above it is the log


def train_and_resume(args: argparse.Namespace) -> str:
    """Two optimizer steps, the second one again from a checkpoint, and the memory that they took."""
    with tempfile.TemporaryDirectory(dir=args.work_dir) as folder:
        whole = run(args, folder, "--max-steps", "2")
        saved = sorted(Path(folder).glob("iter_*.pth"), key=lambda path: int(path.stem.split("_")[1]))
        if len(saved) != 2:
            raise CheckError(f"2 checkpoints expected in {folder}, found {[path.name for path in saved]}")
        resumed = run(args, folder, "--max-steps", "2", "--resume", str(saved[0]))
    again = [line for line in whole if line.number > whole[-1].number // 2]  # of the second step
    if [line.number for line in resumed] != [line.number for line in again]:
        raise CheckError(f"resumed at micro-batch {resumed[0].number}, expected {again[0].number}")
    for one, other in zip(again, resumed, strict=True):
        for name, value in one.losses.items():
            if not abs(other.losses[name] - value) <= TOLERANCE * max(abs(value), 0.1):  # a NaN is not either
                raise CheckError(
                    f"micro-batch {one.number}: {name} {value} without a resume, {other.losses[name]} after"
                )
    seconds = sorted(line.seconds for line in whole[1:])[len(whole[1:]) // 2]
    return f"{whole[-1].number} micro-batches of {seconds:.2f} s; the same losses after a resume; {memory(args, whole)}"


def memory(args: argparse.Namespace, lines: list[Line]) -> str:
    """The peak of a run beside the plan's."""
    from sa2va_native.engine.plan.memory_plan import RESERVE, sized
    from sa2va_native.engine.plan.model_info import memory_plan
    from sa2va_native.engine.plan.skeleton import build_skeleton
    from sa2va_native.engine.run import launch
    from sa2va_native.engine.run.use_engine import use_engine

    cfg = launch.load_config(CONFIGS[args.config])
    use_engine(cfg, default="zero2")
    planned = memory_plan(cfg, build_skeleton(cfg), 1).peak - RESERVE
    if args.device == "cpu":
        return f"planned for a GPU: {sized(planned)}"
    held = max(line.memory for line in lines) * 2**20
    if held > planned + RESERVE:
        raise CheckError(f"tensors took {sized(held)}, more than the {sized(planned + RESERVE)} of the plan")
    return f"tensors took {sized(held)}, {held / planned:.2f} of the {sized(planned)} that the plan has for them"


class Line(NamedTuple):
    """What a run logs of a micro-batch."""

    number: int  #: from 1
    seconds: float
    memory: int  #: MiB of tensors at most so far; 0 on a CPU
    losses: dict[str, float]


def run(args: argparse.Namespace, folder: str, *options: str) -> list[Line]:
    """A run of one rank under ZeRO-2, as the launcher starts it."""
    settings = [
        *("default_hooks.logger.interval=1", "default_hooks.checkpoint.interval=1", "log_processor.window_size=1"),
        *(["train_dataloader.batch_size=1"] if args.config == "tiny" else []),
    ]
    command = ["-m", "pseudo_gumbel", "dist-train", CONFIGS[args.config], "1", "--work-dir", folder, *options]
    weights = ["--weights", "none"] if args.config == "4b" else []
    output = call([*command, *weights, "--cfg-options", *settings])
    lines = [read_line(text) for text in output.splitlines() if "Iter(train)" in text]
    if not lines:
        raise CheckError(f"the run ended without a micro-batch: {output.strip().splitlines()[-1:]}")
    return lines


def read_line(text: str) -> Line:
    """A line of MMEngine's log."""
    number = int(re.findall(r"Iter\(train\) \[ *(\d+)/", text)[0])
    values = {name: float(value) for name, value in re.findall(r"(\w+): (-?[\d.]+(?:e[+-]\d+)?|nan)", text)}
    losses = {name: value for name, value in values.items() if "loss" in name}
    return Line(number, values["time"], int(values.get("memory", 0)), losses)


def call(arguments: list[str]) -> str:
    """Runs Python in the checkout; both streams.

    Raises:
        CheckError: it failed; with the last lines.
    """
    path = os.pathsep.join(filter(None, [str(ROOT / "projects"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *arguments]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if ended.returncode:
        raise CheckError("\n".join([" ".join(arguments), *ended.stdout.strip().splitlines()[-5:]]))
    return ended.stdout


if __name__ == "__main__":
    main()
