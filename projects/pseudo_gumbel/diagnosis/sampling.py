"""Captions drawn from the captioner itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sa2va_native.models.pictures import Pictures


@torch.no_grad()
def sample_captions(
    student: Any, pictures: Pictures, region: Tensor, generators: Sequence[torch.Generator]
) -> list[Tensor]:
    """One caption [T_i] a region [B, g, g], word by word at temperature 1, words only; at most ``max_new_tokens``.

    Each token takes a whole forward pass: there is no cache, so keep B small.
    """
    prompts = student.prompts
    ends = [one for one in (student.tokenizer.eos_token_id, prompts.pad_id) if one is not None]
    forbidden = [one for one in prompts.special_ids if one not in ends]
    dummy = torch.zeros(1, dtype=torch.long)
    said = [torch.zeros(0, dtype=torch.long) for _ in generators]
    stopped = [False] * len(said)
    for _ in range(student.max_new_tokens):
        fed = [torch.cat([ids, dummy]) for ids in said]
        logits = student.caption_logits(pictures, region, fed, [dummy] * len(fed))[0][:, -1].float().cpu()
        logits[:, forbidden] = -torch.inf
        for row, generator in enumerate(generators):
            if not stopped[row]:
                word = torch.multinomial(logits[row].softmax(0), 1, generator=generator)
                said[row] = torch.cat([said[row], word])
                stopped[row] = prompts.until_stop(said[row])[1]
        if all(stopped):
            break
    return [prompts.until_stop(ids)[0] for ids in said]
