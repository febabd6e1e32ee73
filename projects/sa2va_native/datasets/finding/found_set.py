"""A data set that was found at a path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log

from sa2va_native.errors import printable

#: Words of a set's name that say what it is for.
VALIDATION = {"val", "valid", "validation", "minival", "miniv", "valset", "eval", "evaluation"}
_NOT_TRAINED_ON = VALIDATION | {"test", "testdev", "testing", "testset"}


class FoundSet(NamedTuple):
    """One data set: how to build its adapter, and its name."""

    name: str
    config: dict[str, Any]

    @property
    def training(self) -> bool:
        """Whether no word of its name says that it is a validation or test set; ``festival`` is another word."""
        return is_for_training(self.name)

    @property
    def validation(self) -> bool:
        """Whether a word of its name says that it is a validation set."""
        return bool(VALIDATION & _words(self.name))


def is_for_training(name: str) -> bool:
    """Whether no word of a name says that it is for validation or test."""
    return not _NOT_TRAINED_ON & _words(name)


def for_training(found: Sequence[FoundSet], path: str | Path) -> list[FoundSet]:
    """Those of the sets at a path that are for training by name, or all if none is. What is left out is logged."""
    training = [one for one in found if one.training] or list(found)
    if left_out := [one.name for one in found if one not in training]:
        message = f"{path}: not trained on, for validation or test by its name: {', '.join(left_out)}"
        print_log(printable(message), logger="current")
    return training


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
