"""InternVL: a ViT, a projector and a Qwen language model (arXiv:2412.05271, 2504.10479, 2508.18265)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from transformers import (
    Cache,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sa2va_native.models.internvl import key_maps
from sa2va_native.models.internvl.tokens import PICTURE_TOKENS
from sa2va_native.models.protocols import LanguageSizes, MultimodalLanguageModel, PictureTokens
from sa2va_native.models.row_embedding import RowEmbedding
from sa2va_native.parallel.parameters import is_partitioned


@MODELS.register_module()
class InternVL(InternVLForConditionalGeneration):
    """transformers' InternVL, as a :class:`sa2va_native.models.protocols.MultimodalLanguageModel`.

    Args:
        vision_config: keywords of :class:`transformers.InternVLVisionConfig`.
        text_config: keywords of the language model's config, and its ``model_type``: ``"qwen2"`` (InternVL2.5 and 3)
            or ``"qwen3"`` (InternVL3.5). Its vocabulary is the tokenizer's.
        tokenizer: with InternVL's and Sa2VA's tokens; Sa2VA passes it.
        downsample_ratio: visual tokens per side divided by ViT patches per side.
        attention: ``"sdpa"``, ``"eager"`` or ``"flash_attention_2"`` (needs flash-attn).
    """

    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "projector": ("model.multi_modal_projector.",),
        "embeddings": ("model.language_model.embed_tokens.", "lm_head."),
        "language_model": ("model.language_model.layers.", "model.language_model.norm."),
        "vision_tower": ("model.vision_tower.",),
    }
    tower_part: ClassVar[str] = "vision_tower"
    lora_targets: ClassVar[tuple[str, ...]] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    vocabulary: ClassVar[tuple[str, ...]] = key_maps.VOCABULARY
    picture_tokens: ClassVar[PictureTokens] = PICTURE_TOKENS

    def __init__(
        self,
        vision_config: dict[str, Any],
        text_config: dict[str, Any],
        tokenizer: PreTrainedTokenizerBase,
        downsample_ratio: float = 0.5,
        attention: str = "sdpa",
    ) -> None:
        vision = copy.deepcopy(dict(vision_config))  # the config classes modify their arguments
        # Every published InternVL has its own output head, even where Qwen ties it to the embedding.
        text = dict(tie_word_embeddings=False) | copy.deepcopy(dict(text_config))
        text["vocab_size"] = len(tokenizer)
        config = InternVLConfig(
            vision_config=vision,
            text_config=text,
            downsample_ratio=downsample_ratio,
            image_token_id=tokenizer.convert_tokens_to_ids(PICTURE_TOKENS.context),
            tie_word_embeddings=text["tie_word_embeddings"],
        )
        side = config.vision_config.image_size[0] // config.vision_config.patch_size[0]
        config.image_seq_length = int(side * downsample_ratio) ** 2
        config._attn_implementation = attention
        super().__init__(config)
        RowEmbedding.take_over(self.get_input_embeddings())

    @classmethod
    def data_sizes(cls, config: Mapping[str, Any]) -> dict[str, int]:
        """S and g of a model with these keywords."""
        vision = InternVLVisionConfig(**config["vision_config"])
        side = vision.image_size[0] // vision.patch_size[0]
        return dict(image_size=vision.image_size[0], grid_size=int(side * config.get("downsample_ratio", 0.5)))

    @property
    def tower(self) -> PreTrainedModel:
        """InternViT."""
        return self.model.vision_tower

    @property
    def language_model(self) -> PreTrainedModel:
        """The Qwen backbone, LoRA included, without its output head."""
        return self.model.language_model

    @property
    def embedding(self) -> nn.Module:
        """The input embedding table [V, D]."""
        return self.get_input_embeddings()

    @property
    def image_size(self) -> int:
        """S, side of the ViT's pictures."""
        return self.config.vision_config.image_size[0]

    @property
    def grid_size(self) -> int:
        """g: 16 for 448 px, 8 for the tiny model."""
        return int(self.config.image_seq_length**0.5)

    @property
    def hidden_size(self) -> int:
        """D."""
        return self.config.text_config.hidden_size

    @property
    def sizes(self) -> LanguageSizes:
        """For the memory plan of a run."""
        text = self.config.text_config
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        return LanguageSizes(
            layers=text.num_hidden_layers,
            hidden=text.hidden_size,
            intermediate=text.intermediate_size,
            query_width=text.num_attention_heads * head,
            key_value_width=text.num_key_value_heads * head,
            vocabulary=text.vocab_size,
            head_norms=text.model_type.startswith("qwen3"),
        )

    def encode(self, pixels: Tensor) -> Tensor:
        """Features [B, g * g, 4 C] of pictures [B, 3, S, S]: ViT states after the pixel shuffle."""
        return self.pixel_shuffled(self.tower(pixel_values=pixels).last_hidden_state)

    def pixel_shuffled(self, hidden: Tensor) -> Tensor:
        """ViT states [B, 1 + N, C] -> [B, N / 4, 4 C]: no class token, each 2 x 2 patches one visual token."""
        cells = int((hidden.shape[1] - 1) ** 0.5)
        grid = hidden[:, 1:].unflatten(1, (cells, cells))
        return self.model.pixel_shuffle(grid, scale_factor=self.config.downsample_ratio).flatten(1, 2)

    def project(self, vision: Tensor) -> Tensor:
        """Visual tokens [B, g * g, D] of features [B, g * g, 4 C]."""
        return self.model.multi_modal_projector(vision)

    def hidden_states(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor,
        cache: Cache | None = None,
        cache_position: Tensor | None = None,
    ) -> Tensor:
        """Last hidden states [B, L, D] of a left-padded batch, which goes on from what ``cache`` holds."""
        # Of one token also where places of a static cache follow it: they add nothing to the sum.
        positions = (attention_mask.cumsum(1) - 1).clamp(min=0)[:, -inputs_embeds.shape[1] :]
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            cache_position=cache_position,
        ).last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., D] -> logits [..., V]."""
        if hidden.ndim == 2 and _reads_weights_once(next(self.lm_head.parameters())):
            return (self.lm_head.weight @ hidden.T).T
        return self.lm_head(hidden)


def _reads_weights_once(weight: nn.Parameter) -> bool:
    """Whether ``(weight @ rows.T).T`` beats ``rows @ weight.T``, for which a CPU reads float32 weights row by row."""
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and not is_partitioned(weight)


if TYPE_CHECKING:
    _: type[MultimodalLanguageModel] = InternVL
