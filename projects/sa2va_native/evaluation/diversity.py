"""How much a set of texts repeats itself."""

from __future__ import annotations

from collections.abc import Sequence


def distinct_n(texts: Sequence[str | None], n: int = 1) -> float:
    """Distinct n-grams of words as a share of all n-grams of the texts, in [0, 1].

    Near 0 when a captioner repeats itself. Source: Li et al., "A Diversity-Promoting Objective Function for Neural
    Conversation Models", NAACL 2016, arXiv:1510.03055 (distinct-1, distinct-2).

    Args:
        texts: any number of texts, split at white space; None for a missing one.
        n: length of the n-grams in words, at least 1.

    Returns:
        the share; 0 when no text is long enough to hold an n-gram.
    """
    grams = []
    for text in texts:
        words = (text or "").split()
        grams += [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0
