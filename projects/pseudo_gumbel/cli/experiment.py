"""Run the experiment of the method: many arms, bases and seeds; resumable, side by side, then tables and plots."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pseudo_gumbel.cli.options import add_debug, make_parser

if TYPE_CHECKING:
    from pseudo_gumbel.experiment.runs import Run

EXAMPLES = """\
examples:
  all core arms, five seeds, both bases     pseudo-gumbel experiment
  go on after a stop                        the same command again
  two arms, one seed                        pseudo-gumbel experiment --arms labelled 'word_trials*' --seeds 0
  what would run                            pseudo-gumbel experiment --group ablations --dry-run
"""


def parse_args(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = make_parser(prog, __doc__, EXAMPLES)
    parser.add_argument(
        "--group", nargs="+", default=["core"], choices=["core", "ablations", "grid"], help="arms (default: core)"
    )
    parser.add_argument("--arms", nargs="+", metavar="NAME", help="only these arms; * stands for anything")
    parser.add_argument("--bases", nargs="+", metavar="NAME", help="shipped, partner (default: both)")
    parser.add_argument("--seeds", default="0-4", help="e.g. 0-4 or 0,3 (default: %(default)s; of a grid: 0)")
    parser.add_argument("--splits", nargs="+", metavar="NAME", help="default: test test_heldout; of a grid: val ...")
    parser.add_argument("--steps", type=int, help="optimizer steps of every arm instead of its own; for trying out")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time (default: all cores)")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/experiment"), help="default: %(default)s")
    parser.add_argument("--keep", action="store_true", help="keep the checkpoints")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and what is done already")
    add_debug(parser)
    return parser.parse_args(arguments)


def planned(args: argparse.Namespace) -> list[Run]:
    from dataclasses import replace

    from pseudo_gumbel.experiment.arms import BASES, find
    from pseudo_gumbel.experiment.plan import numbers, plan

    splits = args.splits or (["val", "val_heldout"] if args.group == ["grid"] else ["test", "test_heldout"])
    arms = find(args.arms, args.group)
    if args.steps is not None:
        arms = [replace(arm, steps=args.steps if arm.steps else 0) for arm in arms]
    return plan(arms, args.bases or list(BASES), numbers(args.seeds), splits, args.work_dir.resolve())


def experiment(args: argparse.Namespace) -> int:
    """The exit status: 1 if a run failed or could not start."""
    runs = planned(args)
    lacking = {run: reason for run in runs if (reason := run.missing())}
    for reason, count in Counter(lacking.values()).items():
        print(f"{count} runs left out: {reason}", file=sys.stderr)
    results = {run: run.result() for run in runs if run not in lacking}
    todo = [run for run, result in results.items() if result is None]
    if args.dry_run:
        for run, result in results.items():
            print(f"  {'done' if result else '    '}  {run.name:<50} {run.arm.says}")
    print(f"{len(results)} runs, {len(results) - len(todo)} done already, {len(todo)} to do, {args.jobs} at a time")
    if args.dry_run:
        return 0
    measured = [(run, run.seconds(result)) for run, result in results.items() if result is not None]
    failed = perform(todo, measured, args.jobs, args.keep)
    for run, message in failed.items():
        print(f"\n{run.name} failed:\n{message}", file=sys.stderr)
    return 1 if failed or lacking else 0


def perform(todo: Sequence[Run], measured: list[tuple[Run, float]], jobs: int, keep: bool) -> dict[Run, str]:
    """Do the runs, with a line for each; returns those that failed and why."""
    from pseudo_gumbel.experiment.plan import seconds_left
    from pseudo_gumbel.experiment.pool import Pool
    from pseudo_gumbel.experiment.runs import RunFailed

    pool, left, failed = Pool(jobs), list(todo), {}
    for run, error in pool.map(lambda run: run.perform(pool.call, keep), todo):
        left.remove(run)
        if isinstance(error, RunFailed):
            failed[run] = str(error)
            outcome = "FAILED"
        elif error is not None:
            raise error
        else:
            result = run.result()
            seconds = run.seconds(result) if result else 0.0
            measured.append((run, seconds))
            outcome = f"{seconds:.0f} s"
        rest = seconds_left(left, measured, jobs)
        eta = "" if rest is None or not left else f", ready in {rest / 60:.0f} min ({_clock(rest)})"
        print(f"[{len(todo) - len(left)}/{len(todo)}] {run.name}: {outcome}{eta}", flush=True)
    return failed


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M", time.localtime(time.time() + seconds))


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel experiment") -> None:
    args = parse_args(arguments, prog)
    from sa2va_native.engine.run.launch import run_tool

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, which ends the runs
    run_tool(lambda: sys.exit(experiment(args)), args.debug)
