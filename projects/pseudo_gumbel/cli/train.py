"""Train a config in this process, or as one of several ranks."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pseudo_gumbel.cli.options import (
    add_cfg_options,
    add_config,
    add_data,
    add_debug,
    add_index_dir,
    add_weights,
    make_parser,
    positive,
    whole,
)

EXAMPLES = """\
examples:
  one process                        pseudo-gumbel train sa2va_tiny
  two ranks, ZeRO-2, bf16            pseudo-gumbel dist-train pseudo_gumbel_tiny 2
  the 4B model on 4 GPUs             pseudo-gumbel dist-train pseudo_gumbel_4b 4 \\
                                         --weights InternVL2_5-4B sam2_hiera_large.pt
  own masks (docs/data)              pseudo-gumbel train pseudo_gumbel_tiny --data-root /data/mine
  own text, a tenth held out         pseudo-gumbel train sa2va_tiny --data-root /data/mine --kind refer --val-share 0.1
  continue after a stop              pseudo-gumbel train pseudo_gumbel_tiny --resume
  change a value of the config       pseudo-gumbel train CONFIG --cfg-options optim_wrapper.optimizer.lr=1e-4
  Weights & Biases too               pseudo-gumbel train pseudo_gumbel_tiny --tracker wandb
  could it run on 4 GPUs?            pseudo-gumbel dist-train pseudo_gumbel_4b 4 --dry-run
"""


def parse_args(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = make_parser(prog, __doc__, EXAMPLES)
    add_config(parser)
    parser.add_argument("--work-dir", help="where logs and checkpoints go (default: work_dirs/<config>)")
    parser.add_argument(
        "--deepspeed",
        metavar="NAME",
        help="zero1, zero2, zero3, zero2_offload, zero3_offload, a DeepSpeed json, or none (default: the config's)",
    )
    parser.add_argument("--deepspeed-default", metavar="NAME", help=argparse.SUPPRESS)  # of the launchers
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="default: as in the json or the config")
    parser.add_argument(
        "--resume", nargs="?", const="", metavar="PATH", help="continue from PATH, or from the newest checkpoint"
    )
    parser.add_argument("--load-from", metavar="PATH", help="start a new run with the weights of a checkpoint")
    add_weights(parser)
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), help="seed of the run (default: the config's)")
    parser.add_argument("--max-steps", type=whole(1), help="optimizer steps (default: the config's)")
    parser.add_argument("--max-hours", type=positive, help="stop after so many hours, saved, so that --resume goes on")
    add_data(parser)
    add_index_dir(parser)
    parser.add_argument(
        "--tracker",
        action="extend",
        type=trackers,
        default=[],
        metavar="NAME[,NAME]",
        help="send scalars and panels to wandb, swanlab, mlflow or clearml too",
    )
    parser.add_argument(
        "--ranks", type=whole(1), help="fail unless exactly this many ranks run; with --dry-run, plan for this many"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="start nothing: check config, data, weights, disk and memory, print the plan and all problems",
    )
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="who started the ranks"
    )
    add_cfg_options(parser)
    add_debug(parser)
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.val_interval and not (args.val_root or args.val_share):
        parser.error("--val-interval: give --val-root or --val-share, which say what is evaluated")
    return args


def trackers(text: str) -> list[str]:
    """``type`` of ``--tracker``: names with commas between them."""
    from sa2va_native.engine.config.trackers import TRACKERS

    names = text.split(",")
    for name in names:
        if name not in TRACKERS:
            raise argparse.ArgumentTypeError(f"{name}: expected {', '.join(TRACKERS)}")
    return names


def settings(args: argparse.Namespace) -> list[Callable[[Any], str | None]]:
    """The changes that the options make to the config, in order; each refuses what cannot work."""
    from sa2va_native.engine.config.data_root import DataRoot, use_data_roots
    from sa2va_native.engine.config.sources import use_index_dirs
    from sa2va_native.engine.config.trackers import use_trackers
    from sa2va_native.engine.run import launch
    from sa2va_native.engine.run.use_engine import use_engine
    from sa2va_native.parallel.launchers import require_launcher

    given: list[Callable[[Any], str | None]] = [
        lambda cfg: require_launcher(args.launcher),
        lambda cfg: cfg.merge_from_dict({"launcher": args.launcher}),
    ]
    if args.seed is not None:
        given.append(lambda cfg: cfg.merge_from_dict({"randomness.seed": args.seed}))
    if args.max_steps is not None:
        given.append(lambda cfg: cfg.merge_from_dict({"train_cfg.max_steps": args.max_steps}))
    if args.max_hours is not None:
        given.append(lambda cfg: cfg.merge_from_dict({"train_cfg.max_hours": args.max_hours}))
    if args.data_root is not None:
        roots = [DataRoot(path, tuple(kinds)) for path, kinds in args.data_root]
        given.append(lambda cfg: use_data_roots(cfg, roots))
    given.append(lambda cfg: use_index_dirs(cfg, args.index_dir))
    if args.val_root or args.val_share:
        given.append(lambda cfg: validate(cfg, args))
    given.append(lambda cfg: use_trackers(cfg, args.tracker))
    given.append(lambda cfg: launch.use_weights(cfg, args.weights, download=not args.dry_run))
    given.append(lambda cfg: launch.use_checkpoint(cfg, args.resume, args.load_from))
    given.append(lambda cfg: use_engine(cfg, args.deepspeed, args.precision, args.deepspeed_default))
    return given


def validate(cfg: Any, args: argparse.Namespace) -> str:
    """Settles the evaluation while training; the first rank reads its samples and says so."""
    from sa2va_native.engine.config.validation import use_validation
    from sa2va_native.engine.run.stopping import is_first_rank

    settled = use_validation(cfg, args.val_root, args.val_share, args.val_interval, read=is_first_rank())
    if is_first_rank() and not args.dry_run:
        print(settled, file=sys.stderr)
    return settled


def train(args: argparse.Namespace) -> None:
    from sa2va_native.engine.config.values import require_complete
    from sa2va_native.engine.run import launch
    from sa2va_native.engine.run.stopping import STOPPED, is_first_rank
    from sa2va_native.files.ownership import own_folder

    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    launch.require_ranks(args.ranks)
    cfg = launch.load_config(args.config, args.cfg_options, args.work_dir)
    require_complete(cfg)
    launch.require_writable(cfg.work_dir)
    if is_first_rank():
        own_folder(cfg.work_dir)
    for apply in settings(args):
        apply(cfg)
    launch.require_one_folder(cfg)
    runner = launch.build_runner(cfg)
    runner.train()
    if getattr(runner.train_loop, "stopped", None):
        sys.exit(STOPPED)


def plan(args: argparse.Namespace) -> None:
    from sa2va_native.engine.plan.dry_run import dry_run
    from sa2va_native.engine.run import launch

    cfg = launch.read_config(args.config, args.cfg_options, args.work_dir)
    report = dry_run(cfg, settings(args), args.ranks or 1)
    print(report)
    sys.exit(1 if report.problems else 0)


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel train") -> None:
    args = parse_args(arguments, prog)
    from sa2va_native.engine.run.stopping import stop_signals

    if not args.dry_run:
        stop_signals.listen()  # before the slow imports
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: plan(args) if args.dry_run else train(args), args.debug, lambda: stop_signals.can_finish)
