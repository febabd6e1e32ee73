"""Ends generation at a stop word."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, StoppingCriteria

#: No stop word is longer than this many tokens, even byte by byte.
_TAIL = 12


class StopWords(StoppingCriteria):
    """A row is done once its text ends with ``word``, however that word is split into tokens.

    transformers' ``StopStringCriteria`` does the same for tokenizers that can spell any string; this one also works
    with a closed vocabulary.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, word: str) -> None:
        self.tokenizer, self.word = tokenizer, word

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """Done or not, [B] bool, for the ids generated so far [B, T]."""
        tails = self.tokenizer.batch_decode(input_ids[:, -_TAIL:])
        return torch.tensor([self.word in tail for tail in tails], device=input_ids.device)
