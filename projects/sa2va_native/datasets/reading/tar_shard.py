"""Tar shards in WebDataset style: members of one sample share a name up to the first dot.

A shard is listed once; afterwards a member is a range of bytes of the file (https://github.com/webdataset/webdataset).
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
from pathlib import Path
from typing import NamedTuple

from sa2va_native.datasets.reading.object_limits import Dropped
from sa2va_native.errors import BadSample
from sa2va_native.files.bounded_json import SAMPLE_BYTES


class ByteRange(NamedTuple):
    """Where a member's content is in its shard, in bytes."""

    start: int
    size: int


class NamedBytes(io.BytesIO):
    """The content of a member as a file; its ``str`` is the name used in errors."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:  # shown by Pillow
        return repr(self.name)


class Shard(NamedTuple):
    """The members of a shard."""

    samples: dict[str, dict[str, ByteRange]]  #: name up to the first dot -> what follows it -> content
    left_out: list[Dropped | BadSample]


def list_shard(path: Path) -> Shard:
    """The plain files of an uncompressed tar.

    Of several members with the same name, the first is used. Members before the fault of a broken or truncated shard
    are kept; the fault is one of ``left_out``.
    """
    shard = Shard({}, [])
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="backslashreplace") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # tarfile keeps all of them
                if tar.offset <= member.offset:  # a size below zero
                    raise tarfile.ReadError(f"broken header at byte {member.offset}")
                _add(shard, member)
            end = tar.offset
        with path.open("rb") as file:
            file.seek(end)
            mark = file.read(tarfile.BLOCKSIZE)
        # at an unreadable header, tarfile stops as if the shard ended there
        if not mark or mark.strip(b"\0"):
            raise tarfile.ReadError(f"{'broken header' if mark else 'no end mark: truncated?'} at byte {end}")
    # RecursionError: a chain of headers that announce one another
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        shard.left_out.append(BadSample(str(path), "shard", f"not a whole uncompressed tar ({error})"))
    return shard


def read_member(path: Path, content: ByteRange, name: str) -> NamedBytes:
    """A member's content.

    Raises:
        BadSample: the shard is gone, or ends before the member does.
    """
    try:
        with path.open("rb") as file:
            there = max(os.fstat(file.fileno()).st_size - content.start, 0)
            if not 0 <= content.size <= there or content.start < 0:  # before room is made for it
                raise BadSample(str(path), name, f"truncated: {there} of {content.size} bytes")
            if content.size > SAMPLE_BYTES:
                raise BadSample(str(path), name, f"unreadable shard (a member of {content.size} bytes)")
            file.seek(content.start)
            data = file.read(content.size)
    except OSError as error:
        raise BadSample(str(path), name, f"unreadable shard ({error})") from error
    if len(data) < content.size:
        raise BadSample(str(path), name, f"truncated: {len(data)} of {content.size} bytes")
    return NamedBytes(data, f"{path}:{name}")


def _add(shard: Shard, member: tarfile.TarInfo) -> None:
    if member.isdir():
        return
    folder, _, name = posixpath.normpath(member.name).rpartition("/")
    stem, _, suffix = name.partition(".")
    if not member.isreg() or member.issparse():
        shard.left_out.append(Dropped("members that are not plain files"))
    elif suffix in (sample := shard.samples.setdefault(posixpath.join(folder, stem), {})):
        shard.left_out.append(Dropped("members with a name that their shard already has"))
    else:
        sample[suffix] = ByteRange(member.offset_data, member.size)
