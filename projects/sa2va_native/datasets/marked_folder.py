"""Folders that are written once, completely or not at all."""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from sa2va_native.errors import DataError, printable
from sa2va_native.files.atomic import discard, discard_unheld, hold, publish, unfinished_name

MARKER = "complete.json"


def write_once(root: str | Path, settings: dict[str, Any], write: Callable[[Path], None]) -> Path:
    """Create ``root`` with ``write``, unless a complete one with the same settings exists.

    ``write`` fills a temporary folder next to ``root``, the marker file is written last, and the folder gets its
    final name when it is complete. So neither a killed run nor two ranks at once can leave half a set. A generated
    folder without a marker is incomplete and is replaced.

    Args:
        settings: JSON-like; everything that determines the content.
        write: fills an empty folder.

    Raises:
        DataError: ``root`` holds a set made with other settings, or something that is not a generated set, or it
            cannot be written.
    """
    root = Path(root)
    settings = json.loads(json.dumps(settings))
    if (root / MARKER).is_file():
        return _same_settings(root, settings)
    if root.exists() and any(root.iterdir()) and not (root / ".generated").exists():
        raise DataError(f"{root}: contains files that this project did not write. Choose an empty or new folder.")
    try:
        workshop, handle = _workshop(root)
    except OSError as error:
        raise DataError(f"{root}: cannot be written ({error}). Choose a folder that you may write to.") from error
    try:
        (workshop / ".generated").touch()
        write(workshop)
        (workshop / MARKER).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        if root.exists() and not (root / MARKER).is_file():
            shutil.rmtree(root)
        try:
            publish(workshop, root, replace=False)
        except OSError as error:
            if not (root / MARKER).is_file():  # not because another rank was faster
                raise DataError(f"{root}: cannot be written ({error}). Choose another folder.") from error
            return _same_settings(root, settings)
    finally:
        discard(workshop)
        if handle is not None:
            os.close(handle)
    print_log(printable(f"{root}: generated, for this and all later runs"), logger="current")
    return root


def _workshop(root: Path) -> tuple[Path, int | None]:
    """A new temporary folder next to ``root``, held by this process; those of killed processes are taken away."""
    root.parent.mkdir(parents=True, exist_ok=True)
    discard_unheld(root.parent, f".{glob.escape(root.name)}.*")
    while True:
        workshop = unfinished_name(root)
        workshop.mkdir()
        with suppress(FileNotFoundError):  # another process has taken it away before it was held
            handle = hold(workshop)
            if workshop.is_dir():
                return workshop, handle


def _same_settings(root: Path, settings: dict[str, Any]) -> Path:
    written = json.loads((root / MARKER).read_text(encoding="utf-8"))
    if written != settings:
        differing = sorted(key for key in {*written, *settings} if written.get(key) != settings.get(key))
        changes = ", ".join(f"{key} is {written.get(key)!r}, asked for {settings.get(key)!r}" for key in differing)
        raise DataError(f"{root}: was generated with other settings ({changes}). Delete it, or choose another folder.")
    return root
