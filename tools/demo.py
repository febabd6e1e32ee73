#!/usr/bin/env python3
"""The whole method on two CPU cores: train one small model five ways, evaluate, and report what changed.

All start from the same weights, a captioner that sees colours and says the wrong one more often than not:

base           as it is
labelled       human expressions alone, no cycle
self_training  masks without captions, read with the teacher's hard captions
specified      the cycle with the specified values: straight-through Gumbel words
soft_gumbel    the cycle with soft Gumbel words: mixtures of likely words, no straight-through
word_trials    the cycle with words that are tried in turn: no gradient through words

They are seed 0 of these arms of the experiment (tools/experiment.py), at the same steps and on the same data. Written
to --work-dir: report.html, report.md, report.json, panels/*.png, and a folder for each run with its config, log,
checkpoint, metrics and predictions.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

from pseudo_gumbel.experiment.arms import BASES, find
from pseudo_gumbel.experiment.pool import Pool
from pseudo_gumbel.experiment.runs import Run, RunFailed
from pseudo_gumbel.experiment.verdicts import TEST_SPLITS
from sa2va_native.evaluation.controls import CONTROLS
from sa2va_native.files.paths import resolve

ROOT = Path(__file__).resolve().parents[1]
BASE, SEED = "partner", 0
FEATURES = "features"
#: What is done, in the report's order, and its CPU seconds on a busy machine: what counts are the proportions.
WORK = {
    "base": 75,
    "labelled": 105,
    "self_training": 200,
    "specified": 200,
    "soft_gumbel": 240,
    "word_trials": 200,
    FEATURES: 110,
}
#: Part of a run's work that is training.
TRAINING = 0.6
#: Runs in the picture, and what they are called there.
SHOWN = {"base": "base", "specified": "specified", "soft_gumbel": "soft words", "word_trials": "word trials"}
EXAMPLES = """\
examples:
  the demo                               make demo
  quickly, to see that all of it works   tools/demo.py --steps 2
  go on after a stop                     tools/demo.py --resume
  ask a trained model                    tools/infer.py PICTURE --mask MASK.png --model work_dirs/demo/word_trials/train
"""


@dataclass(frozen=True, eq=False)
class DemoRun(Run):
    """A run of the experiment with a folder of its own in the demo's."""

    @property
    def name(self) -> str:
        return self.arm.name


def planned(work_dir: Path, steps: int) -> dict[str, DemoRun]:
    """The runs by name, in the report's order."""
    arms = {arm.name: arm for arm in find([name for name in WORK if name != FEATURES], ["core"])}
    features = work_dir.with_name(FEATURES)  # the experiment's, if both are in the same folder
    return {
        name: DemoRun(
            replace(arms[name], steps=steps if arms[name].steps else 0),
            BASE,
            SEED,
            tuple(TEST_SPLITS),
            work_dir,
            CONTROLS,
            features,
        )
        for name in WORK
        if name != FEATURES
    }


def stages(runs: Mapping[str, DemoRun], done: Sequence[str] = ()) -> list[list[str]]:
    """What is done after what; in a stage the longest first, so that both cores are busy to the end.

    The features of the training pictures come first, and beside them what needs none.
    """
    todo = sorted((name for name in runs if name not in done), key=lambda name: -WORK[name])
    trained = [name for name in todo if runs[name].arm.steps]
    rest = [name for name in todo if name not in trained]
    return [stage for stage in ([FEATURES, *rest] if trained else rest, trained) if stage]


