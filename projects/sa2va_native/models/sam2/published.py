"""Converts SAM 2's own config files to keywords of :class:`LanguageSam2` and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from sa2va_native.models.sam2.model import sam2_config

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


def to_published(config: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a published ``config.json`` that say which SAM 2 it is; the remote code ignores them.

    ``sam2_hiera`` are the arguments of :func:`from_published`. ``sam2_config`` are all keywords; it is there only if
    the first alone would build another SAM 2, e.g. for smaller pictures.

    Args:
        config: keywords of :class:`LanguageSam2`, which may have a ``type``.
    """
    keywords = copy.deepcopy({key: value for key, value in dict(config).items() if key != "type"})
    built = sam2_config(keywords)
    trunk = built.vision_config.backbone_config
    hiera = dict(
        embed_dim=trunk.hidden_size,
        num_heads=trunk.num_attention_heads,
        stages=list(trunk.blocks_per_stage),
        global_att_blocks=list(trunk.global_attention_blocks),
        window_spec=list(trunk.window_size_per_stage),
    )
    if sam2_config(from_published(**hiera)).to_dict() == built.to_dict():
        return dict(sam2_hiera=hiera)
    return dict(sam2_hiera=hiera, sam2_config=keywords)
