#!/usr/bin/env python3
"""Where the time and memory of a training step go, and how it compares with the textbook loop.

A step is a cycle micro-batch, the optimizer's step and the teacher's. Pictures are noise, so no data set is needed, and
weights are those of the config or random. With --against textbook the same step of `benchmarks/textbook.py` runs in a
process of its own, in turn with ours; both start from equal weights and take equal draws, and their captions, losses
and gradients must agree.

python benchmarks/train_step.py                                    # the tiny model on one CPU thread
python benchmarks/train_step.py benchmarks/yardstick.py --batch 2 --against textbook
python benchmarks/train_step.py benchmarks/yardstick.py --regions 8 --against textbook             # 8 in one picture
python benchmarks/train_step.py benchmarks/yardstick.py --batch 1 --features --against textbook    # towers looked once
python benchmarks/train_step.py configs/pseudo_gumbel_4b.py --device cuda --dtype bfloat16 --batch 1 --frames 2
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

import torch
import torch.distributed as dist
from mmengine.registry import MODELS
from torch.utils.hooks import RemovableHandle

from benchmarks.textbook import Textbook
from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.engine.config.find_config import find_config
from sa2va_native.engine.config.reading import read_file
from sa2va_native.engine.plan.memory_plan import GIB, RESERVE
from sa2va_native.engine.plan.model_info import memory_plan
from sa2va_native.files.paths import ROOT
from sa2va_native.structures import Batch, DrawKey, Side

TINY = str(ROOT / "configs/pseudo_gumbel_tiny.py")
#: Losses and gradients of equal maths in float32 differ by this much at most, relatively.
TOLERANCE = 1e-4


def main() -> None:
    args = parse_args()
    report = measure(args)
    print(table(report, args))
    if args.json:
        Path(args.json).write_text(json.dumps({"arguments": vars(args), **report}, indent=2) + "\n", encoding="utf-8")


def measure(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Runs the loops in turn; :func:`summary` of each, by name."""
    names = ["ours", *([args.against] if args.against else [])]
    context = multiprocessing.get_context("spawn")  # each rank of a loop has its own memory, whose peak is its own
    with tempfile.TemporaryDirectory() as folder:
        pipes: dict[str, list[Connection]] = {name: [] for name in names}
        for name in names:
            for rank in range(args.ranks):
                here, there = context.Pipe()
                context.Process(target=work, args=(name, rank, args, folder, there), daemon=True).start()
                there.close()  # so that a loop that fails ends this process too
                pipes[name].append(here)
        turns: dict[str, list[Turn]] = {name: [] for name in names}
        for turn in range(args.repeats + 1):
            for name in names:  # in turn: whatever else the machine does meets both alike
                for pipe in pipes[name]:
                    pipe.send(turn)
                first, *_ = [pipe.recv() for pipe in pipes[name]]
                turns[name].append(first)
        planned = {}
        for name in names:
            for pipe in pipes[name]:
                pipe.send(None)
                planned[name] = pipe.recv()  # before the folder goes
    if args.against:
        compare(turns)
    return {name: summary(taken) | {"planned_gib": planned[name]} for name, taken in turns.items()}


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default=TINY)
    parser.add_argument("--against", choices=["textbook"], help="another loop to run in turn")
    parser.add_argument("--batch", type=int, default=8, help="regions of a micro-batch (default: %(default)s)")
    parser.add_argument("--regions", type=int, default=1, help="of each picture (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=1, choices=[1, 2], help="2: the mask is in a second picture")
    parser.add_argument("--tokens", type=int, help="longest caption (default: the config's)")
    parser.add_argument("--ranks", type=int, default=1, help="processes of each loop, that average their gradients")
    parser.add_argument("--features", action="store_true", help="ours reads the towers' output from a feature cache")
    parser.add_argument("--repeats", type=int, default=3, help="steps, after one for warm-up (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--json", metavar="FILE", help="write the figures too")
    return parser.parse_args(arguments)


class Turn(NamedTuple):
    """One step of one loop."""

    parts: dict[str, float]  #: seconds by part: of the CPU on a CPU, by the clock on a GPU
    wall: float  #: seconds of the whole step
    numbers: dict[str, float]  #: losses, and norms of gradients by part of the model
    captions: list[list[int]]
    peak: float  #: GiB at most in the step, above what the model alone takes


class Parts:
    """Seconds by part of a step; a part inside another one counts for itself alone.

    On a shared CPU the time of the process says more than the clock.
    """

    def __init__(self, device: str) -> None:
        self.device, self.clock = device, time.perf_counter if device != "cpu" else time.process_time
        self.seconds: dict[str, float] = defaultdict(float)
        self.open: list[str] = []
        self.hooks: list[RemovableHandle] = []
        self.last = 0.0

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.enter(name)
        yield
        self.leave()

    def enter(self, name: str) -> None:
        self._count()
        self.open.append(name)

    def leave(self) -> None:
        self._count()
        self.open.pop()

    def around(self, name: str, module: torch.nn.Module) -> None:
        """Makes a module's forward passes a part."""
        self.hooks.append(module.register_forward_pre_hook(lambda *_: self.enter(name)))
        self.hooks.append(module.register_forward_hook(lambda *_: self.leave()))

    def remove(self) -> None:
        """Ends what :meth:`around` began."""
        for hook in self.hooks:
            hook.remove()

    def _count(self) -> None:
        synchronise(self.device)
        now = self.clock()
        if self.open:
            self.seconds[self.open[-1]] += now - self.last
        self.last = now


class Ours:
    """The project's step, as in ``PseudoGumbel.cycle_loss``, part by part."""

    def __init__(self, model: Any) -> None:
        self.model, model.teacher = model, EMATeacher(model)

    def losses(self, batch: Batch, part: Parts) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
        """The losses of a cycle batch, and the teacher's captions."""
        model = self.model
        with part("pictures"):
            step = model.begin(batch)
        with part("captions"):
            step.captions = model.teacher_captions(step.pictures1, step.side1.region)
        step.corrupted = model.corrupt(step.captions, batch)
        with part("student's logits"):
            step.logits = model.student_logits(step)
        with part("words"):
            step.words = model.estimator.words(step)
        with part("mask from words"):
            step.text_embeds, step.mask_logits = model.read(step)
        with part("cost"):
            step.costs = model.mask_costs(step)
            return model.estimator.losses(step), step.captions.ids

    def update_teacher(self, decay: float) -> None:
        """The average of what is trained."""
        self.model.teacher.update(decay)


def work(name: str, rank: int, args: argparse.Namespace, folder: str, pipe: Connection) -> None:
    """A process that takes one step each time it is told to; one of the loop's ranks."""
    torch.set_num_threads(1)
    if args.ranks > 1:
        backend, where = "nccl" if args.device.startswith("cuda") else "gloo", f"file://{folder}/{name}"
        dist.init_process_group(backend, init_method=where, rank=rank, world_size=args.ranks)
    model = build(args, f"{folder}/features_{rank}" if args.features and name == "ours" else None)
    trained, groups = [p for p in model.parameters() if p.requires_grad], model.gradient_groups()
    alone, parts = used(args.device), Parts(args.device)
    parts.around("vision tower", model.student.mllm.tower)
    parts.around("mask tower", model.student.grounding.tower)
    loop = Ours(model) if name == "ours" else Textbook(model)
    fused = read_file(find_config(args.config)).optim_wrapper.optimizer.get("fused") if name == "ours" else None
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=fused)
    for turn in iter(pipe.recv, None):
        seed = (0 if args.features else turn) * args.ranks + rank
        batch = noise(model.student, args.batch, args.device, args.frames, args.regions, seed)
        parts.seconds.clear()
        forget_peak(args.device)
        start = time.perf_counter()
        losses, captions = loop.losses(batch, parts)
        with parts("backward"):
            torch.stack(list(losses.values())).sum().backward()
        wall = time.perf_counter() - start
        gradients = {f"gradient of {name}": norm(group) for name, group in groups.items()}
        start = time.perf_counter() - wall  # the norms are only for the comparison
        if args.ranks > 1:
            with parts("gradients of all ranks"):
                for gradient in (p.grad for p in trained if p.grad is not None):
                    dist.all_reduce(gradient.div_(args.ranks))
        with parts("optimizer"):
            optimizer.step()
            model.zero_grad(set_to_none=True)
        with parts("teacher's update"):
            loop.update_teacher(0.999)
        wall = time.perf_counter() - start
        numbers = {key: float(loss.detach()) for key, loss in losses.items()} | gradients
        said = [ids.tolist() for ids in captions]
        pipe.send(Turn(dict(parts.seconds), wall, numbers, said, peak(args.device) - alone))
        del losses, captions  # not beside the next step
    if args.ranks > 1:
        dist.destroy_process_group()
    pipe.send(plan(args, model) if name == "ours" else 0.0)


