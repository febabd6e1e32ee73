"""The interfaces of Sa2VA's two halves; a base model is a folder with classes for them (docs/extending/base_model.md).

Both are :class:`torch.nn.Module`. Names of parameters, in ``parts`` and elsewhere, are those inside the half.
Letters for sizes: see :mod:`sa2va_native.structures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor, nn
from transformers import Cache, PreTrainedModel


class PictureTokens(NamedTuple):
    """Special tokens around the visual tokens of a picture, and the placeholder for each of them."""

    start: str
    end: str
    context: str


class MaskPrediction(NamedTuple):
    """What a mask model says about N language prompts."""

    mask_logits: Tensor  #: [N, h, w], the mask of best predicted IoU
    all_mask_logits: Tensor  #: [N, M, h, w]
    iou: Tensor  #: [N, M] predicted IoU in 0..1


class LanguageSizes(NamedTuple):
    """Sizes of a language model, for the memory plan of a run."""

    layers: int
    hidden: int  #: D
    intermediate: int  #: I
    query_width: int  #: query heads times their width, which need not be D
    key_value_width: int  #: key-value heads times their width
    vocabulary: int  #: V
    head_norms: bool  #: whether queries and keys are normalised, as in Qwen3


class GroundingSizes(NamedTuple):
    """Sizes of a mask model, for the memory plan of a run."""

    map_width: int  #: channels of its feature maps
    map_side: int  #: side of the top one
    kept_maps: int  #: maps of that size that a forward pass keeps for the backward pass, the input maps included


class MultimodalLanguageModel(Protocol):
    """Sees pictures, reads and writes: vision tower, projector, language model and its output head."""

    #: Parts that can be trained or counted, by prefixes of their parameters' names; the first match counts.
    parts: ClassVar[Mapping[str, tuple[str, ...]]]
    #: Which of :attr:`parts` is :attr:`tower`.
    tower_part: ClassVar[str]
    #: Names of the linear layers that LoRA adapts.
    lora_targets: ClassVar[tuple[str, ...]]
    #: Names of the tensors whose rows are tokens; they grow with the vocabulary.
    vocabulary: ClassVar[tuple[str, ...]]
    picture_tokens: ClassVar[PictureTokens]

    @classmethod
    def data_sizes(cls, config: Mapping[str, Any]) -> dict[str, int]:
        """``image_size`` and ``grid_size``, as below, of a model with these keywords, before it is built."""
        ...

    @property
    def tower(self) -> PreTrainedModel:
        """What :meth:`encode` runs, whose output may be kept on disk."""
        ...

    @property
    def language_model(self) -> PreTrainedModel:
        """The model that LoRA and gradient checkpointing apply to, without the output head."""
        ...

    @property
    def embedding(self) -> nn.Module:
        """The input embedding: ids [...] -> [..., D]; has ``num_embeddings``."""
        ...

    @property
    def image_size(self) -> int:
        """S, side of the pictures in pixels."""
        ...

    @property
    def grid_size(self) -> int:
        """g, side of the grid of visual tokens; a picture is g * g of them."""
        ...

    @property
    def hidden_size(self) -> int:
        """D."""
        ...

    @property
    def sizes(self) -> LanguageSizes:
        """For the memory plan of a run."""
        ...

    def encode(self, pixels: Tensor) -> Tensor:
        """Features [B, g * g, C] of pictures [B, 3, S, S] with ImageNet's statistics, row by row of the grid."""
        ...

    def project(self, vision: Tensor) -> Tensor:
        """Visual tokens [B, g * g, D] of the features of :meth:`encode`; trained, so with gradient."""
        ...

    def hidden_states(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor,
        cache: Cache | None = None,
        cache_position: Tensor | None = None,
    ) -> Tensor:
        """Last hidden states [B, L, D] of left-padded embeddings [B, L, D] with a mask [B, L], 0 at pads.

        With a ``cache`` they go on from the P tokens that it holds, and the mask is [B, P + L]; it is extended. A
        static cache has places for more, for which the mask is 0; ``cache_position`` [1] is that of the one new token.
        """
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., D] -> logits [..., V]."""
        ...


class Grounding(Protocol):
    """Draws: pictures and one embedding each in, masks out; carries an object through a clip.

    One that also takes boxes and points has a method ``pointed``, as
    :class:`sa2va_native.models.sam2.model.LanguageSam2`; inference asks for it.
    """

    #: As in :class:`MultimodalLanguageModel`.
    parts: ClassVar[Mapping[str, tuple[str, ...]]]
    #: Which of :attr:`parts` is :attr:`tower`.
    tower_part: ClassVar[str]

    @classmethod
    def data_sizes(cls, config: Mapping[str, Any]) -> dict[str, int]:
        """``grounding_size`` (the image size below) and ``mask_size`` of a model with these keywords."""
        ...

    @property
    def tower(self) -> PreTrainedModel:
        """What :meth:`encode` runs, whose output may be kept on disk."""
        ...

    @property
    def image_size(self) -> int:
        """G, side of the pictures in pixels."""
        ...

    @property
    def mask_size(self) -> int:
        """h = w, side of the mask logits."""
        ...

    @property
    def prompt_size(self) -> int:
        """C, width of a language prompt."""
        ...

    @property
    def sizes(self) -> GroundingSizes:
        """For the memory plan of a run."""
        ...

    def encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of pictures [B, 3, G, G] with ImageNet's statistics; each has B rows."""
        ...

    def __call__(self, maps: tuple[Tensor, ...], prompts: Tensor, shown: Sequence[int] | None = None) -> MaskPrediction:
        """Masks for prompts [N, C] on the P maps of :meth:`encode`; the maps need not be copied for them.

        ``shown`` [N] tells the picture of each prompt; it is given only where a training step looks at fewer pictures
        than it has samples. None: N is P, or the same number for each picture, and a picture's prompts stand together.
        """
        ...

    def track(self, frames: Sequence[Tensor], prompts: Mapping[int, Tensor]) -> Tensor:
        """Mask logits [F, h, w] of one object through frames [3, G, G], some of which have a prompt [C]."""
        ...

    def follow(self, frames: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Mask logits [F, h, w] of one object through frames [3, G, G], from its mask, bool [H, W], in the first."""
        ...
