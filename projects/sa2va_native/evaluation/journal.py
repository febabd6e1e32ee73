"""What an evaluation has predicted so far, so that one that was killed goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from mmengine.dist import barrier, is_main_process

from sa2va_native.errors import ConfigError
from sa2va_native.evaluation.predictions import decoded, encoded
from sa2va_native.files.atomic import atomic_write, discard
from sa2va_native.parallel.agreement import from_main_rank

_IDENTITY = "evaluation.json"


class Journal:
    """Batches whose results are known, in a folder that is there until the evaluation is complete.

    A batch is one JSON line, written at once: what a kill or a full disk cut off is predicted again. Batches stay as
    they were cut, since the sums inside a model depend on what else is in a batch; which rank had one is of no
    importance. Each process writes to a file of its own.

    Args:
        folder: on a disk that all ranks share; made when there is none.
        identity: what the results depend on, as plain data: name -> value.

    Raises:
        ConfigError: the folder holds results of another evaluation; what differs is named. On all ranks.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        from_main_rank(lambda: self._claim(json.loads(json.dumps(identity))))
        self._known = {tuple(items): line for items, line in self._lines()}
        barrier()  # before anybody writes
        self._own = (folder / f"{uuid4().hex}.jsonl").open("a", encoding="utf-8")

    def __contains__(self, items: Iterable[int]) -> bool:
        return tuple(items) in self._known

    def results(self, items: Iterable[int]) -> list[dict[str, Any]]:
        """The results of a batch, by its positions in the data set, as :meth:`add` got them."""
        return [decoded(sample) for sample in json.loads(self._known[tuple(items)])["results"]]

    def add(self, items: Sequence[int], results: Iterable[Mapping[str, Any]]) -> None:
        """Keeps the results of a batch."""
        line = {"items": list(items), "results": [encoded(sample) for sample in results]}
        self._own.write(json.dumps(line) + "\n")
        self._own.flush()

    def discard(self) -> None:
        """Deletes the folder: the evaluation is complete. A collective."""
        self._own.close()
        barrier()
        if is_main_process():
            discard(self.folder)

    def _claim(self, identity: dict[str, Any]) -> None:
        file = self.folder / _IDENTITY
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(file) as unfinished:
                unfinished.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")
            return
        kept = json.loads(file.read_text(encoding="utf-8"))
        if differing := [name for name in identity if kept.get(name) != identity[name]]:
            raise ConfigError(
                f"{self.folder} holds an unfinished evaluation with another {', '.join(differing)}. Delete it, or "
                "give another file with --predictions."
            )

    def _lines(self) -> Iterable[tuple[list[int], str]]:
        for file in sorted(self.folder.glob("*.jsonl")):
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    yield json.loads(line)["items"], line
                except (ValueError, KeyError, TypeError):
                    continue  # cut off: its batch is predicted again
