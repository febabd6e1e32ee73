"""Step 2: corrupt the teacher's caption, so that the student cannot just repeat it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def corrupt(
    captions: Sequence[Tensor], ratio: float, replacements: Tensor, generators: Sequence[torch.Generator]
) -> list[Tensor]:
    """Replace each token with probability ``ratio`` by a uniformly drawn one.

    Args:
        captions: B id tensors [T_i]; only real caption tokens, so stop words and padding are never touched.
        ratio: 0 (captions come back unchanged) .. 1.
        replacements: ids to draw from, [R]: ordinary words. An ``<IMG_CONTEXT>`` would be one more visual slot.
        generators: B generators, one per sample.
    """
    corrupted = []
    for ids, generator in zip(captions, generators, strict=True):
        replaced = torch.rand(len(ids), generator=generator) < ratio
        chosen = torch.randint(len(replacements), (len(ids),), generator=generator)
        corrupted.append(torch.where(replaced, replacements[chosen], ids))
    return corrupted
