"""Which objects a set keeps: limits on size and scores, with a count of what each leaves out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from sa2va_native.datasets.reading.numbers import as_number
from sa2va_native.errors import ConfigError


class Dropped(NamedTuple):
    """A record left out by a filter; it is only counted."""

    reason: str


def area_share(area: Any, width: Any, height: Any) -> float | None:
    """``area`` as a share of a picture, from numbers of a file; None if they are not numbers."""
    if not all(isinstance(value, (int, float)) for value in (area, width, height)):
        return None
    try:
        share = float(area / (width * height))
    except (ZeroDivisionError, OverflowError):
        return None
    return share if math.isfinite(share) else None


class ObjectLimits:
    """Limits on objects; a limit at its default requires nothing of a record.

    Args:
        min_area_share, max_area_share: the object's share of its picture's pixels, 0..1, bounds included.
        scores: smallest value of each score of a record, e.g. ``{"predicted_iou": 0.88}``; 0 for no limit.

    Raises:
        ConfigError: a share outside 0..1, or a minimum above the maximum.
    """

    def __init__(self, min_area_share: float, max_area_share: float, scores: Mapping[str, float] | None = None) -> None:
        if not 0 <= min_area_share <= max_area_share <= 1:
            raise ConfigError(
                f"min_area_share {min_area_share} and max_area_share {max_area_share}: expected 0 <= min <= max <= 1"
            )
        self.min_area_share, self.max_area_share = min_area_share, max_area_share
        self.scores = {name: limit for name, limit in (scores or {}).items() if limit > 0}

    @property
    def asks_area(self) -> bool:
        """Whether there is a limit on area."""
        return self.min_area_share > 0 or self.max_area_share < 1

    def settings(self) -> dict[str, Any]:
        """JSON-like; for the index."""
        return {"area": [self.min_area_share, self.max_area_share], "scores": self.scores}

    def outside_area(self, share: float) -> str | None:
        """Why an object with this share is left out; None if it is kept."""
        if share < self.min_area_share:
            return f"below min_area_share={self.min_area_share:g}"
        if share > self.max_area_share:
            return f"above max_area_share={self.max_area_share:g}"
        return None

    def below_score(self, record: Mapping[str, Any]) -> str | None:
        """Why a record with these scores is left out; None if it is kept.

        Raises:
            ValueError: the record has no such score, or it is not a number.
        """
        for name, limit in self.scores.items():
            value = as_number(record.get(name))
            if value is None:
                raise ValueError(f"'{name}' is {record.get(name)!r:.40}, and min_{name} needs a number")
            if value < limit:
                return f"below min_{name}={limit:g}"
        return None
