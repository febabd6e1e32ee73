"""The figures by which runs are compared, sample by sample."""

from __future__ import annotations

from sa2va_native.evaluation.terms import (
    Sample,
    Terms,
    boundary_terms,
    clip_terms,
    cycle_terms,
    overlap_terms,
    precision_terms,
    scene_terms,
    size_terms,
    target_terms,
)

#: Terms of a sample, by its kind. Captions with human texts have theirs by region, see ``caption_terms``.
_TERMS = {
    "refer": (overlap_terms, precision_terms, target_terms, size_terms, boundary_terms),
    "cycle": (cycle_terms, scene_terms),
    "clip": (clip_terms,),
}
#: Less is better, or neither is: a reading to compare others with is no virtue.
_BETTER = {"cycle_floor": 0, "cycle_ceiling": 0, "caption_absent_colour": -1, "caption_length": 0}


def terms_of(sample: Sample) -> Terms:
    """What a sample adds to every figure that covers it; nothing if its kind has none."""
    return {name: term for terms in _TERMS.get(sample["kind"], ()) for name, term in terms(sample).items()}


def better(figure: str) -> int:
    """1 if more of a figure is better, -1 if less is, 0 if neither."""
    return _BETTER.get(figure, 1)


def verdict(figure: str, low: float, high: float) -> str:
    """``better`` or ``worse`` if a difference's interval leaves out 0, ``other`` if neither is better; else empty."""
    if low <= 0 <= high:
        return ""
    return {0: "other", 1: "better", -1: "worse"}[better(figure) * (1 if low > 0 else -1)]
