"""Seals what ``torch.save`` writes, and finds damage in it.

It is a zip archive, and the seal is the archive's comment, which torch passes over: one file stays one file.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sa2va_native.files.formats import other_format
from sa2va_native.files.seal import Damaged, Seal, checksum, file_checksum, parse_seal

#: An archive ends with this, 16 bytes, the length of the comment in 2 bytes, and the comment.
_END = b"PK\x05\x06"
_END_SIZE, _LONGEST = 22, (1 << 16) - 1
_CONTENT = "content"  # the bytes before the length of the comment


def sealed_archive(archive: bytes, about: Mapping[str, Any]) -> Iterator[bytes | memoryview]:
    """The pieces of an archive with its seal, to be written one after another.

    Raises:
        ValueError: it is no archive, or has a comment already, or the comment would be longer than 64 KiB.
    """
    if archive[-_END_SIZE:][:4] != _END or archive[-2:] != b"\0\0":
        raise ValueError("not a zip archive without a comment")
    content = memoryview(archive)[:-2]
    comment = Seal(dict(about), {_CONTENT: checksum(content)}).text().encode()
    if len(comment) > _LONGEST:
        raise ValueError(f"a seal of {len(comment)} bytes does not fit into the comment of an archive")
    yield from (content, len(comment).to_bytes(2, "little"), comment)


def archive_seal(path: Path) -> Seal | None:
    """The seal of an archive; None if it has none. Reads the end of the file.

    Raises:
        Damaged: the file does not end as an archive does, or its comment is no seal.
    """
    _, comment = _content_and_comment(path)
    return parse_seal(comment) if comment else None


def archive_damage(path: Path) -> str | None:
    """What is wrong with an archive, to be read after its name; None if nothing is.

    Reads all bytes: against the seal, or else against the checksums of the archive's own records.
    """
    try:
        size, comment = _content_and_comment(path)
        if not comment:
            return foreign_records(path) or _damaged_record(path)
        same = parse_seal(comment).parts.get(_CONTENT) == file_checksum(path, size)
        return None if same else "has bytes that do not match its checksum"
    except Damaged as damage:
        return str(damage)
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def foreign_records(path: Path) -> str | None:
    """Whether an archive has records that ``torch.save`` does not write and that may take more memory than the file.

    Reads the table of records only.

    Returns:
        what is wrong, to be read after the name; None if nothing is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except Exception as error:  # of many kinds, where the table is damaged
        return other_format(path) or f"is truncated or not a torch file ({error})"
    if packed := next((record for record in records if record.compress_type != zipfile.ZIP_STORED), None):
        return f"has the compressed record {packed.filename!r}: torch.save compresses nothing"
    if sum(record.file_size for record in records) > path.stat().st_size:
        return "has records that claim more bytes than there are"
    return None


def _damaged_record(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            name = archive.testzip()
    except Exception as error:
        return f"has records that cannot be read ({error})"
    return None if name is None else f"has a record that does not match its checksum, {name!r}"


def _content_and_comment(path: Path) -> tuple[int, bytes]:
    """How many bytes are before the length of the comment, and the comment."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        first = max(0, size - _END_SIZE - _LONGEST)
        tail = os.pread(file.fileno(), size - first, first)
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + _END_SIZE:
        raise Damaged(other_format(path) or "is truncated or not a torch file")
    end, comment = at + _END_SIZE, tail[at + _END_SIZE :]
    if len(comment) != int.from_bytes(tail[end - 2 : end], "little"):
        raise Damaged("is truncated, or its end is damaged")
    return first + end - 2, comment
