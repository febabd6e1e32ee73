"""Atomic, sealed checkpoint files for MMEngine's plain Runner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.fileio import LocalBackend, register_backend

from sa2va_native.errors import TrainingError
from sa2va_native.files import atomic
from sa2va_native.files.sealed_archive import sealed_archive

#: What torch says when a file cannot be written; it tells no reason.
_TORCH_CANNOT_WRITE = ("PytorchStreamWriter", "inline_container.cc", "iostream error")


@register_backend("atomic", force=True)
class AtomicBackend(LocalBackend):
    """Local files of ``torch.save`` that appear under their name only when they are complete, sealed and on disk.

    Args:
        about: what the seal says of them, see :func:`sa2va_native.engine.checkpoints.checkpointing.seal_values`.
    """

    def __init__(self, about: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.about = about or {}

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes a file.

        Raises:
            TrainingError: it cannot be written; nothing of it is left.
        """
        final = Path(filepath)
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            atomic.discard_incomplete(final.parent)
            with atomic.atomic_write(final, durable=True) as unfinished, unfinished.open("wb") as file:
                file.writelines(sealed_archive(obj, self.about))
        except OSError as error:
            raise unwritten(final, error) from error


def is_unwritten(error: Exception) -> bool:
    """Whether an error says that a file could not be written; of torch's writer, no errno tells."""
    return isinstance(error, OSError) or any(sign in str(error) for sign in _TORCH_CANNOT_WRITE)


def unwritten(final: Path, error: Exception) -> TrainingError:
    """The error of a checkpoint that cannot be written."""
    why = getattr(error, "strerror", None) or "no space, or a limit of the file system"
    return TrainingError(
        f"checkpoint {final} could not be written ({why}). Those before it are untouched: make room, or make "
        f"{final.parent} writable, and go on with --resume."
    )
