"""Tell in minutes what the cycle can teach a model, and with which estimator, before days are spent on it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pseudo_gumbel.cli.options import add_cfg_options, add_config, add_debug, add_weights, make_parser

EXAMPLES = """\
The captioner captions objects of the config's training data. In each caption one word, mostly where it is unsure, is
swapped for the words that it finds likely instead, and each caption is read on picture 2, by the very steps that word
trials train with. No list of words is needed. Human texts, where the data have some, are treated alike. The model is
left as it was. docs/diagnosis.md explains every line of the output.

examples:
  the tiny model, as specified         pseudo-gumbel diagnose-cycle pseudo_gumbel_tiny
  with another recipe's learning rate  pseudo-gumbel diagnose-cycle word_trials_tiny
  your run's newest checkpoint         pseudo-gumbel diagnose-cycle CONFIG work_dirs/CONFIG
  a quick look, figures to a file      pseudo-gumbel diagnose-cycle CONFIG --objects 16 --json figures.json
  4B                                   pseudo-gumbel diagnose-cycle pseudo_gumbel_4b --weights Sa2VA-4B
"""


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel diagnose-cycle") -> None:
    parser = make_parser(prog, __doc__, EXAMPLES)
    add_config(parser)
    parser.add_argument("checkpoint", nargs="?", help="iter_*.pth or a work dir (default: the config's own weights)")
    add_weights(parser)
    parser.add_argument(
        "--objects", type=int, default=64, help="objects with masks alone, and as many with text (default: %(default)s)"
    )
    parser.add_argument("--words", type=int, default=8, help="words tried at a position (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=4, help="sampled captions an object (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, help="objects looked at together (default: as in training)")
    parser.add_argument("--probe-steps", type=int, default=20, help="0: no learning-rate probe (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write figures and recommendation to this file too")
    add_cfg_options(parser)
    add_debug(parser)
    args = parser.parse_args(arguments)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: diagnose(args), args.debug)


def diagnose(args: argparse.Namespace) -> None:
    from mmengine.registry import DATASETS, MODELS
    from rich.console import Console
    from rich.progress import track

    from pseudo_gumbel.diagnosis.diagnose import Diagnosis, Options
    from pseudo_gumbel.diagnosis.objects import draw_objects, in_batches
    from pseudo_gumbel.diagnosis.readings import in_place_of_own
    from pseudo_gumbel.diagnosis.report import conclusion, table
    from pseudo_gumbel.diagnosis.rules import recommend
    from sa2va_native.engine.checkpoints.weights import load_weights, require_path
    from sa2va_native.engine.config.config_check import resolve_type
    from sa2va_native.engine.config.values import require_parts
    from sa2va_native.engine.run import launch
    from sa2va_native.engine.run.use_engine import without_deepspeed
    from sa2va_native.parallel.process_group import has_cuda

    path = None if args.checkpoint is None else require_path(args.checkpoint)
    cfg = launch.load_config(args.config, args.cfg_options)
    require_parts(cfg)
    launch.use_weights(cfg, args.weights)
    without_deepspeed(cfg)
    data = dict(cfg.train_dataloader.dataset, report_file=None, flip_share=0.0)
    items = draw_objects(DATASETS.build(data), args.objects)
    is_cycle = "sa2va" in cfg.model
    model = MODELS.build(in_place_of_own(cfg.model.sa2va if is_cycle else cfg.model, args.words))
    if path is not None:
        load_weights(model if is_cycle else model.student, path)
    options = Options(samples=args.samples, probe_steps=args.probe_steps)
    diagnosis = Diagnosis(model.to("cuda" if has_cuda() else "cpu"), options)
    progress = partial(track, console=Console(stderr=True))  # the figures alone go to the standard output
    for batch in progress(in_batches(items, args.batch_size or cfg.train_dataloader.batch_size), "swapping words"):
        diagnosis.look(batch)
    figures = diagnosis.figures(cfg, partial(progress, description="probing learning rates"))
    own = getattr(resolve_type(cfg.model.estimator["type"]), "__name__", None) if is_cycle else None
    recommendation = recommend(figures, Path(args.config).stem, own)
    print(table(figures))
    print(conclusion(recommendation))
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        content = {"figures": figures.as_dict(), "recommendation": vars(recommendation)}
        Path(args.json).write_text(json.dumps(content, indent=2) + "\n")
