"""Builds, checks and opens the index of a set (``index.py``).

An index is one Arrow IPC file per part and one list of the parts, all in one folder. A file is named by a digest of its
inputs and gets this name when it is complete; the list is written last. So a killed build can continue, only changed
parts are read again, and processes that build at the same time write the same files. Large sets are read by as many
processes as there are cores.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock
from mmengine.logging import print_log
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sa2va_native.datasets.indexing.index import (
    BATCH_ROWS,
    FAULT,
    NOT_ARROW,
    Index,
    IndexedPart,
    Part,
    check_batch,
    damaged,
    open_part,
)
from sa2va_native.datasets.reading.files import is_special
from sa2va_native.datasets.reading.object_limits import Dropped
from sa2va_native.datasets.reading.unchanged import Stamp, stamp
from sa2va_native.errors import BadSample, ConfigError, printable
from sa2va_native.files.atomic import atomic_write, discard_incomplete
from sa2va_native.files.bounded_json import load_json, machine_memory, read_bounded
from sa2va_native.parallel.ordered_map import cores, ordered_map

#: Part of an index's digest: increase it when the files or the meaning of their columns change.
_FORMAT = 1
#: Largest index, in bytes, that is checked in full when it is opened; takes about 0.5 s.
_CHECKED_AT_ONCE = 1 << 28
#: Seconds for which the files of an old index are kept, because a run may still read them: 30 days.
_KEPT = 30 * 86_400
#: Seconds after which a build starts other processes to help; most builds end before.
_PATIENCE = 1.0


def open_index(
    root: Path,
    index_dir: str | Path | None,
    settings: dict[str, Any],
    columns: dict[str, pa.DataType],
    parts: Callable[[], Iterable[Part]],
) -> Index:
    """The index of a set; it is built first if there is none or its source has changed.

    Opening checks the times of the watched files and folders and reads one short list. Files of up to 256 MB in all are
    checked in full, and what is damaged is built again; of larger indices each row is checked when it is drawn. Any
    number of processes may open it at once: one builds, the others wait.

    Args:
        root: folder of the set.
        index_dir: folder for the indices of any sets, each in a subfolder; ``{root}/.index`` when None.
        settings: JSON-like; all that the records depend on besides the files, including the adapter's name.
        columns: of the records.
        parts: lists the parts of the source, in a fixed order; called only for a build.

    Raises:
        ConfigError: the folder cannot be read, or there is no current index and it cannot be written; or ``index_dir``
            is a visible folder of the set.
    """
    folder = _folder(root, index_dir)
    schema = pa.schema({**columns, FAULT: pa.string()})
    key = _digest(_FORMAT, settings, str(schema))
    try:
        index = _fresh(folder, key, root, schema)
        if index is None:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "lock"):
                index = _fresh(folder, key, root, schema)  # built by the process that we waited for
                if index is None:
                    _build(folder, key, root, schema, parts())
                    index = _fresh(folder, key, root, schema)
    except OSError as error:
        if error.filename is not None and not str(error.filename).startswith(str(folder)):
            raise  # reading the source failed
        raise _unusable(folder, root, error) from error
    if index is None:
        raise ConfigError(f"{root}: changed while it was being indexed. Let its download or conversion finish first.")
    _report(index, root)
    return index


def _folder(root: Path, index_dir: str | Path | None) -> Path:
    if index_dir is None:
        return root / ".index"
    base, source = Path(index_dir), root.resolve()
    below = base.resolve().relative_to(source).parts if base.resolve().is_relative_to(source) else (".",)
    if not any(part.startswith(".") for part in below):
        raise ConfigError(
            f"index_dir {base} is inside the set {root}, whose folders are watched: an index would invalidate itself. "
            "Give a folder outside, or a hidden one."
        )
    return base / f"{source.name}-{_digest(str(source))}"


def _report(index: Index, root: Path) -> None:
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in sorted(index.dropped.items()))
    bad = f"; {index.bad:,} cannot be used, each is reported when it is drawn" if index.bad else ""
    message = f"{root}: {len(index):,} records; dropped: {dropped or 'none'}{bad}"
    print_log(printable(message), logger="current")


def _unusable(folder: Path, root: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{folder}: the index of {root} cannot be read or written there ({error}). "
        "Give a writable folder as index_dir, or have the index built once by someone who can write there."
    )


def _digest(*content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _fresh(folder: Path, key: str, root: Path, schema: pa.Schema) -> Index | None:
    """The complete index of ``key``, unless the source has changed since, or it is damaged."""
    listing = folder / f"{key}.json"
    if is_special(listing):  # a pipe would never end
        return None
    try:
        content = load_json(read_bounded(listing, machine_memory()), machine_memory())
        if any(stamp(root / name) != was for name, was in content["stamps"].items()):
            return None
        parts = [_listed(key, *fields) for fields in content["parts"]]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):  # a damaged list, or one by others
        return None
    files = [folder / part.file for part in parts]
    if not all(file.is_file() for file in files):
        return None
    if sum(file.stat().st_size for file in files) <= _CHECKED_AT_ONCE and any(
        _read_part(file, part.name, schema) != part for file, part in zip(files, parts, strict=True)
    ):
        return None
    return Index(folder, parts, schema)


def _listed(key: str, name: Any, file: Any, rows: Any, bad: Any, dropped: Any) -> IndexedPart:
    """A part as the list names it.

    Raises:
        ValueError, TypeError: not of this kind, or a file that is not one of this index.
    """
    part = IndexedPart(
        str(name), str(file), int(rows), int(bad), {str(why): int(n) for why, n in dict(dropped).items()}
    )
    if not re.fullmatch(rf"{key}-[0-9a-f]+\.arrow", part.file) or min(part.rows, part.bad, *part.dropped.values()) < 0:
        raise ValueError(f"{part} is not a part of an index")
    return part


def _build(folder: Path, key: str, root: Path, schema: pa.Schema, parts: Iterable[Part]) -> None:
    listing = folder / f"{key}.json"
    stamps: dict[str, Stamp] = {}

    def work() -> Iterator[tuple[Path, pa.Schema, Part]]:
        for part in parts:
            watched = {os.path.relpath(path, root): was for path, was in part.watch.items()}
            stamps.update(watched)
            yield folder / f"{key}-{_digest(part.name, watched)}.arrow", schema, part

    indexed = []
    bar = (
        SpinnerColumn(),
        TextColumn("{task.description} {task.completed:,} records", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*bar) as progress:
        task = progress.add_task(printable(f"indexing {root}:"), total=None)
        for part in _in_processes(work()):
            indexed.append(part)
            progress.advance(task, part.rows)
    content = {"root": root.name, "stamps": stamps, "parts": [part for part in indexed if part.rows or part.dropped]}
    with atomic_write(listing) as unfinished:
        unfinished.write_text(json.dumps(content), encoding="utf-8")
    discard_incomplete(folder, f".{key}*")  # left by killed builds
    open_part.cache_clear()
    current = {part.file for part in indexed}
    for path in folder.glob(f"{key}-*"):
        if path.name not in current and time.time() - path.stat().st_mtime > _KEPT:
            path.unlink(missing_ok=True)


def _in_processes(work: Iterable[tuple[Path, pa.Schema, Part]]) -> Iterator[IndexedPart]:
    """The indexed parts, in order: first in this process, then by several. Only a few parts are pending at any time."""
    start, work = time.monotonic(), iter(work)
    alone = cores() == 1 or multiprocessing.current_process().daemon  # which may have no children
    while alone or time.monotonic() - start < _PATIENCE:
        if (next_one := next(work, None)) is None:
            return
        yield _index_part(next_one)
    # forked, like the loader's workers: a fresh interpreter would first import torch
    with ProcessPoolExecutor(cores(), multiprocessing.get_context("fork")) as pool:
        yield from ordered_map(pool, _index_part, work, ahead=2 * cores())


def _index_part(work: tuple[Path, pa.Schema, Part]) -> IndexedPart:
    file, schema, part = work
    if file.is_file() and (known := _read_part(file, part.name, schema)) is not None:
        return known
    _write_part(file, schema, part)
    if (written := _read_part(file, part.name, schema)) is None:
        raise damaged(file, ValueError("just written"))
    return written


def _write_part(file: Path, schema: pa.Schema, part: Part) -> None:
    """Batches of ``BATCH_ROWS`` rows, the last one shorter, then one without rows that holds the counts."""
    rows, bad, dropped = 0, 0, Counter[str]()
    waiting: list[dict[str, Any]] = []
    with atomic_write(file) as unfinished, pa.ipc.new_file(str(unfinished), schema) as writer:

        def flush() -> None:
            writer.write_batch(pa.RecordBatch.from_pylist(waiting, schema))
            waiting.clear()

        for entry in part.read():
            if isinstance(entry, Dropped):
                dropped[entry.reason] += 1
                continue
            if isinstance(entry, BadSample):
                bad += 1
                entry = {FAULT: json.dumps([entry.path, entry.record, entry.reason])}
            waiting.append(entry)
            rows += 1
            if len(waiting) == BATCH_ROWS:
                flush()
        if waiting:
            flush()
        counts = json.dumps([rows, bad, dropped])
        writer.write_batch(pa.RecordBatch.from_pylist([], schema), custom_metadata={"counts": counts})


def _read_part(file: Path, name: str, schema: pa.Schema) -> IndexedPart | None:
    """What a file says of itself; None if it is damaged. Values are checked in files of up to 256 MB."""
    try:
        with pa.memory_map(str(file)) as source:
            reader = pa.ipc.open_file(source)
            last = reader.num_record_batches - 1
            _, metadata = reader.get_batch_with_custom_metadata(last)
            part = IndexedPart(name, file.name, *json.loads(metadata[b"counts"]))
            lengths = [min(BATCH_ROWS, part.rows - start) for start in range(0, part.rows, BATCH_ROWS)]
            if len(lengths) != last:
                raise ValueError(f"{last} batches, expected {len(lengths)}")
            if source.size() <= _CHECKED_AT_ONCE:
                for number, rows in enumerate(lengths):
                    check_batch(reader.get_batch(number), schema, rows)
        return part
    except (*NOT_ARROW, OSError):
        return None
