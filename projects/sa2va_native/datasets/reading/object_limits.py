"""Which objects a set keeps: limits on size and scores, each counted by what it leaves out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from sa2va_native.errors import ConfigError


class Dropped(NamedTuple):
    """A record that a filter leaves out; only counted."""

    reason: str


def area_share(area: Any, width: Any, height: Any) -> float | None:
    """The share of a picture that so many of its pixels are, from numbers of a file; None where they are none."""
    if not all(isinstance(value, (int, float)) for value in (area, width, height)):
        return None
    try:
        share = float(area / (width * height))
    except (ZeroDivisionError, OverflowError):
        return None
    return share if math.isfinite(share) else None


class ObjectLimits:
    """Limits on objects; a limit at its default asks nothing of a record.

    Args:
        min_area_share, max_area_share: of the object's pixels among those of its picture, 0..1, both included.
        scores: smallest value of a score that the record gives, e.g. ``{"predicted_iou": 0.88}``; 0 for none.

    Raises:
        ConfigError: a share outside 0..1, or no share between the two.
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
        """Whether some area is outside the limits."""
        return self.min_area_share > 0 or self.max_area_share < 1

    def settings(self) -> dict[str, Any]:
        """JSON-like, for the index."""
        return {"area": [self.min_area_share, self.max_area_share], "scores": self.scores}

    def outside_area(self, share: float) -> str | None:
        """Why an object of this share is left out; None if it stays."""
        if share < self.min_area_share:
            return f"below min_area_share={self.min_area_share:g}"
        if share > self.max_area_share:
            return f"above max_area_share={self.max_area_share:g}"
        return None

    def below_score(self, record: Mapping[str, Any]) -> str | None:
        """Why a record of these scores is left out; None if it stays.

        Raises:
            ValueError: the record has no such score, or it is no number.
        """
        for name, limit in self.scores.items():
            try:
                value = float(record[name])
            except (KeyError, TypeError, ValueError, OverflowError):
                raise ValueError(f"'{name}' is {record.get(name)!r:.40}, and min_{name} needs a number") from None
            if not value >= limit:
                return f"below min_{name}={limit:g}"
        return None
