"""Reads untrusted pickles as plain data: nothing that they name is imported or called."""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

from sa2va_native.datasets.reading.files import is_special
from sa2va_native.errors import DataError
from sa2va_native.files.bounded_json import machine_memory, read_bounded


class PlainUnpickler(pickle.Unpickler):
    """Reads lists, dicts, text and numbers; refuses a pickle that names a class or function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(
            f"it asks for '{module}.{name}', and only plain lists, dicts, text and numbers are read"
        )


def read_pickle(path: Path) -> Any:
    """The content of a pickle of lists, dicts, text and numbers.

    Raises:
        DataError: the file is missing or broken, or asks for more than plain data.
    """
    try:
        if is_special(path):
            raise OSError("a pipe, a socket or a device")
        content = read_bounded(path, machine_memory())
        _check_memo(content)
        return PlainUnpickler(io.BytesIO(content)).load()
    # Broken bytes make the unpickler raise nearly anything: UnpicklingError, EOFError, ValueError, TypeError, ...
    except Exception as error:
        raise DataError(f"{path}: refused or broken pickle: {error}. Rewrite it with plain data.") from error


def _check_memo(content: bytes) -> None:
    """Refuses a pickle that would make the unpickler allocate gigabytes: it makes room up to the highest memo index.

    A pickle of n bytes cannot store more than n objects.
    """
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > len(content):
            raise pickle.UnpicklingError(
                f"it stores an object at memo index {argument}, but has only {len(content)} bytes"
            )
