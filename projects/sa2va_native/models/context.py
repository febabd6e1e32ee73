"""What a language model has read so far, so that several texts can go on from it without reading it again."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache


class Context:
    """Keys and values of each layer, and which positions are pads; empty at first, and longer with each forward pass.

    For weights without gradient. Its size is that of the texts: 2 x layers x key and value width numbers per token.
    """

    def __init__(self) -> None:
        self.cache = DynamicCache()
        self.attention_mask: Tensor | None = None  #: [B, L] int64, 0 at pads

    def extend(self, attention_mask: Tensor) -> Tensor:
        """Notes a continuation with mask [B, L'], which may itself be padded; returns the mask of all, [B, L + L']."""
        known = [] if self.attention_mask is None else [self.attention_mask]
        self.attention_mask = torch.cat([*known, attention_mask], 1)
        return self.attention_mask

    def repeat(self, times: int) -> None:
        """Makes ``times`` rows of each, those of a row one after the other."""
        self.cache.batch_repeat_interleave(times)
        if self.attention_mask is not None:
            self.attention_mask = self.attention_mask.repeat_interleave(times, 0)