def plan(args: argparse.Namespace, model: Any) -> float:
    """GiB at most above the weights, as a dry run would plan for these steps."""
    cfg = read_file(find_config(args.config))
    cfg.train_dataloader.update(batch_size=args.batch, batch_sampler=dict(pattern=("cycle",)))
    cfg.optim_wrapper.update(accumulative_counts=1)
    cfg.pop("strategy", None)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    return (memory_plan(cfg, model, args.ranks).peak - RESERVE - weights) / GIB


def build(args: argparse.Namespace, features: str | None) -> Any:
    """The model of the config, in training mode; equal in each process."""
    settings = read_file(find_config(args.config)).model
    settings.sa2va.update(dtype=args.dtype)
    if args.config != TINY:
        settings.sa2va.weights = None
    if args.tokens is not None:
        settings.sa2va.max_new_tokens = args.tokens
    if features is not None:
        settings.sa2va.feature_cache = dict(folder=features, max_gb=100)
    torch.manual_seed(0)
    with torch.device(args.device):
        return MODELS.build(settings).train()


def noise(student: Any, batch_size: int, device: str, frames: int = 2, regions: int = 1, seed: int = 0) -> Batch:
    """Pictures of noise, with an object over a quarter of each for each of their regions."""
    generator, looks = torch.Generator().manual_seed(seed), [row // regions for row in range(batch_size)]

    def side() -> Side:
        grid, mask = student.mllm.grid_size, student.grounding.mask_size
        region, object_mask = torch.zeros(batch_size, grid, grid), torch.zeros(batch_size, mask, mask)
        for row in range(batch_size):
            start = row % regions / (2 * regions)  # other regions of a picture lie further right
            for tensor, size in ((region, grid), (object_mask, mask)):
                tensor[row, : size // 2, int(start * size) : int(start * size) + size // 2] = 1
        pictures = [
            torch.randint(256, (looks[-1] + 1, 3, size, size), dtype=torch.uint8, generator=generator)[looks]
            for size in (student.mllm.image_size, student.grounding.image_size)
        ]
        return Side(*(tensor.to(device) for tensor in (*pictures, region.bool(), object_mask)))

    keys = [DrawKey(seed, i) for i in range(batch_size)]
    rows = [[None] * batch_size, keys, [""] * batch_size, [{}] * batch_size, [""] * batch_size]
    return Batch("cycle", side(), side() if frames == 2 else None, *rows, gt_masks=[], looks=looks)


def norm(parameters: list[torch.nn.Parameter]) -> float:
    """Of the gradients, together."""
    return float(torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm())


def compare(turns: dict[str, list[Turn]]) -> None:
    """Refuses to compare the time of loops that compute something else. The first step is before any update."""
    first, second = (taken[0] for taken in turns.values())
    if first.captions != second.captions:
        sys.exit("the two loops caption differently in the first step: their times say nothing")
    for name, value in first.numbers.items():
        if abs(value - second.numbers[name]) > TOLERANCE * abs(value):
            sys.exit(f"{name} is {value:.6g} in ours and {second.numbers[name]:.6g} in the other loop's first step")


def summary(taken: list[Turn]) -> dict[str, Any]:
    """Medians over the turns after the first, or that one if it is alone."""
    counted = taken[1:] or taken
    names = dict.fromkeys(name for turn in counted for name in turn.parts)
    parts = {name: statistics.median(turn.parts.get(name, 0.0) for turn in counted) for name in names}
    return {
        "parts": parts,
        "step": statistics.median(sum(turn.parts.values()) for turn in counted),
        "wall": statistics.median(turn.wall for turn in counted),
        "peak_gib": max(turn.peak for turn in counted),
    }


def table(report: dict[str, dict[str, Any]], args: argparse.Namespace) -> str:
    """Parts and totals, one column a loop, and the ratio of two."""
    order = dict.fromkeys(part for one in report.values() for part in one["parts"])
    unit = "CPU s" if args.device == "cpu" else "s"
    rows = [(part, [one["parts"].get(part, 0.0) for one in report.values()]) for part in order]
    rows += [(f"step, {unit}", [one["step"] for one in report.values()])]
    rows += [(f"a region, {unit}", [one["step"] / args.batch for one in report.values()])]
    rows += [("wall, s", [one["wall"] for one in report.values()])]
    rows += [("peak above weights, GiB", [one["peak_gib"] for one in report.values()])]
    rows += [("planned, GiB", [one["planned_gib"] for one in report.values()])]
    lines = [f"{'':<26}" + "".join(f"{name:>12}" for name in report) + (f"{'ratio':>9}" if len(report) > 1 else "")]
    for label, values in rows:
        line = f"{label:<26}" + "".join(f"{value:12.3f}" for value in values)
        if len(values) > 1:
            line += f"{values[1] / values[0]:9.2f}" if values[0] else f"{'':>9}"
        lines.append(line)
    lines.append(
        f"batch {args.batch}, {args.regions} of each picture, {args.frames} frame(s), {args.ranks} rank(s), "
        f"{args.repeats} steps each, "
        f"{args.device}, {args.dtype}"
    )
    return "\n".join(lines)


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def used(device: str) -> float:
    """GiB of memory at the moment."""
    if device.startswith("cuda"):
        return torch.cuda.memory_allocated() / 2**30
    return _status("VmRSS")


def forget_peak(device: str) -> None:
    """Begins a new measurement of the peak."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak(device: str) -> float:
    """GiB of memory, at most, since then."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**30
    return _status("VmHWM")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 2**20


if __name__ == "__main__":
    main()
