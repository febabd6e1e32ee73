"""Numbers that show whether captions are still language."""

from __future__ import annotations

from collections.abc import Sequence


def distinct_n(captions: Sequence[str], n: int) -> float:
    """Distinct n-grams of words as a share of all n-grams of the captions, in [0, 1].

    Near 0 when the captioner repeats itself. Source: Li et al., "A Diversity-Promoting Objective Function for Neural
    Conversation Models", NAACL 2016 (distinct-1, distinct-2).

    Args:
        captions: any number of texts, split at white space.
        n: length of the n-grams in words, at least 1.

    Returns:
        the share; 0 when no caption is long enough to hold an n-gram.
    """
    grams = []
    for caption in captions:
        words = caption.split()
        grams += [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


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
