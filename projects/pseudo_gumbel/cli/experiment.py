"""Run the experiment of the method: many arms, bases and seeds, side by side and resumable; then tables and plots."""

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
  schedules, on validation scenes           pseudo-gumbel experiment --group grid
  write the best of each grid down          pseudo-gumbel experiment --choose
  tables and plots of all that has run      pseudo-gumbel experiment --report
  do the published figures come out here?   pseudo-gumbel experiment --check
"""

CONTROLS = ("floor", "ceiling", "stranger")


def parse_args(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = make_parser(prog, __doc__, EXAMPLES)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--report", action="store_true", help="draw docs/results.* from all results, run nothing")
    what.add_argument("--choose", action="store_true", help="write down the best schedule of each grid, run nothing")
    what.add_argument("--check", action="store_true", help="rerun seed 0 of the main arms and compare: 30 minutes")
    what.add_argument("--dry-run", action="store_true", help="list the runs and what is done already")
    parser.add_argument(
        "--group",
        nargs="+",
        default=["core"],
        choices=["core", "ablations", "grid", "best"],
        help="arms (default: core); best: at the schedules of --choose",
    )
    parser.add_argument("--arms", nargs="+", metavar="NAME", help="only these arms; * stands for anything")
    parser.add_argument("--bases", nargs="+", metavar="NAME", help="shipped, partner (default: both)")
    parser.add_argument("--seeds", metavar="LIST", help="e.g. 0-4 or 0,3 (default: 0-4; of grid and --check: 0)")
    parser.add_argument(
        "--splits", nargs="+", metavar="NAME", help="default: test test_heldout; of grid: val val_heldout"
    )
    parser.add_argument("--steps", type=int, help="optimizer steps of every arm instead of its own; for trying out")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time (default: all cores)")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/experiment"), help="default: %(default)s")
    parser.add_argument("--docs", type=Path, help="folder of results.md, results.json and images (default: docs)")
    parser.add_argument(
        "--controls",
        nargs="*",
        metavar="NAME",
        help="what cycle IoU is compared with (default: floor ceiling stranger; of grid: none)",
    )
    parser.add_argument("--no-feature-cache", action="store_true", help="let every run compute the frozen towers")
    parser.add_argument("--keep", action="store_true", help="keep the checkpoints")
    add_debug(parser)
    return parser.parse_args(arguments)


def planned(args: argparse.Namespace) -> list[Run]:
    """The runs that the options ask for.

    Raises:
        ConfigError: an unknown arm or base, or a test split for arms of which the best is yet to be chosen.
    """
    from dataclasses import replace

    from pseudo_gumbel.experiment import check, choose
    from pseudo_gumbel.experiment.arms import BASES, GROUPS, find
    from pseudo_gumbel.experiment.plan import numbers, plan
    from pseudo_gumbel.experiment.verdicts import TEST_SPLITS
    from sa2va_native.errors import ConfigError

    grid = args.group == ["grid"]
    splits = args.splits or (choose.SPLITS if grid else TEST_SPLITS)
    arms = find(args.arms or (check.ARMS if args.check else None), args.group)
    if (tested := set(splits) & set(TEST_SPLITS)) and (unchosen := [arm for arm in arms if arm in GROUPS["grid"]]):
        raise ConfigError(
            f"--splits {' '.join(sorted(tested))} for {unchosen[0].name}: schedules are chosen on validation scenes, "
            f"before a test split is read. Use --group grid alone, or --splits {' '.join(choose.SPLITS)}."
        )
    if args.steps is not None:
        arms = [replace(arm, steps=args.steps if arm.steps else 0) for arm in arms]
    seeds = numbers(args.seeds or ("0" if grid or args.check else "0-4"))
    folder = _check_folder(args) if args.check else args.work_dir
    runs = plan(arms, args.bases or list(BASES), seeds, tuple(splits), folder.resolve())
    controls = (() if grid else CONTROLS) if args.controls is None else args.controls
    features = None if args.no_feature_cache else args.work_dir.resolve().with_name("features")
    return [replace(run, controls=tuple(controls), features=features) for run in runs]


def experiment(args: argparse.Namespace) -> int:
    """Do what is not done yet; the exit status is 1 if a run failed or could not start."""
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
    if todo and (unfilled := fill_cache(todo)):
        print(unfilled, file=sys.stderr)
        return 1
    measured = [(run, run.seconds(result)) for run, result in results.items() if result is not None]
    failed = perform(todo, measured, args.jobs, args.keep)
    for run, message in failed.items():
        print(f"\n{run.name} failed:\n{message}", file=sys.stderr)
    return 1 if failed or lacking else 0


def fill_cache(todo: Sequence[Run]) -> str | None:
    """Compute what the runs share, once for each base; returns the error of one that failed."""
    from pseudo_gumbel.experiment.arms import BASES
    from pseudo_gumbel.experiment.pool import Pool
    from sa2va_native.files.paths import resolve

    bases = sorted({run.base for run in todo if run.features and run.arm.steps})
    pool = Pool(1)  # bases may share their frozen towers: then the second finds everything done

    def fill(base: str) -> None:
        features = next(run.features for run in todo if run.features)
        features.mkdir(parents=True, exist_ok=True)
        module = "pseudo_gumbel.experiment.features"
        command = [sys.executable, "-m", module, str(resolve(BASES[base])), str(features)]
        seconds = pool.call(command, features / f"{base}.log")
        print(f"features of the training pictures, {base} base: {seconds:.0f} CPU s", flush=True)

    for base, error in pool.map(fill, bases):
        if error is not None:
            return f"features of the {base} base: {error}"
    return None


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


def report(args: argparse.Namespace) -> int:
    """Draw what the runs say: those of the work dir, and those published before that it does not have."""
    from pseudo_gumbel.experiment.plots import draw
    from pseudo_gumbel.experiment.report import sections, verdict_lines, write_sections
    from pseudo_gumbel.experiment.results import merged, publish_runs, read_published, read_runs

    docs = _docs(args)
    published = docs / "results.json"
    publish_runs(published, merged(read_published(published), read_runs(args.work_dir)).runs)
    results = merged(read_published(published))  # as it was rounded, so that the file alone gives the same page
    pictures = [picture for group in ("core", "ablations") for picture in draw(results, docs / "images", group)]
    write_sections(docs / "results.md", sections(results, [f"images/{picture.name}" for picture in pictures]))
    print(verdict_lines(results))
    print(f"\n{len(results.runs)} runs in {docs / 'results.md'}, results.json, {len(pictures)} pictures")
    return 0


def choose_schedules(args: argparse.Namespace) -> int:
    """Write the choices down."""
    from pseudo_gumbel.experiment.arms import CHOSEN
    from pseudo_gumbel.experiment.choose import choose, freeze
    from pseudo_gumbel.experiment.results import merged, read_runs

    print("\n".join(freeze(CHOSEN, choose(merged(read_runs(args.work_dir))))))
    print(f"frozen in {CHOSEN}; now --group best reads the test splits")
    return 0


def check_published(args: argparse.Namespace) -> int:
    """Rerun and compare; the exit status is 1 if a run failed or a figure lies outside."""
    from pseudo_gumbel.experiment.check import check, summary
    from pseudo_gumbel.experiment.results import merged, read_published, read_runs

    published = merged(read_published(_docs(args) / "results.json"))
    status = experiment(args)
    lines = check(merged(read_runs(_check_folder(args))), published)
    print(summary(lines))
    return 0 if lines and not status and all(line.inside for line in lines) else 1


def _check_folder(args: argparse.Namespace) -> Path:
    return args.work_dir.with_name(f"{args.work_dir.name}_check")


def _docs(args: argparse.Namespace) -> Path:
    from sa2va_native.errors import ConfigError
    from sa2va_native.files.paths import ROOT

    docs = args.docs or ROOT / "docs"
    if not (docs / "results.md").is_file():
        raise ConfigError(f"--docs {docs}: has no results.md. Give the folder of a checkout's pages.")
    return docs


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel experiment") -> None:
    args = parse_args(arguments, prog)
    from sa2va_native.engine.run.launch import run_tool

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, which ends the runs
    given = (args.report, report), (args.choose, choose_schedules), (args.check, check_published)
    do = next((function for asked, function in given if asked), experiment)
    run_tool(lambda: sys.exit(do(args)), args.debug)
