"""Test which words the referrer can distinguish, before cycle training: mask losses of true and of swapped words."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pseudo_gumbel.cli.options import add_config, add_debug, add_weights, make_parser

EXAMPLES = """\
A group is a list of words that exclude each other. In each expression of the config's test set that contains one of
them, that word is swapped for each of the others. The cycle can teach a word only if the true one gives the lowest
loss clearly more often than chance.

examples:
  the tiny model      pseudo-gumbel word-swap sa2va_tiny
  your own words      pseudo-gumbel word-swap CONFIG CHECKPOINT --group man,woman,boy,girl --group left,right
"""
SCENE_GROUPS = (
    "red,orange,yellow,green,cyan,blue,purple,pink",
    "circle,square,triangle,star,cross,ring",
    "small,large",
)


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel word-swap") -> None:
    parser = make_parser(prog, __doc__, EXAMPLES)
    add_config(parser)
    parser.add_argument("checkpoint", nargs="?", help="iter_*.pth or a work dir (default: the config's own weights)")
    add_weights(parser)
    parser.add_argument("--group", action="append", metavar="WORD,WORD,...", help="default: words of the scenes")
    parser.add_argument("--batches", type=int, default=20, help="batches of 10 expressions (default: %(default)s)")
    add_debug(parser)
    args = parser.parse_args(arguments)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: swap(args), args.debug)


def swap(args: argparse.Namespace) -> None:
    from itertools import islice

    from mmengine.registry import MODELS
    from mmengine.runner import Runner
    from rich.progress import track

    from sa2va_native.engine.checkpoints.weights import load_weights, require_path
    from sa2va_native.engine.run import launch
    from sa2va_native.inference.word_swap import word_swaps

    cfg = launch.load_config(args.config)
    launch.use_weights(cfg, args.weights)
    model = MODELS.build(cfg.model)
    if args.checkpoint:
        load_weights(model, require_path(args.checkpoint))
    loader = cfg.test_dataloader
    loader.batch_size = 10
    loader.dataset.sources = [source for source in loader.dataset.sources if source.kind == "refer"][:1]
    batches = (data["batch"] for data in islice(Runner.build_dataloader(loader, seed=0), args.batches))
    groups = [group.split(",") for group in args.group or SCENE_GROUPS]
    results = word_swaps(getattr(model, "student", model), track(batches, "swapping", args.batches), groups)
    print(f"{'group':<40} {'expressions':>11} {'true is best':>13} {'chance':>7} {'gap':>7}")
    for result in results:
        name = ", ".join(result.words)
        name = name if len(name) <= 40 else f"{name[:37]}..."
        chance = f"{1 / len(result.words):.2f}"
        print(f"{name:<40} {len(result.losses):>11} {result.true_is_best:>13.2f} {chance:>7} {result.gap:>7.2f}")
