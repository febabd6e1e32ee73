#!/usr/bin/env python3
"""How close each estimator's gradient comes to the exact one, how noisy it is, and what it costs, on the tiny model.

At one position of the teacher's caption all words are read: so the gradient of the expected cost is known exactly. Each
estimator's own class estimates it, draw by draw. docs/estimators.md explains the columns.

python benchmarks/estimators.py                    # 16 objects, the shipped weights and the partner weights
python benchmarks/estimators.py --at colour        # at the colour, wherever the captioner is least sure
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import re
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

import torch

from benchmarks.estimator_line import Lines, draw_line, measure_lines
from benchmarks.estimator_position import Position
from pseudo_gumbel.experiment.estimator_accuracy import Accuracy, accuracy
from pseudo_gumbel.registry import ESTIMATORS
from sa2va_native.datasets.scenes.language import COLOURS
from sa2va_native.files.paths import ROOT
from sa2va_native.structures import Batch, Draw, DrawKey

BASES = {
    "shipped": "assets/tiny/sa2va_tiny.safetensors",
    "partner": "assets/tiny/sa2va_tiny_partner.safetensors",
}
_TOP_K = 64  # the tiny configs' own
COMPARED: dict[str, dict[str, Any]] = {
    "StraightThroughGumbel, tau 0.7 (specified)": dict(type="StraightThroughGumbel", top_k=_TOP_K),
    "StraightThroughGumbel, tau 2": dict(type="StraightThroughGumbel", top_k=_TOP_K, temperature=2.0),
    "GumbelRao, tau 0.7": dict(type="GumbelRao", top_k=_TOP_K),
    "ReinMax, tau 1": dict(type="ReinMax", top_k=_TOP_K),
    "MixedGumbel, half soft, tau 0.7": dict(type="MixedGumbel", top_k=_TOP_K),
    "SoftGumbel, tau 0.7": dict(type="SoftGumbel", top_k=_TOP_K),
    "SoftGumbel, tau 1": dict(type="SoftGumbel", top_k=_TOP_K, temperature=1.0),
    "SoftGumbel, tau 2": dict(type="SoftGumbel", top_k=_TOP_K, temperature=2.0),
    "SoftGumbel, tau 5": dict(type="SoftGumbel", top_k=_TOP_K, temperature=5.0),
    "SoftGumbel, tau 2, min_p 0.1, 4 draws": dict(type="SoftGumbel", top_k=_TOP_K, temperature=2.0, min_p=0.1, draws=4),
    "DetachedGumbel": dict(type="DetachedGumbel", top_k=_TOP_K),
    "TeacherWords": dict(type="TeacherWords"),
    "ScoreFunction, 2 samples": dict(type="ScoreFunction", samples=2),
    "ScoreFunction, 8 samples": dict(type="ScoreFunction", samples=8),
    "SelfCritical, 1 sample": dict(type="SelfCritical"),
    "BestOfN, 4 captions": dict(type="BestOfN"),
    "ExpectedCost, 8 words": dict(type="ExpectedCost"),
    "WordTrials, 8 words": dict(type="WordTrials"),
}
SPECIFIED = next(iter(COMPARED))
COSTS = {"points": "points where the mask is undecided (specified)", "pixels": "all pixels"}
GROUP = 8  #: objects at a time
MIN_EXACT = 1e-3  #: objects whose exact gradient is shorter have no direction to be found
BEGIN, END = "<!-- benchmarks/estimators.py begins -->", "<!-- benchmarks/estimators.py ends -->"


class Base(NamedTuple):
    """A tiny model, without gradient to its weights, and the objects that it looks at."""

    name: str
    model: Any
    trained: list[torch.nn.Parameter]  #: what a training step trains
    batches: list[Batch]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bases", nargs="+", choices=BASES, default=list(BASES))
    parser.add_argument("--objects", type=int, default=16, help="of the split val (default: %(default)s)")
    parser.add_argument(
        "--at",
        choices=("least-sure", "colour"),
        default="least-sure",
        help="which word of the caption is looked at (default: %(default)s)",
    )
    parser.add_argument("--draws", type=int, default=16, help="of mixtures, read anew (default: %(default)s)")
    parser.add_argument("--lookups", type=int, default=256, help="of words, read once each (default: %(default)s)")
    parser.add_argument("--points", type=int, default=4, help="draws of the loss's points (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="steps that are timed (default: %(default)s)")
    parser.add_argument("--line", metavar="PNG", help="draw the loss between two words to this file")
    parser.add_argument("--write", metavar="MD", help="put the tables between the markers of this file")
    args = parser.parse_args()
    for count in (args.draws, args.lookups):
        if count % args.points or count < 2 * args.points:
            parser.error(f"{count} draws with --points {args.points}: choose a multiple, 2 x {args.points} or more")
    parts = ["```bash\n" + shlex.join(["python", "benchmarks/estimators.py", *sys.argv[1:]]) + "\n```"]
    with ProcessPoolExecutor(len(args.bases), multiprocessing.get_context("spawn")) as pool:
        found = dict(zip(args.bases, pool.map(look_at, args.bases, [args] * len(args.bases)), strict=True))
    parts += [table for tables, _ in found.values() for table in tables]
    if args.line:
        draw_line({name: lines for name, (_, lines) in found.items() if lines is not None}, Path(args.line))
    parts.append(price_table(load(args.bases[0], GROUP), args.repeats))
    text = "\n\n".join(parts)
    print(text)
    if args.write:
        write_between_markers(Path(args.write), text)


def look_at(name: str, args: argparse.Namespace) -> tuple[list[str], Lines | None]:
    """A base's tables and, if asked for, its lines; in a process of its own."""
    torch.set_num_threads(1)
    base = load(name, args.objects)
    lines = measure_lines(positions(base, 1, args.at)) if args.line else None
    return list(accuracy_tables(base, args)), lines


