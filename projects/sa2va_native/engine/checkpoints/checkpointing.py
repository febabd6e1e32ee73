"""Writes checkpoints that are either complete or not there, and finds the newest complete one.

A checkpoint is a file (plain runner) or a folder (DeepSpeed). Both are written under a temporary name,
flushed to disk and renamed, so that a process killed at any moment leaves the checkpoints before it untouched.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from pathlib import Path

from mmengine.logging import print_log

from sa2va_native.engine.checkpoints.safe_load import require_known_globals
from sa2va_native.errors import CheckpointError
from sa2va_native.files import atomic

#: Lists the files of a checkpoint folder with their sizes in bytes.
MANIFEST = "manifest.json"
_NAME = re.compile(r"iter_(\d+)\.pth")


def find_latest_checkpoint(work_dir: str | Path, up_to: float = math.inf) -> str | None:
    """The newest complete ``iter_*.pth`` of a run, of iteration ``up_to`` at most, or None if there is none.

    MMEngine's ``last_checkpoint`` file is not consulted: it may be truncated, or name a checkpoint that is
    gone. A damaged checkpoint is reported in the log and the next older one is taken.

    Raises:
        CheckpointError: the newest one holds what could run code.
    """
    for path in _by_age(Path(work_dir), up_to):
        damage = checkpoint_damage(path)
        if damage is None:
            require_known_contents(path)
            return str(path)
        print_log(f"Checkpoint {path} is damaged ({damage}); trying the one before.", "current", level=30)
    return None


def require_checkpoint(path: str | Path) -> str:
    """``path`` itself, if it is a complete checkpoint.

    Raises:
        CheckpointError: it is missing or damaged, or holds what could run code.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"checkpoint {path} does not exist. Give the path of an iter_*.pth of a work dir.")
    damage = checkpoint_damage(path)
    if damage is not None:
        raise CheckpointError(f"checkpoint {path} is damaged: {damage}. Take an older one, or --resume without a path.")
    require_known_contents(path)
    return str(path)


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
    """What is wrong with a checkpoint file or folder; None if it is complete. Reads sizes and tables, no tensors."""
    if path.is_file():
        return None if zipfile.is_zipfile(path) else f"{path.name} is truncated or not a torch file"
    manifest = path / MANIFEST
    if manifest.is_file():
        try:
            sizes = json.loads(manifest.read_text())
        except json.JSONDecodeError:
            return f"{MANIFEST} is truncated"
        for name, size in sizes.items():
            if not (path / name).is_file():
                return f"{name} is missing"
            if (path / name).stat().st_size != size:
                return f"{name} has {(path / name).stat().st_size} bytes instead of {size}"
        return None
    # A folder that DeepSpeed wrote without this project's strategy.
    if not list(path.glob("*model_states.pt")):
        return "no *model_states.pt inside"
    return next(
        (f"{file.name} is truncated" for file in sorted(path.glob("*.pt")) if not zipfile.is_zipfile(file)), None
    )


def unfinished_folder(path: str | Path) -> Path:
    """Where the ranks of a DeepSpeed run write a checkpoint folder together before it gets its final name."""
    return Path(f"{path}{atomic.INCOMPLETE}")


def commit_folder(unfinished: Path, final: Path) -> None:
    """Lists the files of a fully written checkpoint folder and gives it its final name, durably.

    An existing checkpoint of that name is replaced.
    """
    files = [file for file in sorted(unfinished.rglob("*")) if file.is_file()]
    sizes = {str(file.relative_to(unfinished)): file.stat().st_size for file in files}
    (unfinished / MANIFEST).write_text(json.dumps(sizes, indent=1))
    atomic.publish(unfinished, final, durable=True)


def _by_age(work_dir: Path, up_to: float) -> list[Path]:
    found = [(int(match[1]), path) for path in work_dir.glob("iter_*.pth") if (match := _NAME.fullmatch(path.name))]
    return [path for iteration, path in sorted(found, reverse=True) if iteration <= up_to]
