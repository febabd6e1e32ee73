"""Atomic checkpoint files for MMEngine's plain Runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner import CheckpointLoader

from projects.sa2va.engine import checkpointing


@register_backend("atomic", force=True)
class AtomicBackend(LocalBackend):
    """Local files that appear under their name only when they are complete and on disk."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        final = Path(filepath)
        final.parent.mkdir(parents=True, exist_ok=True)
        checkpointing.discard_temporary(final)
        temporary = checkpointing.temporary_name(final)
        with open(temporary, "wb") as file:
            file.write(obj)
        checkpointing.commit(temporary, final)


@CheckpointLoader.register_scheme(prefixes="", force=True)
def load_local_checkpoint(filename: str, map_location: Any) -> dict:
    """Reads a run's own checkpoint, which holds log history, optimizer and random states beside tensors.

    MMEngine's loader takes torch's default, which since torch 2.6 allows tensors only and refuses these files.
    """
    return torch.load(filename, map_location=map_location, weights_only=False)