def load(name: str, objects: int) -> Base:
    """The tiny cycle's model with one of its weights, and objects of the validation scenes."""
    from mmengine.registry import DATASETS, MODELS

    from sa2va_native.datasets.adapters.scenes import SceneMasks
    from sa2va_native.datasets.collate import collate_batch
    from sa2va_native.engine.run import launch

    cfg = launch.load_config("pseudo_gumbel_tiny", {"model.mask_ratio": 0.0})
    launch.use_weights(cfg, [str(ROOT / BASES[name])])
    model = MODELS.build(cfg.model).eval()
    trained = [param for param in model.parameters() if param.requires_grad]
    model.requires_grad_(False)
    source = dict(kind="cycle", dataset=dict(type=SceneMasks, split="val"))
    data = DATASETS.build(dict(cfg.train_dataloader.dataset, report_file=None, flip_share=0.0, sources=[source]))
    if objects > len(data):
        raise SystemExit(f"--objects {objects}: the split val has {len(data)}")
    items = [data[Draw(index, DrawKey(0, index))] for index in range(objects)]
    groups = [items[start : start + GROUP] for start in range(0, objects, GROUP)]
    return Base(name, model, trained, [collate_batch(group)["batch"] for group in groups])


def build_all() -> dict[str, Any]:
    """The estimators by label."""
    return {label: ESTIMATORS.build(options) for label, options in COMPARED.items()}


def positions(base: Base, points: int, at: str) -> Iterable[Position]:
    """The groups one after the other; each holds tables of its own."""
    # a space before it, as in the middle of a caption
    colours = [base.model.student.prompts.encode(f" {colour}")[0] for colour in COLOURS]
    return (Position(base.model, batch, points, colours if at == "colour" else ()) for batch in base.batches)


# -- tables --------------------------------------------------------------------------------------------------------


