"""Random draws that depend on the run's seed, the step and the sample, never on the rank or the worker.

A run on four ranks and a run on one rank with the same global batch draw the same numbers, and a resumed run draws what
the uninterrupted one would have drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import torch

from sa2va_native.structures import DrawKey

Choice = TypeVar("Choice")


def generator(seed: int, key: DrawKey, purpose: str) -> torch.Generator:
    """A CPU generator for one ``purpose`` (e.g. ``"gumbel"``) of one sample at one step.

    It is on the CPU whatever the model's device, so that CPU and GPU runs draw the same numbers.
    """
    digest = hashlib.blake2b(f"{seed}/{key.step}/{key.sample}/{purpose}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


def generators(seed: int, keys: Sequence[DrawKey], purpose: str) -> list[torch.Generator]:
    """One :func:`generator` per sample of a batch."""
    return [generator(seed, key, purpose) for key in keys]


def choose(options: Sequence[Choice], generator: torch.Generator) -> Choice:
    """One of ``options``, drawn uniformly."""
    return options[int(torch.randint(len(options), (), generator=generator))]
