"""SAM 2 prompted by language: one embedding in, one mask out (Sa2VA, arXiv:2501.04001, section 3)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import Sam2VideoConfig, Sam2VideoModel


class MaskPrediction(NamedTuple):
    """What the mask decoder says about one language prompt per picture."""

    mask_logits: Tensor  #: [B, h, w], the mask of best predicted IoU
    all_mask_logits: Tensor  #: [B, 3, h, w]
    iou: Tensor  #: [B, 3] predicted IoU in 0..1


class LanguageSam2(nn.Module):
    """SAM 2 whose prompt is a language embedding.

    Args:
        config: keywords of :class:`transformers.Sam2VideoConfig`; SAM 2.0 is
            ``enable_temporal_pos_encoding_for_object_pointers=False, enable_occlusion_spatial_embedding=False``.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.sam2 = Sam2VideoModel(Sam2VideoConfig(**config))
        # Its entry point is not the class's own forward, so the two copies of the position matrix are tied here.
        self.sam2.tie_weights()

    @property
    def prompt_size(self) -> int:
        """Width of a language prompt (256 for every released SAM 2)."""
        return self.sam2.config.prompt_encoder_config.hidden_size

    @property
    def mask_size(self) -> int:
        """Side of the mask logits, a quarter of the picture's."""
        return self.sam2.prompt_encoder.mask_input_size[0]

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of pictures [B, 3, G, G]: three levels [B, C, G/4..], [B, C, G/8..], [B, C, G/16..].

        The decoder's own convolutions on the first two are left to :meth:`forward`, since they are trained.
        """
        return tuple(self.sam2.vision_encoder(pixels).fpn_hidden_states)

    def forward(self, maps: tuple[Tensor, ...], prompts: Tensor) -> MaskPrediction:
        """Masks for ``prompts`` [B, C] on the ``maps`` of :meth:`encode`; as in Sa2VA, the language embedding follows
        the padding-point tokens as one more sparse token, without dense prompt, and the best of three masks is kept.
        """
        decoder, batch = self.sam2.mask_decoder, len(prompts)
        high_resolution = [decoder.conv_s0(maps[0]), decoder.conv_s1(maps[1])]
        top = maps[2] + self.sam2.no_memory_embedding.view(1, -1, 1, 1)
        points = prompts.new_zeros(batch, 1, 1, 2)
        labels = torch.full((batch, 1, 1), -1, dtype=torch.int32, device=prompts.device)
        sparse, dense = self.sam2.prompt_encoder(points, labels, None, None)
        sparse = torch.cat([sparse.to(prompts.dtype), prompts[:, None, None]], dim=2)
        # The position matrix may be float32 beside bfloat16 weights.
        positions = self.sam2.get_image_wide_positional_embeddings().to(top.dtype).repeat(batch, 1, 1, 1)
        masks, iou, *_ = decoder(
            image_embeddings=top,
            image_positional_embeddings=positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            high_resolution_features=high_resolution,
        )
        masks, iou = masks[:, 0], iou[:, 0]
        best = masks[torch.arange(batch, device=masks.device), iou.argmax(1)]
        return MaskPrediction(best, masks, iou)
