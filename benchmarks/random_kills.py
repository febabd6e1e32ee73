#!/usr/bin/env python3
"""Kills runs of two ranks at random moments, again and again: does each go on, and end bit equal to one left alone?

python benchmarks/random_kills.py                                  # 100 kills in all: plain, ZeRO-2 and ZeRO-3
python benchmarks/random_kills.py --kills 10 --ways zero2 --seed 1

SIGKILL goes to one rank, to the launcher, or to all processes, at a moment between the start and the end. Then nothing
may live on, and the run is started again with --resume, until it ends by itself. What it has left is then compared with
a run that nobody killed: names of files, and every tensor of the last checkpoint. Launcher and ranks are forks of this
process, so that imports are paid once. Exit status 1 if anything differs. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

import mmengine.config.config
import torch

from pseudo_gumbel import model
from pseudo_gumbel.cli import dist_train, train
from sa2va_native.datasets.scenes.scene_set import write_scene_set
from sa2va_native.engine.checkpoints.safe_load import load_file
from sa2va_native.engine.checkpoints.zero_shards import ZeroShards
from sa2va_native.engine.run import strategy
from sa2va_native.files.paths import ROOT
from sa2va_native.parallel import start_ranks

IMPORTED_FOR_FORKS = model, strategy

RANKS, STEPS = 2, 5
WAYS = {"plain": "none", "zero2": "zero2", "zero3": "zero3"}  #: values of --deepspeed
TARGETS = ("rank", "launcher", "all")
SIZES = {"labelled": 6, "mask_only": 4, "test": 2, "test_heldout": 2}
#: Seconds in which all processes of a run must have ended after a kill; a launcher waits 30 for ranks without a peer.
ENDED_IN = 90
_PR_SET_CHILD_SUBREAPER = 36


class ForkedRank:
    """What the launcher needs of :class:`subprocess.Popen`; a fork that calls the command instead of executing it."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], start_new_session: bool, preexec_fn: Callable[[], object]
    ) -> None:
        def call() -> None:
            os.setsid()
            preexec_fn()
            os.environ.update(env)
            train.main(command[command.index("train") + 1 :])

        self.pid, self.returncode = fork(call), None

    def poll(self) -> int | None:
        if self.returncode is None and (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(ended[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


def fork(call: Callable[[], object]) -> int:
    """The process that makes a call and ends with its exit status."""
    if child := os.fork():
        return child
    status: Any = 1
    try:
        call()
        status = 0
    except SystemExit as error:
        status = error.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)


def launch(work_dir: Path, scenes: Path, way: str, log: Path) -> int:
    """Starts or resumes the run of a work dir; the launcher's process."""
    data = "train_dataloader.dataset.sources.1.dataset."
    options = [f"{data}root={scenes}", *(f"{data}settings.sizes.{name}={size}" for name, size in SIZES.items())]
    options += ["train_dataloader.batch_size=1", "model.sa2va.max_new_tokens=3", "default_hooks.checkpoint.interval=1"]
    options += [f"work_dir={work_dir}"]
    command = [str(ROOT / "configs/pseudo_gumbel_tiny.py"), str(RANKS), "--resume", "--max-steps", str(STEPS)]
    command += ["--deepspeed", WAYS[way], "--precision", "fp32", "--cfg-options", *options]

    def call() -> None:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1), os.dup2(handle, 2)
        tempfile.tempdir = os.environ["TMPDIR"] = str(temporary(work_dir))
        start_ranks.subprocess = types.SimpleNamespace(Popen=ForkedRank)  # type: ignore[attr-defined]
        dist_train.main(command)

    return fork(call)


def children(process: int) -> list[int]:
    try:
        threads = [file.read_text().split() for file in Path(f"/proc/{process}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for own in threads for child in own]


def descendants(process: int) -> list[int]:
    return [one for child in children(process) for one in (child, *descendants(child))]


def kill(launcher: int, target: str, draw: random.Random) -> None:
    """Kills a rank, if there is one yet, the launcher, or both with the workers of the loaders."""
    ranks = children(launcher) or [launcher]
    victims = {"rank": [draw.choice(ranks)], "launcher": [launcher], "all": [launcher, *descendants(launcher)]}
    for one in victims[target]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def wait(seconds: float) -> dict[int, int]:
    """Statuses of all processes that end in some time; those that outlive their parents are this process's too."""
    ended, until = {}, time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if process:
            ended[process] = os.waitstatus_to_exitcode(status)
        else:
            time.sleep(0.02)
    return ended


def temporary(work_dir: Path) -> Path:
    """The folder for temporary files of a run."""
    folder = work_dir.with_name(f"{work_dir.name}_tmp")
    folder.mkdir(exist_ok=True)
    return folder


def left_behind(work_dir: Path) -> set[str]:
    """Names of the files of a finished run, temporary ones too, without what tells the time."""
    folders = work_dir, temporary(work_dir)
    names = (str(file.relative_to(folder)) for folder in folders for file in folder.rglob("*"))
    return {name for name in names if not re.match(r"\d{8}_\d{6}", name)}


def tensors(value: Any, place: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield place, value
    elif isinstance(value, Mapping):
        for key in value:
            yield from tensors(value[key], f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from tensors(item, f"{place}.{number}")


def last_tensors(work_dir: Path) -> dict[str, torch.Tensor]:
    """All of the last checkpoint; of what ZeRO cuts by rank, all but the padding, which has no meaning."""
    newest = max(work_dir.glob("iter_*.pth"), key=lambda path: int(path.stem.removeprefix("iter_")))
    if newest.is_file():
        return dict(tensors(load_file(newest), newest.name))
    found = {name: one for file in newest.glob("*model_states.pt") for name, one in tensors(load_file(file), file.name)}
    shards = ZeroShards(newest)
    return found | {f"{key} of {name}": shards.whole(name, key) for name in shards.shapes for key in shards.keys}


def differences(work_dir: Path, alone: Path) -> list[str]:
    """What a run that was killed and resumed has otherwise than one left alone."""
    found = [f"file {name}" for name in sorted(left_behind(work_dir) ^ left_behind(alone))]
    one, other = last_tensors(work_dir), last_tensors(alone)
    found += [f"tensor {name}" for name in one.keys() ^ other.keys()]
    bits = {name: torch.equal(one[name], other[name]) for name in one.keys() & other.keys()}
    return found + [f"value of {name}" for name, equal in bits.items() if not equal]


def try_way(way: str, kills: int, draw: random.Random, folder: Path, scenes: Path) -> tuple[Counter[str], list[str]]:
    """Kills runs trained in one way.

    Returns:
        how often what was done, and what went wrong.
    """
    alone, log, done, wrong = folder / f"{way}_alone", folder / f"{way}.log", Counter[str](), list[str]()
    start = time.monotonic()
    launcher = launch(alone, scenes, way, log)
    if wait(600).get(launcher) != 0:
        sys.exit(f"{way}: the run that nobody kills does not end well:\n{log.read_text()}")
    whole, work_dir, left = time.monotonic() - start, folder / way, kills
    while left or work_dir.exists():
        log.unlink()
        launcher, target = launch(work_dir, scenes, way, log), draw.choice(TARGETS)
        ended = wait(draw.uniform(0, whole) if left else 10 * whole)
        if killed := launcher not in ended:
            kill(launcher, target, draw)
        ended |= wait(ENDED_IN)
        problems = ["it hangs"] if killed and not left else []
        if alive := descendants(os.getpid()):
            problems.append(f"{len(alive)} processes live on")
            for one in alive:
                os.kill(one, signal.SIGKILL)
            wait(ENDED_IN)
        if "Traceback" in log.read_text():
            problems.append("a traceback")
        if killed:
            done[target] += 1
            left -= 1
        elif ended[launcher] == 0:
            done["end"] += 1
            problems += differences(work_dir, alone)
            shutil.rmtree(work_dir), shutil.rmtree(temporary(work_dir))
        else:
            problems.append(f"status {ended[launcher]}")
        print(way, dict(done), *problems, file=sys.stderr, flush=True)
        if problems:
            wrong.append(f"{way} after {dict(done)}: {'; '.join(problems)}\n{log.read_text()[-3000:]}")
            shutil.rmtree(work_dir, ignore_errors=True)
    return done, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="in all (default: %(default)s)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="(default: all)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    args = parser.parse_args()
    mmengine.config.config.FormatCode = lambda text, **_: (text, True)  # laying it out takes a fifth of a run
    torch.set_num_threads(1)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    found: list[str] = []
    print("way", *TARGETS, "runs to the end", "wrong", sep="\t")
    with tempfile.TemporaryDirectory(prefix="random_kills_") as name:
        folder = Path(name)
        scenes = write_scene_set(folder / "scenes", sizes=SIZES)
        for number, way in enumerate(args.ways):
            kills = (args.kills + number) // len(args.ways)
            done, wrong = try_way(way, kills, random.Random(f"{args.seed} {way}"), folder, scenes)
            print(way, *(done[target] for target in TARGETS), done["end"], len(wrong), sep="\t", flush=True)
            found += wrong
    print("\n".join(found))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
