"""Writes checkpoints that are either complete or not there, and finds the one that a run goes on from.

A checkpoint is a file (plain runner) or a folder (DeepSpeed). Both are written under a temporary name,
flushed to disk and renamed, so that a process killed at any moment leaves the checkpoints before it untouched.
Both carry a seal, which says of which run they are and finds damage.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log

from sa2va_native.engine.checkpoints.safe_load import require_known_globals
from sa2va_native.errors import CheckpointError
from sa2va_native.files import atomic
from sa2va_native.files.seal import Damaged, Seal
from sa2va_native.files.sealed_archive import archive_damage, archive_seal
from sa2va_native.files.sealed_folder import folder_damage, folder_seal, seal_folder

#: Folder of a work dir for the checkpoints of runs that it held before.
EARLIER = "earlier_runs"
_NAME = re.compile(r"iter_(\d+)\.pth")
#: Of evaluations while training, see ``StepCheckpointHook``. A run does not go on from them unless one is named.
BEST_NAME = re.compile(r"best_[^/]*_iter_(\d+)\.pth")


class Found(NamedTuple):
    """A checkpoint of a work dir, unverified."""

    path: Path
    iteration: int
    run: str | None  #: identity of the run that wrote it; None if it was written without
    saved: int  #: when, in nanoseconds since 1970
    readable: bool  #: whether its seal is undamaged; otherwise its run is unknown


def find_latest_checkpoint(work_dir: str | Path, up_to: float = math.inf) -> str | None:
    """The newest undamaged ``iter_*.pth`` of a run, of iteration ``up_to`` at most, or None if there is none.

    Where a work dir holds those of several runs, the run is the one that saved last. MMEngine's ``last_checkpoint`` is
    not consulted: it may be truncated, or name a checkpoint that is gone. A damaged checkpoint is reported in the log
    and the one before it is taken.

    Raises:
        CheckpointError: the newest one holds what could run code.
    """
    found = checkpoints_of(work_dir)
    runs = {one.run for one in found if one.readable}
    last = max((one for one in found if one.readable), key=lambda one: one.saved, default=None)
    own = [one for one in found if not one.readable or (last and one.run == last.run)]
    for one in own:
        if one.iteration > up_to:
            continue
        damage = checkpoint_damage(one.path)
        if damage is not None:
            print_log(f"Checkpoint {one.path} is damaged ({damage}); trying the one before.", "current", level=30)
            continue
        require_known_contents(one.path)
        if len(runs) > 1:
            print_log(
                f"{work_dir} holds checkpoints of {len(runs)} runs. {one.path.name} is taken, the newest of the run "
                "that saved last; another one can be given by its path.",
                "current",
                level=30,
            )
        return str(one.path)
    return None


def checkpoints_of(work_dir: str | Path, names: re.Pattern[str] = _NAME) -> list[Found]:
    """The checkpoints of a work dir, the one that was saved last first; damaged ones where their number puts them."""
    found = [
        _found(path, int(match[1]))
        for path in Path(work_dir).glob("*iter_*.pth")
        if (match := names.fullmatch(path.name))
    ]
    # Numbers of one run grow with time, except where it went on with fewer micro-batches a step.
    sealed = sorted((one for one in found if one.run), key=lambda one: one.saved)
    rest = sorted((one for one in found if not one.run), key=lambda one: one.iteration)
    ordered: list[Found] = []
    for one in rest:
        while sealed and sealed[0].iteration < one.iteration:
            ordered.append(sealed.pop(0))
        ordered.append(one)
    return [*ordered, *sealed][::-1]


def _found(path: Path, iteration: int) -> Found:
    try:
        seal = read_seal(path)
    except (Damaged, OSError):
        return Found(path, iteration, None, 0, False)
    run, saved = (None, None) if seal is None else (seal.about.get("run"), seal.about.get("saved"))
    return Found(
        path,
        iteration,
        run if isinstance(run, str) else None,
        saved if isinstance(saved, int) else path.stat().st_mtime_ns,
        True,
    )


def read_seal(path: Path) -> Seal | None:
    """The seal of a checkpoint; None if it has none.

    Raises:
        Damaged: it cannot be read.
    """
    if not path.is_dir() and not path.is_file():  # reading a pipe would wait
        raise Damaged("is neither a file nor a folder")
    return folder_seal(path) if path.is_dir() else archive_seal(path)


def is_run_checkpoint(path: str | Path) -> bool:
    """Whether a path is named or laid out as one checkpoint of a run, rather than a work dir or published weights."""
    path = Path(path)
    return bool(_NAME.fullmatch(path.name)) or any(path.glob("*model_states.pt"))


def require_checkpoint(path: str | Path) -> str:
    """``path`` itself, if it is a complete checkpoint.

    Raises:
        CheckpointError: it is missing or damaged, or no checkpoint of a run, or holds what could run code.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"checkpoint {path} does not exist. Give the path of an iter_*.pth of a work dir.")
    require_no_published_weights(path)
    damage = checkpoint_damage(path)
    if damage is not None:
        raise CheckpointError(f"checkpoint {path} is damaged: {damage}. Take an older one, or --resume without a path.")
    require_known_contents(path)
    return str(path)


