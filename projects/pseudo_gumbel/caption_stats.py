"""Numbers that show whether captions are still language."""

from __future__ import annotations

from collections.abc import Sequence

from sa2va_native.evaluation.diversity import distinct_n


def caption_statistics(
    captions: Sequence[str], lengths: Sequence[int], stopped: Sequence[bool], agreement: float
) -> dict[str, float]:
    """The statistics of a set of captions.

    Args:
        captions: texts.
        lengths: their lengths in tokens, without the stop word.
        stopped: whether each ended with a stop word, not at the length limit.
        agreement: share of caption tokens where the student's most likely token is the teacher's, in [0, 1].

    Returns:
        ``length`` (tokens, mean), ``stop_rate``, ``distinct_1``, ``distinct_2``, ``agreement`` (shares in [0, 1]).
    """
    count = max(len(captions), 1)
    return {
        "length": sum(lengths) / count,
        "stop_rate": sum(bool(stop) for stop in stopped) / count,
        "distinct_1": distinct_n(captions, 1),
        "distinct_2": distinct_n(captions, 2),
        "agreement": float(agreement),
    }
