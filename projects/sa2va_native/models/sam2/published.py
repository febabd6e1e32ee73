"""Converts SAM 2's own config files to keywords of :class:`LanguageSam2`."""

from __future__ import annotations

from typing import Any

#: Hiera-Large.
HIERA_LARGE = dict(
    embed_dim=144, num_heads=2, stages=[2, 6, 36, 4], global_att_blocks=[23, 33, 43], window_spec=[8, 4, 16, 8]
)


def from_published(
    embed_dim: int, num_heads: int, stages: list[int], global_att_blocks: list[int], window_spec: list[int]
) -> dict[str, Any]:
    """SAM 2.0 at 1024 px around a Hiera trunk, in the terms of SAM 2's own config files."""
    widths = [embed_dim * 2**i for i in range(len(stages))]
    return dict(
        vision_config=dict(
            backbone_config=dict(
                hidden_size=embed_dim,
                num_attention_heads=num_heads,
                blocks_per_stage=stages,
                embed_dim_per_stage=widths,
                num_attention_heads_per_stage=[num_heads * 2**i for i in range(len(stages))],
                window_size_per_stage=window_spec,
                global_attention_blocks=global_att_blocks,
            ),
            backbone_channel_list=widths[::-1],
        ),
        enable_temporal_pos_encoding_for_object_pointers=False,
        enable_occlusion_spatial_embedding=False,
    )
