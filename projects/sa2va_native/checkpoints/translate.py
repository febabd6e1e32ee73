"""Renames, splits and joins tensors by the rules of :mod:`sa2va_native.checkpoints.rules`, in either direction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor

from sa2va_native.checkpoints.rules import Rule
from sa2va_native.checkpoints.stored import Stored, StoredTensor


class Translation(NamedTuple):
    """Tensors under their new names."""

    tensors: Stored
    unexplained: list[str]  #: old names that no rule knows, or whose companions are missing


class _Step(NamedTuple):
    source: tuple[str, ...]
    target: tuple[str, ...]


def flipped(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules for the opposite direction."""
    return tuple(Rule(theirs=r.ours, ours=r.theirs) for r in rules)


def translate(stored: Stored, rules: Sequence[Rule]) -> Translation:
    """Tensors by the names on the rules' right side.

    Nothing is read; a fused tensor is split and several are joined when the result is read.
    """
    steps, unexplained = plan(stored, rules)
    tensors: Stored = {}
    for source, target in steps:
        parts = [stored[name] for name in source if name in stored]
        if len(parts) < len(source) or (parts[0].shape[:1] and len(target) > 1 and parts[0].shape[0] % len(target)):
            unexplained += [part.name for part in parts]
        elif len(target) > 1:
            shape = (parts[0].shape[0] // len(target), *parts[0].shape[1:])
            for i, name in enumerate(target):
                read = partial(_read_part, parts[0], i, len(target))
                tensors[name] = StoredTensor(parts[0].name, shape, parts[0].dtype, read)
        elif len(source) > 1:
            shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
            if len({part.shape[1:] for part in parts}) > 1:
                unexplained += [part.name for part in parts]
                continue
            names = " ".join(part.name for part in parts)
            tensors[target[0]] = StoredTensor(names, shape, parts[0].dtype, partial(_read_joined, parts))
        else:
            tensors[target[0]] = parts[0]
    return Translation(tensors, unexplained)


def plan(names: Iterable[str], rules: Sequence[Rule]) -> tuple[list[_Step], list[str]]:
    """Which names become which, and the names that no rule knows."""
    patterns = [(re.compile(_pattern(name)), r) for r in rules for name in r.theirs]
    steps: dict[_Step, None] = {}
    unexplained = []
    for name in names:
        for pattern, r in patterns:
            if match := pattern.fullmatch(name):
                found = match.groups()
                step = _Step(tuple(_fill(n, found) for n in r.theirs), tuple(_fill(n, found) for n in r.ours))
                steps[step] = None
                break
        else:
            unexplained.append(name)
    return list(steps), unexplained


def _pattern(name: str) -> str:
    return re.escape(name).replace(r"\#", r"(\d+)").replace(r"\*", "(.+)")


def _fill(name: str, found: Sequence[str]) -> str:
    position = count()
    return re.sub(r"[#*]", lambda _: found[next(position)], name)


def _read_part(tensor: StoredTensor, index: int, parts: int) -> Tensor:
    return tensor.read().chunk(parts)[index]


def _read_joined(tensors: Sequence[StoredTensor]) -> Tensor:
    return torch.cat([tensor.read() for tensor in tensors])
