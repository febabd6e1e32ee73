"""Boxes and points on a picture, for SAM 2: checked, and turned into the form that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sa2va_native.errors import InputError

#: SAM 2's labels of points.
BESIDE, ON, UPPER_LEFT, LOWER_RIGHT = range(4)


class Pointing(NamedTuple):
    """Points of one object."""

    places: np.ndarray  #: (n, 2) float32, x and y as shares of the picture's width and height
    labels: np.ndarray  #: (n,) int64


def box_pointing(box: Any, picture: np.ndarray) -> Pointing:
    """A box as its two corners.

    Args:
        box: x0, y0, x1, y1 in pixels of the picture, from its upper left corner; x1 and y1 are outside the box.
        picture: (H, W, 3).

    Raises:
        InputError: not four numbers, an empty box, or one that leaves the picture.
    """
    height, width = picture.shape[:2]
    numbers = _numbers(box, "box")
    if numbers.shape != (4,):
        raise InputError(f"box of shape {numbers.shape}; give one box, as x0, y0, x1, y1")
    x0, y0, x1, y1 = numbers.tolist()
    if not (x0 < x1 and y0 < y1):
        raise InputError(f"box {_shown(box)} is empty; give x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise InputError(f"box {_shown(box)} leaves the picture of {width} x {height} px")
    return Pointing(_shares(numbers.reshape(2, 2), picture), np.array([UPPER_LEFT, LOWER_RIGHT]))


def point_pointing(points: Any, labels: Sequence[int] | None, picture: np.ndarray) -> Pointing:
    """Points on and beside an object.

    Args:
        points: n pairs x, y in pixels of the picture, or one such pair.
        labels: n of them, 1 on the object, 0 beside it; None: all are on it.
        picture: (H, W, 3).

    Raises:
        InputError: no pairs of numbers, a point outside the picture, other labels, or none that is on the object.
    """
    height, width = picture.shape[:2]
    numbers = _numbers(points, "points")
    numbers = numbers[None] if numbers.ndim == 1 else numbers
    if numbers.ndim != 2 or numbers.shape[1] != 2 or not len(numbers):
        raise InputError(f"points of shape {numbers.shape}; give at least one pair x, y")
    for x, y in numbers.tolist():
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(f"point {x:g}, {y:g} is outside the picture of {width} x {height} px")
    given = [ON] * len(numbers) if labels is None else np.atleast_1d(labels).tolist()
    if len(given) != len(numbers) or not set(given) <= {BESIDE, ON}:
        raise InputError(f"labels {_shown(given)} of {len(numbers)} points; give 1 (on) or 0 (beside) for each")
    if ON not in given:
        raise InputError("every point is beside the object; give at least one on it")
    return Pointing(_shares(numbers, picture), np.array(given, dtype=np.int64))


def _numbers(values: Any, what: str) -> np.ndarray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} {_shown(values)}: expected numbers, in pixels of the picture") from error
    if not np.isfinite(numbers).all():
        raise InputError(f"{what} {_shown(values)}: not a finite number")
    return numbers


def _shares(places: np.ndarray, picture: np.ndarray) -> np.ndarray:
    return (places / [picture.shape[1], picture.shape[0]]).astype(np.float32)


def _shown(values: Any) -> str:
    return f"{np.asarray(values, dtype=object).tolist()!r:.80}"
