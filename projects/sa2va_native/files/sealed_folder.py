"""Seals a folder of files that ``torch.save`` wrote, and finds damage in it. The seal is a file of the folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sa2va_native.files.bounded_json import load_json, read_bounded
from sa2va_native.files.formats import other_format
from sa2va_native.files.seal import Damaged, Part, Seal, file_checksum, parse_seal
from sa2va_native.files.sealed_archive import archive_damage

#: The file that holds the seal.
MANIFEST = "manifest.json"


def seal_folder(folder: Path, about: Mapping[str, Any]) -> None:
    """Writes the seal of all files that are in a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    parts = {str(file.relative_to(folder)): file_checksum(file) for file in files}
    (folder / MANIFEST).write_text(Seal(dict(about), parts).text())


def folder_seal(folder: Path) -> Seal | None:
    """The seal of a folder; None if it has none. Reads no other file.

    Raises:
        Damaged: it is not what was written.
    """
    text = _manifest(folder)
    return None if text is None or _old_sizes(text) is not None else parse_seal(text)


def folder_damage(folder: Path) -> str | None:
    """What is wrong with a folder; None if nothing is.

    Reads all bytes: against the seal, or else against the checksums of the records of each ``*.pt``.
    """
    try:
        text = _manifest(folder)
        sizes = None if text is None else _old_sizes(text)
        if text is not None and sizes is None:
            return _difference(folder, parse_seal(text).parts)
    except (Damaged, OSError) as error:
        return f"{MANIFEST} {error}"
    for name, size in (sizes or {}).items():
        if wrong := _wrong_size(folder, name, size):
            return wrong
    for file in sorted(folder.glob("*.pt")):
        if wrong := archive_damage(file):
            return f"{file.name} {wrong}"
    return None


def _difference(folder: Path, parts: Mapping[str, Part]) -> str | None:
    for name, part in parts.items():
        if wrong := _wrong_size(folder, name, part.size):
            return wrong
        if file_checksum(folder / name) != part:
            return f"{name} has bytes that do not match its checksum"
    more = sorted(file.name for file in folder.glob("*.pt") if file.name not in parts)
    return f"{more[0]} is not in {MANIFEST}" if more else None


def _wrong_size(folder: Path, name: str, size: int) -> str | None:
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
        return f"{name} is missing"
    there = file.stat().st_size
    return None if there == size else f"{name} {other_format(file) or f'has {there} bytes instead of {size}'}"


def _manifest(folder: Path) -> bytes | None:
    file = folder / MANIFEST
    return read_bounded(file) if file.is_file() else None


def _old_sizes(text: bytes) -> dict[str, int] | None:
    """Sizes by name, if a manifest lists nothing else, as those of earlier versions do."""
    try:
        content = load_json(text)
    except (ValueError, RecursionError) as error:
        raise Damaged("is truncated or damaged") from error
    plain = isinstance(content, dict) and all(type(size) is int for size in content.values())
    return content if plain else None
