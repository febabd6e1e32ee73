"""Signs that a captioner earns its reward without describing: nothing drawn, drawn elsewhere, one caption for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from torch import Tensor


def draws_nothing(mask_logits: Tensor) -> Tensor:
    """[N] bool: no pixel of the mask logits [N, h, w] is above 0."""
    return ~(mask_logits > 0).flatten(1).any(1)


def draws_elsewhere(mask_logits: Tensor, masks: Tensor, share: float = 0.1) -> Tensor:
    """[N] bool: something is drawn, and less than ``share`` of it lies on the object asked for.

    Args:
        mask_logits: [N, h, w].
        masks: [N, h, w] in {0, 1}, the object.
        share: of the drawn pixels, 0..1.
    """
    drawn = (mask_logits > 0).flatten(1)
    hit = (drawn & (masks > 0.5).flatten(1)).sum(1)
    return drawn.any(1) & (hit < share * drawn.sum(1))


def alike(captions: Sequence[Hashable]) -> tuple[float, float]:
    """Different captions as a share of all, and the share of the commonest; (1, 0) without captions."""
    if not captions:
        return 1.0, 0.0
    counts = Counter(captions)
    return len(counts) / len(captions), max(counts.values()) / len(captions)
