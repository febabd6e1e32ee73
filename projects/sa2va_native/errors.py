"""The error tree. Every message names the value, the place it came from and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Sa2VAError(Exception):
    """Root of all errors that this project raises on purpose."""


class ConfigError(Sa2VAError, ValueError):
    """A config value that cannot work, e.g. an unknown key or a top-k above the vocabulary."""


class DataError(Sa2VAError):
    """A data set that cannot be used at all, e.g. a missing root or an annotation file without masks."""


def printable(text: str) -> str:
    """Makes text from a file printable, in one line: what cannot be seen is written as Python writes it.

    Line ends and escape sequences could forge lines of a log, half surrogate pairs cannot be shown at all.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class BadSample(DataError):
    """One record that cannot be used; counted and reported by the data set that meets it.

    Args:
        path: the file of the record.
        record: its key in that file, e.g. ``"annotation 17"``.
        reason: what is wrong with it, with the offending value.
    """

    def __init__(self, path: str, record: str, reason: str) -> None:
        shown = [printable(text) for text in (str(path), record, reason)]
        self.path, self.record, self.reason = shown
        super().__init__(": ".join(shown))

    def report(self) -> dict[str, str]:
        """Its entry in a report."""
        return {"path": self.path, "record": self.record, "reason": self.reason}

    def __reduce__(self):  # three arguments do not survive default pickling between loader workers
        return BadSample, (self.path, self.record, self.reason)


class PromptError(Sa2VAError, ValueError):
    """A prompt whose ids and embeddings do not match, e.g. without the expected number of ``[SEG]``."""


class InputError(Sa2VAError, ValueError):
    """A picture, a mask or a text given to inference that cannot be used."""


class CheckpointError(Sa2VAError):
    """A checkpoint that is missing, incomplete, or does not fit the model."""


class TrainingError(Sa2VAError, RuntimeError):
    """Training cannot go on, e.g. the loss stayed non-finite."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name as a sentence, or the list of known names if none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(known)}."


def near_miss(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` misspells, e.g. ``"mask"`` for ``"masks"``, ``"maks"`` or ``"Mask"``; or None."""
    name = name.lower()
    known = [one for one in known if abs(len(one) - len(name)) <= 1]
    turned = [one for one in known if sorted(one) == sorted(name)]
    return next(iter(turned or difflib.get_close_matches(name, known, n=1, cutoff=0.8)), None)