def accuracy_tables(base: Base, args: argparse.Namespace) -> Iterable[str]:
    """A table for each cost."""
    estimators = build_all()
    drawn: dict[str, dict[str, list[torch.Tensor]]] = {label: {cost: [] for cost in COSTS} for label in estimators}
    exact: dict[str, list[torch.Tensor]] = {cost: [] for cost in COSTS}
    chances = []
    for number, group in enumerate(positions(base, args.points, args.at)):
        chances.append(group.log_p.exp().amax(-1))
        for cost in COSTS:
            exact[cost].append(group.exact(cost))
        for label, estimator in estimators.items():
            hard = group.is_hard(estimator.words(group.step(estimator, 0)[0]))
            draws = [group.gradients(estimator, draw) for draw in range(args.lookups if hard else args.draws)]
            for cost in COSTS:
                drawn[label][cost].append(torch.stack([one[cost] for one in draws]))
        print(f"{base.name}: group {number + 1} of {len(base.batches)}", file=sys.stderr)
    for cost, title in COSTS.items():
        truth = torch.cat(exact[cost])
        directed = truth.norm(dim=1) >= MIN_EXACT
        strata = args.points if cost == "points" else 1
        rows = [row("exact, by enumeration", accuracy(truth[None, directed].expand(2, -1, -1), truth[directed]))]
        for label, by_cost in drawn.items():
            rows.append(row(label, accuracy(torch.cat(by_cost[cost], 1)[:, directed], truth[directed], strata)))
        yield (
            f"**Base: {base.name}; cost: {title}.** {int(directed.sum())} of {len(truth)} objects have a direction; "
            f"the likeliest word has p = {float(torch.cat(chances).mean()):.2f} in the mean."
        )
        head = "| estimator | length along exact | bias | cosine | signal to noise | right side |"
        yield "\n".join([head, "|---|---:|---:|---:|---:|---:|", *rows])


def row(label: str, found: Accuracy) -> str:
    along = f"{found.along:.3f} ± {found.along_error:.3f}"
    bias = f"{found.bias:.2f} ± {found.bias_error:.2f}" if found.biased else f"< {max(found.bias, 0.005):.2f}"
    if math.isnan(found.right_sign):
        return f"| {label} | 0 | 1 | no gradient | 0 | no gradient |"
    cosine = "not told" if math.isnan(found.cosine) else f"{found.cosine:.2f}"
    return f"| {label} | {along} | {bias} | {cosine} | {found.signal_to_noise:.2f} | {found.right_sign:.0%} |"


def price_table(base: Base, repeats: int) -> str:
    """CPU seconds of whole training steps, forward and backward, as :meth:`PseudoGumbel.cycle_loss` takes them."""
    torch.set_num_threads(1)
    model, batch, estimators = base.model, base.batches[0], build_all()
    specified, seconds = model.estimator, {}
    for param in base.trained:
        param.requires_grad_(True)
    train_step(model, batch)  # warm-up
    for label, estimator in estimators.items():
        model.estimator = estimator
        seconds[label] = statistics.median(timed(lambda: train_step(model, batch)) for _ in range(repeats))
    for param in base.trained:
        param.requires_grad_(False)
    model.estimator = specified
    lines = ["| estimator | readings a caption | with backward | CPU time of a step |", "|---|---:|---|---:|"]
    for label, estimator in estimators.items():
        backward = "yes" if estimator.reads_with_gradient else "no"
        ratio = seconds[label] / seconds[SPECIFIED]
        lines.append(f"| {label} | {estimator.readings} | {backward} | {ratio:.2f} |")
    return "\n".join(lines)


def train_step(model: Any, batch: Batch) -> None:
    losses = model(batch, mode="loss")
    sum(loss for name, loss in losses.items() if "loss" in name).backward()
    model.zero_grad(set_to_none=True)


def timed(part: Callable[[], None]) -> float:
    start = time.process_time()
    part()
    return time.process_time() - start


def write_between_markers(page: Path, text: str) -> None:
    content = page.read_text()
    if BEGIN not in content or END not in content:
        raise SystemExit(f"{page}: write {BEGIN} and {END} where the tables belong")
    page.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n\n{text}\n\n{END}", content, flags=re.S))


if __name__ == "__main__":
    main()
