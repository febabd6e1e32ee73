"""Keeps the features of frozen towers on disk, for the next time that the same pictures come."""

from __future__ import annotations

import hashlib
import logging
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import transformers
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from sa2va_native.errors import ConfigError
from sa2va_native.files.atomic import atomic_write, discard_incomplete, hold
from sa2va_native.files.modes import make_ordinary
from sa2va_native.models.pictures import picture_ids

#: Part of every folder's name; raise it when the code changes what a tower is given or what is kept of its output.
_LAYOUT = 2
#: More than a file needs in addition to its values.
_HEADER_BYTES = 1024

Features = tuple[Tensor, ...]


class FeatureCache:
    """Features of frozen towers in safetensors files, one per picture and tower.

    A picture is identified by its pixels as the tower sees them: flipped, changed or resized it is another one. A
    tower's folder is named after all that its output depends on: weights, config, types and the version of
    transformers. So features never come from other weights; folders of old models are not cleaned up.

    What is read is bit for bit what was stored. It was computed in the batch in which the picture was first missing,
    and in a batch of another size, or on another device, the last bits of some kernels differ.

    Ranks may share the folder. It needs whole weights on every rank, which ZeRO-3 does not have: a rank that finds its
    pictures would not take part in gathering them.

    Args:
        folder: where the files are; made at first use.
        max_gb: most GB (1e9 bytes) of files in ``folder``, whatever wrote them. They are counted when a rank stores
            its first features; from then on each rank may store an equal share of what was left. Another run that
            writes there at the same time is not counted. What does not fit is computed each time.

    Raises:
        ConfigError: ``max_gb`` is not above 0.
    """

    def __init__(self, folder: str, max_gb: float) -> None:
        if max_gb <= 0:
            raise ConfigError(f"feature_cache: max_gb={max_gb} leaves no room. Give GB above 0, or no feature_cache.")
        self.root, self.max_bytes = Path(folder).expanduser(), int(max_gb * 1e9)
        self._left: int | None = None  #: bytes that this rank may still store; None: not counted yet
        self._stores = True
        self._folders: dict[PreTrainedModel, tuple[Any, Path]] = {}

    def __call__(self, tower: PreTrainedModel, pixels: Tensor, run: Callable[[Tensor], Features]) -> Features:
        """``run(pixels)``, computed only for pictures that are not stored yet, which are then stored.

        Args:
            tower: frozen; ``run`` calls it.
            pixels: uint8 [B, 3, H, W].
            run: uint8 [n, 3, H, W] -> tensors [n, ...].

        Raises:
            ConfigError: the folder cannot be made.
        """
        folder = self._folder_of(tower, pixels.device.type)
        files = [folder / f"{name}.safetensors" for name in picture_ids(pixels)]
        found = {file: _read(file, pixels.device) for file in files}
        if missing := [file for file, features in found.items() if features is None]:
            rows = [files.index(file) for file in missing]
            for file, *levels in zip(missing, *run(pixels[rows]), strict=True):
                found[file] = features = tuple(levels)
                if self._stores:
                    self._store(file, features)
        return tuple(torch.stack(levels) for levels in zip(*(found[file] for file in files), strict=True))

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Nothing is stored inside the context."""
        self._stores = False
        try:
            yield
        finally:
            self._stores = True

    def _folder_of(self, tower: PreTrainedModel, device: str) -> Path:
        """Where the features of a tower are.

        Computed at the tower's first use, since its weights and types are final only then, and again when they have
        been changed or replaced. That takes 1.3 s for 10^9 bytes of weights.
        """
        cast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        state = cast, [(tensor.data_ptr(), tensor._version, tensor.dtype) for tensor in tower.parameters()]
        if tower not in self._folders or self._folders[tower][0] != state:
            folder = self.root / f"{type(tower).__name__}-{_fingerprint(tower, cast)}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._hold(folder)
            except OSError as error:
                raise ConfigError(
                    f"feature_cache: folder {self.root} cannot be made ({error.strerror}). Choose another one."
                ) from error
            self._folders[tower] = state, folder
        return self._folders[tower][1]

    def _hold(self, folder: Path) -> None:
        """Takes away what killed processes left, unless others are writing there."""
        if (alone := hold(folder, alone=True)) is not None:
            discard_incomplete(folder, ".*")
            os.close(alone)
        if (handle := hold(folder)) is not None:
            weakref.finalize(self, os.close, handle)

    def _store(self, file: Path, features: Features) -> None:
        """Writes features if there is room; logs once when there is no more."""
        if self._left is None:
            self._left = max(self.max_bytes - _bytes_under(self.root), 0) // get_world_size()
        if self._left < 0:
            return
        self._left -= sum(level.nbytes for level in features) + _HEADER_BYTES
        if self._left < 0:
            self._stop_storing(f"max_gb={self.max_bytes / 1e9:g} are used up")
            return
        try:
            with atomic_write(file) as unfinished:
                save_file({str(i): level.contiguous() for i, level in enumerate(features)}, unfinished)
                make_ordinary(unfinished)
        except (OSError, SafetensorError) as error:  # safetensors has its own error for a full disk
            self._stop_storing(str(error))

    def _stop_storing(self, reason: str) -> None:
        self._left = -1
        message = f"feature_cache {self.root}: {reason}. What is not stored yet is computed each time."
        print_log(message, logger="current", level=logging.WARNING)


def _bytes_under(root: Path) -> int:
    """Size of all files, including those that a killed run left unfinished."""
    total = 0
    for path in root.rglob("*"):
        with suppress(FileNotFoundError):  # another rank may be writing there
            total += path.stat().st_size
    return total


def _fingerprint(tower: PreTrainedModel, cast: torch.dtype | None) -> str:
    """Digest of all that a tower's output depends on; ``cast`` is autocast's type."""
    settings = (_LAYOUT, transformers.__version__, cast, tower.config.to_json_string(use_diff=False))
    digest = hashlib.blake2b(str(settings).encode(), digest_size=16)
    for name, tensor in chain(tower.named_parameters(), tower.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read(file: Path, device: torch.device) -> Features | None:
    """Stored features of a picture; None if there are none. Unreadable ones are removed."""
    try:
        levels = load_file(file, device=str(device))
    except FileNotFoundError:
        return None
    except SafetensorError as error:
        message = f"feature_cache: {file} is damaged ({error}); it is removed and computed again."
        print_log(message, logger="current", level=logging.WARNING)
        file.unlink(missing_ok=True)
        return None
    return tuple(levels[str(i)] for i in range(len(levels)))
