"""The base model and its parts. Each folder of this package is one half of it: its class, its key maps, its facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sa2va_native.models.sa2va import Sa2VA

__all__ = ["Sa2VA"]


def __getattr__(name: str) -> Any:
    """Imports the model at first use: checkpoints read key maps of this package without it."""
    if name == "Sa2VA":
        from sa2va_native.models.sa2va import Sa2VA

        return Sa2VA
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
