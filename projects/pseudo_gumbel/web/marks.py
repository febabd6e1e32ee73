"""What a user marks in a picture: a click, a box, or painted strokes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from sa2va_native.errors import InputError
from sa2va_native.evaluation.segmentation import intersection_union, iou
from sa2va_native.inference.sa2va_inference import Sa2VAInference

Kind = Literal["point", "box", "paint"]
#: More than this many places in a mark are not drawn by hand.
MAX_PLACES = 20_000


class Mark(NamedTuple):
    """A mark, in shares of the picture's width and height, so that it fits the picture at any size."""

    kind: Kind
    strokes: list[list[tuple[float, float]]]  #: a point: one place; a box: two corners; paint: the brush's way
    width: float = 0.0  #: of the brush, in shares of the picture's longer side


def read_mark(sent: Mapping[str, Any]) -> Mark:
    """A mark as the browser sends it.

    Raises:
        InputError: it is none, e.g. without a place, or with one outside the picture.
    """
    try:
        kind, width = sent["kind"], float(sent.get("width", 0.0))
        strokes = [[(float(x), float(y)) for x, y in stroke] for stroke in sent["strokes"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"a mark that cannot be read ({error}); reload the page") from error
    places = [place for stroke in strokes for place in stroke]
    if kind not in ("point", "box", "paint") or not 0 < len(places) <= MAX_PLACES or not 0 <= width <= 1:
        raise InputError(f"a mark of kind {kind!r} with {len(places)} places; click, draw a box or paint")
    if kind != "paint" and len(places) != (1 if kind == "point" else 2):
        raise InputError(f"a {kind} with {len(places)} places; click again")
    if not all(0 <= x <= 1 and 0 <= y <= 1 for x, y in places):
        raise InputError("a mark outside the picture; mark a place inside it")
    return Mark(kind, strokes, width)


def region_of(mark: Mark, picture: np.ndarray, sa2va: Sa2VAInference, objects: Sequence[np.ndarray] = ()) -> np.ndarray:
    """The region that is meant, bool (H, W): of paint what was painted, else the object that was clicked or boxed.

    Args:
        mark: see :func:`read_mark`.
        picture: uint8 (H, W, 3).
        sa2va: whose SAM 2 looks for the object.
        objects: the objects of a picture in which they are known, bool (H, W); SAM 2 is not asked then.

    Raises:
        InputError: the box is empty, or nothing was found there.
    """
    height, width = picture.shape[:2]
    if mark.kind == "paint":
        return painted(mark, (height, width))
    # A click on the last edge is in the last pixel.
    places = [
        (min(x * width, width - 0.5), min(y * height, height - 0.5)) for stroke in mark.strokes for x, y in stroke
    ]
    if len(objects):
        region = _known(places, objects)
    elif mark.kind == "point":
        region = sa2va.region_from_points(picture, places)
    else:
        (x0, x1), (y0, y1) = (sorted(ends) for ends in zip(*places, strict=True))
        region = sa2va.region_from_box(picture, (x0, y0, x1, y1))
    if not region.any():
        raise InputError("no object is seen there; click another place, draw a box, or paint the object")
    return region


def _known(places: Sequence[tuple[float, float]], objects: Sequence[np.ndarray]) -> np.ndarray:
    """The object at a place, or the one that fits a box best; nothing if there is none."""
    if len(places) == 1:
        ((x, y),) = places
        return next((one for one in objects if one[int(y), int(x)]), objects[0] & False)
    box = objects[0] & False
    (x0, x1), (y0, y1) = (sorted(int(end) for end in ends) for ends in zip(*places, strict=True))
    box[y0 : y1 + 1, x0 : x1 + 1] = True
    best = max(objects, key=lambda one: iou(intersection_union(box, _filled(one))))
    return best if (best & box).any() else best & False


def _filled(mask: np.ndarray) -> np.ndarray:
    """The smallest box around a mask, as a mask."""
    return np.outer(mask.any(1), mask.any(0))


def painted(mark: Mark, size: tuple[int, int]) -> np.ndarray:
    """What the brush went over, bool (H, W); a dab is a disc."""
    height, width = size
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    radius = max(mark.width * max(size) / 2, 0.5)
    for stroke in mark.strokes:
        way = [(x * width, y * height) for x, y in stroke]
        draw.line(way, fill=1, width=max(round(2 * radius), 1))
        for x, y in way:  # round ends and joints
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    return np.array(canvas)
