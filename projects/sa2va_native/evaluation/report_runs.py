"""Where the parts of a run are that a report is made of."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sa2va_native.errors import DataError

PREDICTIONS = "predictions.jsonl"


class ReportedRun(NamedTuple):
    """A run, or several of different seeds that count as one."""

    seeds: dict[str, Path]  #: name of each seed -> its predictions; the name of a single one is empty
    folder: Path | None  #: that of the first seed, with its logs below; None of a file with another name


def find_run(path: Path) -> ReportedRun:
    """The parts of a run.

    Args:
        path: predictions, a folder with ``predictions.jsonl``, or a folder of such folders, one for each seed.

    Raises:
        DataError: there are none.
    """
    if path.is_file():
        return ReportedRun({"": path}, path.parent if path.name == PREDICTIONS else None)
    if (path / PREDICTIONS).is_file():
        return ReportedRun({"": path / PREDICTIONS}, path)
    found = sorted(path.glob(f"*/{PREDICTIONS}"))
    if not found:
        raise DataError(
            f"{path} holds no {PREDICTIONS}, nor do folders in it. tools/test.py --predictions {path}/{PREDICTIONS} "
            "writes it."
        )
    if len(found) == 1:
        return ReportedRun({"": found[0]}, found[0].parent)
    return ReportedRun({file.parent.name: file for file in found}, found[0].parent)
