"""The size at which a step is held against the textbook loop: that of the mid model, with towers twice as large."""

from mmengine.config import read_base

with read_base():
    from pseudo_gumbel.configs.pseudo_gumbel_mid import *

model["sa2va"]["mllm"]["vision_config"].update(
    hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=6
)
model["sa2va"]["mllm"]["text_config"].update(intermediate_size=1408, num_hidden_layers=6)
model["sa2va"]["grounding"]["vision_config"] = dict(  # Hiera-Tiny
    backbone_config=dict(
        hidden_size=96,
        blocks_per_stage=[1, 2, 7, 2],
        embed_dim_per_stage=[96, 192, 384, 768],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        global_attention_blocks=[5, 7, 9],
    ),
    backbone_channel_list=[768, 384, 192, 96],
)
model["sa2va"]["lora"].update(r=16, lora_alpha=32)
model["sa2va"]["max_new_tokens"] = 64
