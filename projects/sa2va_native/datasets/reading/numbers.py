"""Numbers of a json, which some tools write as text."""

from __future__ import annotations

import math
from typing import Any


def as_number(value: Any) -> float | None:
    """A finite number, also one written as text (``"48"``); None for anything else, NaN included."""
    if not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_whole(value: Any) -> int | None:
    """A whole number, also one written as ``48.0`` or as text; None for anything else."""
    if isinstance(value, int):
        return int(value)
    number = as_number(value)
    return int(number) if number is not None and number.is_integer() else None
