"""Atomic checkpoint files for MMEngine's plain Runner."""

from __future__ import annotations

from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from sa2va_native.engine.checkpoints import checkpointing


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
