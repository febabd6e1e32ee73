"""Figures that are ratios of sums over samples: what one sample adds to numerator and denominator.

Metrics sum these terms up; comparisons of runs resample them. A sample that a figure does not cover has no term of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from sa2va_native.evaluation.boundary import boundary_f
from sa2va_native.evaluation.captions import (
    absent_colour_rate,
    attribute_accuracy,
    grammar_rate,
    has_scene_attributes,
    texture_accuracy,
)
from sa2va_native.evaluation.clips import clip_scores
from sa2va_native.evaluation.controls import CONTROLS
from sa2va_native.evaluation.regions import Region
from sa2va_native.evaluation.segmentation import intersection_union, iou

#: A result of the model's ``predict``, or a line of its predictions with the masks decoded.
Sample = Mapping[str, Any]
#: Name of a figure -> (numerator, denominator).
Terms = dict[str, tuple[float, float]]

PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9)
#: Smallest area in px of an object that is medium, and of one that is large (COCO).
MEDIUM, LARGE = 32**2, 96**2


def ratio(terms: Iterable[tuple[float, float]]) -> float:
    """All numerators over all denominators: exactly rounded sums, whatever their order.

    NaN without terms. 1 if the denominators add up to 0, as unions do where nothing was there and nothing predicted.
    """
    terms = list(terms)
    if not terms:
        return float("nan")
    numerator, denominator = (math.fsum(column) for column in zip(*terms, strict=True))
    return numerator / denominator if denominator else 1.0


def overlap_terms(sample: Sample) -> Terms:
    """``refer_ciou`` and ``refer_giou``."""
    pair = intersection_union(sample["pred_mask"], sample["gt_mask"])
    return {"refer_ciou": pair, "refer_giou": (iou(pair), 1)}


def precision_terms(sample: Sample) -> Terms:
    """``refer_p50``, ... ``refer_p90``: the IoU is at least 0.5, ... 0.9. Only expressions that have a target."""
    if not sample["gt_mask"].any():
        return {}
    reached = iou(intersection_union(sample["pred_mask"], sample["gt_mask"]))
    return {f"refer_p{round(100 * threshold)}": (float(reached >= threshold), 1) for threshold in PRECISIONS}


def target_terms(sample: Sample) -> Terms:
    """``refer_n_acc``: no mask where there is no target; ``refer_t_acc``: a mask where there is one (GRES)."""
    answered = sample["pred_mask"] is not None and bool(sample["pred_mask"].any())
    if sample["gt_mask"].any():
        return {"refer_t_acc": (float(answered), 1)}
    return {"refer_n_acc": (float(not answered), 1)}


def size_terms(sample: Sample) -> Terms:
    """``refer_ciou_small``, ``refer_giou_small``, and the same for ``medium`` and ``large``; of targets only."""
    if not sample["gt_mask"].any():
        return {}
    size = size_of(int(sample["gt_mask"].sum()))
    return {f"{name}_{size}": term for name, term in overlap_terms(sample).items()}


def size_of(area: int) -> str:
    """``small``, ``medium`` or ``large`` as in COCO, for a mask of ``area`` px of the picture at its own size.

    Each area has one size: COCO's own code counts those of exactly 32**2 and 96**2 px under both.
    """
    return "small" if area < MEDIUM else "medium" if area < LARGE else "large"


def boundary_terms(sample: Sample) -> Terms:
    """``refer_boundary_f``, see :func:`boundary_f`. Only expressions that have a target."""
    if not sample["gt_mask"].any():
        return {}
    return {"refer_boundary_f": (boundary_f(sample["pred_mask"], sample["gt_mask"]), 1)}


def clip_terms(sample: Sample) -> Terms:
    """``clip_j``, ``clip_f`` and ``clip_jf`` of an object through a clip, see :class:`ClipMetric`."""
    j, f = clip_scores(sample["pred_mask"], sample["gt_mask"], first_given=sample["text"] is None)
    return {"clip_j": (j, 1), "clip_f": (f, 1), "clip_jf": ((j + f) / 2, 1)}


def cycle_terms(sample: Sample) -> Terms:
    """``cycle_iou``, ``cycle_giou``, and the controls that were read: ``cycle_floor``, ..."""
    pair = intersection_union(sample["cycle_mask"], sample["gt_mask"])
    readings = sample.get("readings") or {}
    controls = {f"cycle_{name}": tuple(readings[name]) for name in CONTROLS if name in readings}
    return {"cycle_iou": pair, "cycle_giou": (iou(pair), 1), **controls}


def scene_terms(sample: Sample) -> Terms:
    """Whether the caption of a generated object is true and well formed, see ``SceneCaptionMetric``."""
    said, true = [sample["caption"]], [sample["attributes"]]
    if not has_scene_attributes(true[0]):
        return {}
    shares = {
        **attribute_accuracy(said, true),
        "texture": texture_accuracy(said, true),
        "grammar": grammar_rate(said),
    }
    if "scene_colours" in true[0]:
        shares["absent_colour"] = absent_colour_rate(said, [true[0]["scene_colours"]])
    return {f"caption_{name}": (share, 1) for name, share in shares.items()}


def caption_terms(region: Region) -> Terms:
    """``caption_agreement``, ``caption_length`` in words, and ``caption_stop_rate``."""
    said, texts = _plain(region.caption or ""), {_plain(text) for text in region.references}
    return {
        "caption_agreement": (float(bool(said) and said in texts), 1),
        "caption_length": (len((region.caption or "").split()), 1),
        "caption_stop_rate": (float(region.stopped), 1),
    }


def _plain(text: str) -> str:
    """A text without what does not change its words: case, extra spaces, and a full stop at the end."""
    return " ".join(text.lower().split()).removesuffix(".")
