"""Questions about a picture or a clip, checked before there is a model, and their answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sa2va_native.errors import PromptError
from sa2va_native.evaluation.segmentation import intersection_union, iou
from sa2va_native.inference.answers import Answer
from sa2va_native.inference.inputs import expression_texts, region_masks
from sa2va_native.inference.pointing import box_pointing, point_pointing
from sa2va_native.inference.sa2va_inference import Sa2VAInference


class Question(NamedTuple):
    """Where is it: an expression; or what is it: a mask, a box or points. One of the four is given."""

    expression: str | None = None
    mask: str | None = None  #: path of a picture
    box: Sequence[float] | None = None  #: x0, y0, x1, y1
    points: Sequence[Sequence[float]] | None = None  #: x, y, and 0 for a point beside the object, else 1

    @property
    def is_expression(self) -> bool:
        """Whether it asks where something is."""
        return self.expression is not None

    def asked(self) -> dict[str, Any]:
        """What is given, ready for JSON."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def questions(
    expressions: Sequence[str] = (),
    masks: Iterable[str | Path] = (),
    boxes: Iterable[Sequence[float]] = (),
    points: Iterable[Sequence[Sequence[float]]] = (),
) -> list[Question]:
    """The questions, in this order.

    Raises:
        InputError: an expression is empty.
    """
    return [
        *(Question(expression=text) for text in expression_texts(expressions)),
        *(Question(mask=str(path)) for path in masks),
        *(Question(box=list(box)) for box in boxes),
        *(Question(points=[[*point, 1][:3] for point in one]) for one in points),
    ]


def require_fitting(asked: Iterable[Question], picture: np.ndarray) -> None:
    """Checks regions against their picture.

    Raises:
        InputError: a mask cannot be read or is of another size, or a box or a point leaves the picture.
    """
    for question in asked:
        if question.mask is not None:
            region_masks(question.mask, picture)
        if question.box is not None:
            box_pointing(question.box, picture)
        if question.points is not None:
            point_pointing(*_places(question.points), picture)


def look_for(sa2va: Sa2VAInference, frames: Sequence[np.ndarray], text: str, is_clip: bool) -> np.ndarray | None:
    """The mask of a text, bool (H, W), in a clip (F, H, W); None if the model gave none.

    Raises:
        InputError: see :meth:`Sa2VAInference.segment_image`.
    """
    if is_clip:
        return sa2va.segment_video(frames, text)
    (mask,) = sa2va.segment_image(frames[0], text)
    return mask


def ask(
    sa2va: Sa2VAInference, frames: Sequence[np.ndarray], asked: Sequence[Question], cycle: bool, is_clip: bool
) -> list[Answer]:
    """Answers to questions about a picture, or about a clip whose first frame has the regions.

    Args:
        frames: the picture alone, or those of the clip; uint8 RGB (H, W, 3).
        asked: see :func:`questions`.
        cycle: also look for each caption.
        is_clip: whether masks are those of a clip, (F, H, W).

    Raises:
        InputError: as :func:`require_fitting`.
    """
    texts = [question.expression for question in asked if question.expression is not None]
    if is_clip:
        found = iter([look_for(sa2va, frames, text, is_clip) for text in texts])
    else:  # one look for all
        found = iter(sa2va.segment_image(frames[0], texts))
    return [
        Answer(question.asked(), mask=next(found))
        if question.is_expression
        else _described(sa2va, frames, question, cycle, is_clip)
        for question in asked
    ]


def _described(
    sa2va: Sa2VAInference, frames: Sequence[np.ndarray], question: Question, cycle: bool, is_clip: bool
) -> Answer:
    picture = frames[0]
    answer = Answer(question.asked(), looked=cycle)
    answer.region = _region(sa2va, picture, question)
    if not answer.region.any():
        answer.note = (
            "SAM 2 finds nothing there; the shipped tiny weights never learnt boxes and points, so give them a mask"
        )
        return answer
    try:
        (answer.caption,) = sa2va.caption_regions(picture, answer.region)
    except PromptError:
        answer.note = "the region is too small to be described: it covers no cell of the model's grid"
        return answer
    if cycle and answer.caption:
        answer.mask = look_for(sa2va, frames, answer.caption, is_clip)
    if cycle:
        first = answer.mask[0] if is_clip and answer.mask is not None else answer.mask
        answer.iou = iou(intersection_union(first, answer.region))
    return answer


def _region(sa2va: Sa2VAInference, picture: np.ndarray, question: Question) -> np.ndarray:
    if question.box is not None:
        return sa2va.region_from_box(picture, question.box)
    if question.points is not None:
        return sa2va.region_from_points(picture, *_places(question.points))
    (region,) = region_masks(question.mask, picture)
    assert region is not None, "a path is not None"
    return region


def _places(points: Sequence[Sequence[float]]) -> tuple[list[Sequence[float]], list[int]]:
    """Pairs x, y, and their labels."""
    return [point[:2] for point in points], [int(point[2]) for point in points]
