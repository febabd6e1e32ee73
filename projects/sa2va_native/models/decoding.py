"""How ids follow prompts, one after another without end; :meth:`JoinedModel.generate` says when it is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import StaticCache

from sa2va_native.errors import ConfigError
from sa2va_native.models.context import Context
from sa2va_native.models.cuda_graphs import CudaGraphs
from sa2va_native.models.prompts import EmbeddedPrompts

if TYPE_CHECKING:
    from sa2va_native.models.joined import JoinedModel

#: Of a model, prompts and ids that are never chosen: the likeliest next ids [B], again and again.
Decoding = Callable[["JoinedModel", EmbeddedPrompts, Tensor], Iterator[Tensor]]


def growing(model: JoinedModel, prompts: EmbeddedPrompts, never: Tensor) -> Iterator[Tensor]:
    """Keys and values grow with each token."""
    embeds, mask, context = prompts.inputs_embeds, prompts.attention_mask, Context()
    while True:
        ids = _likeliest(model, model.mllm.hidden_states(embeds, context.extend(mask), context.cache), never)
        yield ids
        embeds, mask = model.embedding(ids)[:, None], torch.ones_like(mask[:, :1])


class StaticDecoding:
    """Each token is the same step on the same tensors, so that a GPU can repeat it without the host.

    Keys and values lie in memory for the longest text. On a CUDA device the step is recorded once for each batch, as
    its weights and its length are others each time. Ids are those of :func:`growing` but for ties: attention also
    sums the places that are still empty, as zeros.

    Args:
        record: takes a step and returns what repeats it. None: a CUDA graph on a CUDA device, elsewhere the step.
    """

    def __init__(self, record: Callable[[Callable[[], None]], Callable[[], None]] | None = None) -> None:
        self._record = record

    def __call__(self, model: JoinedModel, prompts: EmbeddedPrompts, never: Tensor) -> Iterator[Tensor]:
        """As a :data:`Decoding`.

        Raises:
            ConfigError: an attention that reads its mask on the host.
        """
        if (attention := model.language_model.config._attn_implementation) != "sdpa":
            raise ConfigError(
                f"mllm.attention = {attention!r} waits for the host at each token: static decoding needs 'sdpa'. "
                "Set it, or decode without a static cache."
            )
        embeds, mask, context = prompts.inputs_embeds, prompts.attention_mask, Context()
        ids = _likeliest(model, model.mllm.hidden_states(embeds, context.extend(mask), context.cache), never)
        cache = StaticCache(model.language_model.config, mask.shape[1] + model.max_new_tokens)
        for layer, (keys, values) in zip(cache.layers, context.cache, strict=True):
            layer.update(keys, values)
        at = torch.tensor([mask.shape[1]], device=mask.device)
        mask = F.pad(mask, (0, model.max_new_tokens))

        def step() -> None:
            mask.index_fill_(1, at, 1)
            hidden = model.mllm.hidden_states(model.embedding(ids)[:, None], mask, cache, at)
            ids.copy_(_likeliest(model, hidden, never))
            at.add_(1)

        yield ids.clone()
        repeat = self._recorder(ids.device)(step)
        yield ids.clone()
        while True:
            repeat()
            yield ids.clone()

    def _recorder(self, device: torch.device) -> Callable[[Callable[[], None]], Callable[[], None]]:
        if self._record is None:
            self._record = CudaGraphs() if device.type == "cuda" else _taken
        return self._record


def _taken(step: Callable[[], None]) -> Callable[[], None]:
    step()
    return step


def _likeliest(model: JoinedModel, hidden: Tensor, never: Tensor) -> Tensor:
    """Ids [B] after hidden states [B, L, D]."""
    return model.mllm.logits(hidden[:, -1]).index_fill(-1, never, -torch.inf).argmax(-1)
