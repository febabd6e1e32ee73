#!/usr/bin/env python3
"""The whole method on two CPU cores: train the tiny model four ways, evaluate, and report what changed.

Writes ``report.md``, ``report.json`` and ``panels/*.png`` to ``work_dirs/demo``:

base           the shipped weights: sound referring, captions that guess the colour
labelled       the same number of steps on human expressions alone
self_training  masks without captions, on the teacher's hard captions
cycle          masks without captions, by the pseudo-Gumbel cycle
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "projects"))

#: Runs and their configs; the base is evaluated without training.
CONFIGS = {
    "base": "configs/sa2va_tiny.py",
    "labelled": "configs/sa2va_tiny.py",
    "self_training": "configs/ablations/self_training.py",
    "cycle": "configs/pseudo_gumbel_tiny.py",
}


def train(run: str, work_dir: Path, steps: int, ranks: int) -> float:
    """Train one run through ``tools/dist_train.sh``; returns seconds."""
    log = work_dir / run / "train.log"
    command = ["tools/dist_train.sh", CONFIGS[run], str(ranks), "--precision", "fp32"]
    command += ["--max-steps", str(steps), "--work-dir", str(work_dir / run)]
    return _call(command, log, f"training {run}", progress=r"Iter\(train\) *\[ *(\d+/\d+)\]")


def evaluate(run: str, work_dir: Path) -> float:
    """Evaluate one run on both test splits; returns seconds."""
    folder = work_dir / run
    command = [sys.executable, "tools/test.py", CONFIGS[run], *([str(folder)] if run != "base" else [])]
    command += ["--work-dir", str(folder / "test"), "--out", str(folder / "metrics.json")]
    command += ["--predictions", str(folder / "predictions.jsonl")]
    return _call(command, folder / "test.log", f"evaluating {run}")


def _call(command: list[str], log: Path, title: str, progress: str | None = None) -> float:
    """Run a command with its output in ``log``; on failure show the end of it and stop."""
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        # One thread each: the processes share the cores, and waiting threads cost more than they give.
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            file.flush()
            if progress and (done := re.search(progress, line)):
                print(f"  {title}: micro-batch {done[1]}, {time.monotonic() - start:.0f} s", flush=True)
    seconds = time.monotonic() - start
    if process.wait():
        tail = "".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-30:])
        raise SystemExit(f"{tail}\n{title} failed: {' '.join(command)}\nwhole log: {log}")
    print(f"  {title}: done in {seconds:.0f} s", flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help="optimizer steps of each run (default: %(default)s)")
    parser.add_argument("--ranks", type=int, default=2, help="processes to train with (default: %(default)s)")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs/demo")
    args = parser.parse_args()
    from sa2va_native.evaluation.report import write_report

    start = time.monotonic()
    seconds = {run: train(run, args.work_dir, args.steps, args.ranks) for run in CONFIGS if run != "base"}
    with ThreadPoolExecutor(max_workers=args.ranks) as pool:
        list(pool.map(lambda run: evaluate(run, args.work_dir), CONFIGS))
    runs = {
        run: {"steps": args.steps if run in seconds else 0, "seconds": round(seconds.get(run, 0))} for run in CONFIGS
    }
    print("\n" + write_report(args.work_dir, runs))
    print(f"\nwritten to {args.work_dir} in {time.monotonic() - start:.0f} s: report.md, report.json, panels/")


if __name__ == "__main__":
    main()
