"""How much memory a micro-batch needs until its backward pass. Estimates from shapes, in bytes.

The tensors that autograd keeps are counted from the code of transformers' Qwen2 and Qwen3 and peft's LoRA, as
Korthikanti et al. (arXiv:2205.05198, section 4) do for GPT; attention keeps no L x L matrix (``sdpa`` or flash-attn). c
is 2 or 4, the bytes of an activation; Q and KV are the widths of queries and of keys and values, all heads together (Q
is D in Qwen2). A token in a layer keeps

- 2 norms, whose input is cast to float32: 8 D; where queries and keys are normalised too, 4 (Q + KV)
- inputs of LoRA, 5 projections of width D, one of width Q and one of width I: with dropout each its own copy and, on a
  GPU, a mask of one byte, (c + 1)(5 D + Q + I); without, what they share, c (2 D + I)
- LoRA's inner activations, 7 of width r: 7 c r
- attention: queries, keys, values and output, heads repeated: 4 c Q
- gate, its activation and up: 3 c I
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sa2va_native.engine.plan.memory_plan import Item
from sa2va_native.structures import Kind


@dataclass(frozen=True)
class Shapes:
    """Sizes of a model and of a micro-batch."""

    batch: int
    layers: int
    hidden: int  #: D
    intermediate: int  #: I
    query_width: int  #: Q, query heads times their width
    key_value_width: int  #: KV, key-value heads times their width
    vocabulary: int  #: V
    head_norms: bool  #: whether queries and keys are normalised
    lora_rank: int  #: r; 0 without LoRA
    lora_dropout: bool
    map_width: int  #: channels of the mask model's feature maps
    map_side: int  #: side of the top one
    kept_maps: int  #: maps of that size that a pass of the mask model keeps, its input maps included
    caption_prompt: int  #: tokens of the question for a caption, with a region as large as the picture
    caption: int  #: T, most tokens of a caption
    segment_prompt: int  #: tokens of question and answer around an expression of T tokens
    answer: int  #: tokens of the answer
    mixed: int = 0  #: vectors that a word of a cycle batch is mixed of, all readings together; 0 without gradient
    tables: int = 0  #: trained tables of V x D among the input embeddings: 0 or 1


def layer_bytes(shapes: Shapes, width: int) -> int:
    """What one layer of the language model keeps per token; ``width`` is c."""
    d, i, q, r = shapes.hidden, shapes.intermediate, shapes.query_width, shapes.lora_rank
    norms = 8 * d + (4 * (q + shapes.key_value_width) if shapes.head_norms else 0)
    lora = 0
    if r:
        inputs = (width + 1) * (5 * d + q + i) if shapes.lora_dropout else width * (2 * d + i)
        lora = inputs + 7 * width * r
    return norms + lora + 4 * width * q + 3 * width * i


def language_bytes(shapes: Shapes, tokens: Sequence[int], width: int, checkpointing: bool) -> int:
    """What passes of ``tokens`` keep; with gradient checkpointing, inputs of layers and one layer at a time."""
    if checkpointing:
        inputs = sum(tokens) * shapes.layers * width * shapes.hidden
        return shapes.batch * (inputs + max(tokens) * layer_bytes(shapes, width))
    return shapes.batch * sum(tokens) * shapes.layers * layer_bytes(shapes, width)


def logits_bytes(shapes: Shapes, positions: int, width: int) -> int:
    """Logits [B, T, V] as computed and in float32, and the gradients of both."""
    return shapes.batch * positions * shapes.vocabulary * (8 if width == 4 else 2 * (width + 4))


def grounding_bytes(shapes: Shapes, width: int) -> int:
    """The mask model's feature maps and what a pass of it keeps."""
    return shapes.batch * shapes.map_width * shapes.map_side**2 * shapes.kept_maps * width


def cache_bytes(shapes: Shapes, width: int) -> int:
    """Keys and values of the captions that a teacher generates. Exact, at full length."""
    tokens = shapes.caption_prompt + shapes.caption
    return shapes.batch * tokens * shapes.layers * 2 * shapes.key_value_width * width


def mixture_bytes(shapes: Shapes, width: int) -> int:
    """Rows of the embedding table that words are mixed of, [B, T, K, D], and their gradient."""
    return 2 * shapes.batch * shapes.caption * shapes.mixed * shapes.hidden * width


def table_bytes(shapes: Shapes, width: int, accumulating: bool) -> int:
    """The gradient of a trained embedding table, where that of other micro-batches is kept, or split over ranks.

    All lookups of a backward pass make one (:class:`sa2va_native.models.row_embedding.RowEmbedding`). Alone, it is
    itself the one that is kept.
    """
    return shapes.tables * shapes.vocabulary * shapes.hidden * width if accumulating else 0


def activations(shapes: Shapes, kind: Kind, width: int, checkpointing: bool, accumulating: bool = True) -> list[Item]:
    """What a micro-batch of a kind needs; ``accumulating`` where gradients of others are kept meanwhile.

    A ``cycle`` batch keeps two passes of the language model at once, as gradient goes from the mask to the caption.
    """
    caption = shapes.caption_prompt + shapes.caption - 1
    passes: Mapping[Kind, tuple[int, ...]] = {
        "cycle": (caption, shapes.segment_prompt),
        "refer": (shapes.segment_prompt,),
        "caption": (caption,),
    }
    positions = shapes.answer if kind == "refer" else shapes.caption
    items = [
        Item("language model", language_bytes(shapes, passes[kind], width, checkpointing), "backward", exact=False),
        Item("logits", logits_bytes(shapes, positions, width), "backward", exact=False),
        Item("gradients of the embedding", table_bytes(shapes, width, accumulating), "backward", exact=False),
    ]
    if kind != "caption":
        items.append(Item("SAM 2", grounding_bytes(shapes, width), "backward", exact=False))
    if kind == "cycle":
        items.append(Item("mixtures of words", mixture_bytes(shapes, width), "backward", exact=False))
        items.append(Item("key-value cache", cache_bytes(shapes, width), "captioning"))
    return items
