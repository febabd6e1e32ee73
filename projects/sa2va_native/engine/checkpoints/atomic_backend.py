"""Atomic checkpoint files for MMEngine's plain Runner."""

from __future__ import annotations

from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from sa2va_native.files import atomic


@register_backend("atomic", force=True)
class AtomicBackend(LocalBackend):
    """Local files that appear under their name only when they are complete and on disk."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        final = Path(filepath)
        final.parent.mkdir(parents=True, exist_ok=True)
        atomic.discard_incomplete(final.parent)
        with atomic.atomic_write(final, durable=True) as unfinished:
            unfinished.write_bytes(obj)