class Progress:
    """Says every so often where the runs are and how long it will take.

    Args:
        runs: the demo's, by name.
        todo: names of what is to do.
    """

    def __init__(self, runs: Mapping[str, DemoRun], todo: Sequence[str]) -> None:
        self.runs, self.todo = runs, list(todo)
        self.running: dict[str, None] = {}
        self.finished: list[str] = []
        self.start = time.monotonic()
        self._over = threading.Event()

    def says(self) -> str:
        """One line."""
        now = ", ".join(self._where(name) for name in list(self.running))
        elapsed = time.monotonic() - self.start
        done = sum(WORK[name] for name in self.finished) + sum(WORK[n] * self._share(n) for n in list(self.running))
        total = sum(WORK[name] for name in self.todo)
        left = f"; about {elapsed * (total / done - 1) / 60:.0f} min left" if done >= 0.05 * total else ""
        return f"  {int(elapsed) // 60:3d}:{int(elapsed) % 60:02d}  {now}{left}"

    def _micro_batches(self, name: str) -> tuple[int, int] | None:
        """Micro-batches done, of how many."""
        log = self.runs[name].place / "train.log"
        found = (
            re.findall(r"Iter\(train\) *\[ *(\d+)/(\d+)\]", log.read_text("utf-8", "replace")) if log.exists() else []
        )
        return (int(found[-1][0]), int(found[-1][1])) if found else None

    def _evaluates(self, name: str) -> bool:
        return (self.runs[name].place / "test.log").exists()

    def _share(self, name: str) -> float:
        if name == FEATURES:
            return 0.0
        done = self._micro_batches(name)
        return TRAINING if self._evaluates(name) else TRAINING * done[0] / done[1] if done else 0.0

    def _where(self, name: str) -> str:
        if name == FEATURES:
            return "features of the training pictures"
        if self._evaluates(name):
            return f"{name} is evaluated"
        done = self._micro_batches(name)
        return f"{name} micro-batch {done[0]}/{done[1]}" if done else f"{name} starts"

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """While a task is done; then says how long it took."""
        start = time.monotonic()
        self.running[name] = None
        try:
            yield
        finally:
            del self.running[name]
        self.finished.append(name)
        print(f"  {name}: done in {time.monotonic() - start:.0f} s", flush=True)

    def __enter__(self) -> Progress:
        def speak() -> None:
            while not self._over.wait(20):
                print(self.says(), flush=True)

        threading.Thread(target=speak, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()


def perform(runs: Mapping[str, DemoRun], jobs: int, done: Sequence[str]) -> None:
    """Do the stages.

    Raises:
        SystemExit: a command failed; with the end of its log.
    """

    def do(pool: Pool, name: str) -> None:
        with progress.of(name):
            if name == FEATURES:
                fill(runs, pool)
            else:
                runs[name].perform(pool.call, keep=True)

    todo = stages(runs, done)
    with Progress(runs, [name for stage in todo for name in stage]) as progress:
        for stage in todo:
            pool = Pool(jobs)
            for name, error in pool.map(partial(do, pool), stage):
                if isinstance(error, RunFailed):
                    raise SystemExit(f"\n{error}\n{name} failed. The others are stopped; --resume keeps what is done.")
                if error is not None:
                    raise error


def fill(runs: Mapping[str, DemoRun], pool: Pool) -> None:
    """Compute the features of the frozen towers for all training pictures."""
    features = next(run.features for run in runs.values() if run.features)
    features.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pseudo_gumbel.experiment.features", str(resolve(BASES[BASE])), str(features)]
    pool.call(command, features / f"{BASE}.log")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100, help="optimizer steps of each run (default: %(default)s)")
    parser.add_argument(
        "--jobs",
        type=int,
        default=min(os.cpu_count() or 1, 5),
        help="runs at a time, each a process of one thread and 1.5 GB (default: the cores, at most 5)",
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=ROOT / "work_dirs/demo",
        help="default: work_dirs/demo; runs of the same names in it are replaced",
    )
    parser.add_argument(
        "--resume", action="store_true", help="keep the runs that an earlier call with --steps finished"
    )
    args = parser.parse_args(arguments)
    if args.steps < 1 or args.jobs < 1:
        parser.error("--steps and --jobs take numbers from 1 on")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, which ends the runs
    start = time.monotonic()
    runs = planned(args.work_dir.resolve(), args.steps)
    done = [name for name, run in runs.items() if args.resume and run.result() is not None]
    print(f"{len(runs) - len(done)} runs of {args.steps} steps, {args.jobs} at a time", flush=True)
    perform(runs, args.jobs, done)
    from sa2va_native.evaluation.html_report import write_html
    from sa2va_native.evaluation.report import write_report
    from sa2va_native.evaluation.report_runs import find_run

    results = {name: run.result() or {} for name, run in runs.items()}
    facts = {
        name: {"steps": result["steps"], "seconds": round(result["seconds"]["train"])}
        for name, result in results.items()
    }
    print("\n" + write_report(args.work_dir, facts, SHOWN))
    write_html(args.work_dir / "report.html", {name: find_run(run.place) for name, run in runs.items()}, "What changed")
    seconds = time.monotonic() - start
    print(f"\nwritten to {args.work_dir} in {seconds:.0f} s: report.html, report.md, report.json, panels/")


if __name__ == "__main__":
    main()