def require_no_published_weights(path: Path) -> None:
    """Refuses weights that are no checkpoint of a run, by their names.

    Raises:
        CheckpointError: they are a safetensors file, or a directory of Hugging Face's.
    """
    names = {path.name} if path.is_file() else {file.name for file in path.glob("*")}
    if any(name.endswith((".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json")) for name in names):
        raise CheckpointError(f"{path} holds weights and is no checkpoint of a run. Give it with --weights {path}.")


def require_known_contents(path: str | Path) -> None:
    """Searches a checkpoint file, or every file of a folder, for what could run code; reads no tensors.

    Raises:
        CheckpointError: see :func:`sa2va_native.engine.checkpoints.safe_load.require_known_globals`.
    """
    path = Path(path)
    for file in [path] if path.is_file() else sorted(path.glob("*.pt")):
        require_known_globals(file)


def require_same_engine(path: str | Path, deepspeed: bool) -> None:
    """Checks that a checkpoint to resume was written with DeepSpeed (a folder), or without (a file).

    Raises:
        CheckpointError: it was written the other way.
    """
    if Path(path).is_dir() != deepspeed:
        wrote, remedy = ("without", "Add --deepspeed none") if deepspeed else ("with", "Add --deepspeed")
        raise CheckpointError(
            f"{path} was written {wrote} DeepSpeed. {remedy} to resume it, or start a new run from its weights with "
            "--load-from."
        )


def checkpoint_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file or folder; None if nothing is. Reads all its bytes."""
    if path.is_file():
        return f"{path.name} {damage}" if (damage := archive_damage(path)) else None
    if not path.is_dir():
        return f"{path.name} is neither a file nor a folder"
    # Before the manifest: a folder that DeepSpeed wrote without this project's strategy has none.
    return folder_damage(path) or (None if list(path.glob("*model_states.pt")) else "no *model_states.pt inside")


def seal_values(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a seal says of a checkpoint, from ``meta["run"]`` of it."""
    return {"run": run.get("id"), "step": run.get("step"), "saved": run.get("saved", time.time_ns())}


def unfinished_folder(path: str | Path) -> Path:
    """Where the ranks of a DeepSpeed run write a checkpoint folder together before it gets its final name."""
    return Path(f"{path}{atomic.INCOMPLETE}")


def commit_folder(unfinished: Path, final: Path, about: Mapping[str, Any] | None = None) -> None:
    """Seals a fully written checkpoint folder and gives it its final name, durably.

    An existing checkpoint of that name is replaced.
    """
    seal_folder(unfinished, about or {})
    atomic.publish(unfinished, final, durable=True)


def put_beside(work_dir: str | Path, run: str | None, saved: int, iteration: int) -> Path | None:
    """Moves the checkpoints that a run does not go on from out of its way, into ``earlier_runs``.

    Those are the ones of other runs, and later ones of its own.

    Args:
        run: its identity; None if it goes on from a checkpoint that was written without.
        saved: when the checkpoint was written that it goes on from, in nanoseconds since 1970; with ``run`` None,
            ``iteration`` says which.
        iteration: where it begins, in the micro-batches of that checkpoint.

    Returns:
        where they are; None if there are none.
    """

    def goes_on(one: Found) -> bool:
        if not one.readable or (one.run is None and run is None):
            return one.iteration <= iteration
        return one.run == run and one.saved <= saved

    others = [one for names in (_NAME, BEST_NAME) for one in checkpoints_of(work_dir, names) if not goes_on(one)]
    if not others:
        return None
    place = Path(work_dir) / EARLIER / time.strftime("%Y%m%d_%H%M%S")
    while place.exists():
        place = place.with_name(f"{place.name}_")
    place.mkdir(parents=True)
    for one in others:
        one.path.rename(place / one.path.name)
    return place
