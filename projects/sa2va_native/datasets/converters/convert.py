"""Converts other layouts to own data: resumable, in parallel where that is worth it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sa2va_native.errors import BadSample, DataError
from sa2va_native.files.atomic import atomic_write, publish
from sa2va_native.parallel.ordered_map import cores, ordered_map

#: Sources between two updates of the progress file.
_STRIDE = 128


class Converted(NamedTuple):
    """What one source yielded."""

    records: list[dict[str, Any]]
    bad: list[BadSample]
    notes: tuple[str, ...] = ()  #: what a user should know of records that were made, one for each; they are counted


class Converter(Protocol):
    """Reads one layout."""

    #: Folder that the ``image`` of a record is relative to.
    root: Path
    #: Whether sources take long enough for worker processes to pay off; the converter is then sent to them.
    parallel: bool

    def sources(self) -> Sequence[str]:
        """Names of the sources, which are converted one by one; always in the same order."""
        ...

    def convert(self, source: str) -> Converted:
        """The objects of a source as records of own data."""
        ...


class Total(NamedTuple):
    """What a conversion wrote."""

    records: int
    bad: int
    report: Path  #: JSON lines of what was left out
    notes: dict[str, int]  #: of records that were made, with their number


def write_own_data(converter: Converter, out: Path, track: Callable[[Iterable[str]], Iterable[str]] = iter) -> Total:
    """Write ``out``, or continue an interrupted conversion.

    Records go to ``OUT.part``, which is renamed when it is complete. ``OUT.progress`` records how many sources are done
    and how long the files were then; anything written after that is written again.

    Args:
        track: wraps the names of the remaining sources, e.g. a progress bar.

    Raises:
        DataError: ``out`` already exists, there are no sources, no object can be used, or the sources have changed
            since the conversion began.
    """
    require_new(out)
    names = list(converter.sources())
    if not names:
        raise DataError(f"{converter.root}: nothing to convert. docs/data/converters.md shows the layouts.")
    part, progress, report = (out.with_name(out.name + end) for end in (".part", ".progress", ".bad.jsonl"))
    begun = {"sources": hashlib.sha256("\n".join(names).encode("utf-8", "replace")).hexdigest()}
    state: dict[str, Any] = {**begun, "done": 0, "bytes": 0, "report bytes": 0, "records": 0, "bad": 0, "notes": {}}
    if progress.exists():
        state |= json.loads(progress.read_text(encoding="utf-8"))
        if state["sources"] != begun["sources"]:
            raise DataError(f"{progress}: the sources have changed since this conversion began. Delete it.")
    for path, length in ((part, state["bytes"]), (report, state["report bytes"])):
        path.touch()
        if path.stat().st_size < length:
            raise DataError(f"{path} is shorter than {progress} says. Delete both to start again.")
    with part.open("r+b") as records, report.open("r+b") as left_out:
        records.truncate(state["bytes"])
        left_out.truncate(state["report bytes"])
        for file in (records, left_out):
            file.seek(0, os.SEEK_END)
        for number, converted in enumerate(_in_parallel(converter, track(names[state["done"] :])), state["done"] + 1):
            for record in converted.records:
                records.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            for bad in converted.bad:
                left_out.write(json.dumps(bad.report()).encode() + b"\n")
            state["records"] += len(converted.records)
            state["bad"] += len(converted.bad)
            for note in converted.notes:
                state["notes"][note] = state["notes"].get(note, 0) + 1
            if number % _STRIDE == 0 or number == len(names):
                records.flush()
                left_out.flush()
                state |= {"done": number, "bytes": records.tell(), "report bytes": left_out.tell()}
                with atomic_write(progress) as unfinished:
                    unfinished.write_text(json.dumps(state), encoding="utf-8")
    progress.unlink()
    if not state["records"]:
        part.unlink()
        raise DataError(f"{converter.root}: none of {state['bad']} objects can be used; each is listed in {report}.")
    publish(part, out)
    if not state["bad"]:
        report.unlink()
    return Total(state["records"], state["bad"], report, state["notes"])


def require_new(out: Path) -> None:
    """Checks that ``out`` does not exist yet.

    Raises:
        DataError: the file exists.
    """
    if out.exists():
        raise DataError(f"{out} already exists. Remove it, or give another --out.")


def _in_parallel(converter: Converter, names: Iterable[str]) -> Iterator[Converted]:
    if not converter.parallel:
        yield from map(converter.convert, names)
        return
    with ProcessPoolExecutor(cores()) as pool:
        yield from ordered_map(pool, converter.convert, names, ahead=16 * cores())
