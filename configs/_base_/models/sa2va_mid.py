"""Sa2VA of 200 M parameters: the 4B model's vocabulary, picture sizes and grids, with small towers.

It has the real shapes and runs on any machine. No weights of this size exist, so all are random.
"""

from mmengine.config import read_base

with read_base():
    from .sa2va_internvl25_4b import *

model["weights"] = None
model["mllm"]["vision_config"].update(
    hidden_size=192, intermediate_size=768, num_hidden_layers=4, num_attention_heads=3
)
model["mllm"]["text_config"].update(hidden_size=512, intermediate_size=1536, num_hidden_layers=8, num_attention_heads=8)
# Half as wide and half as deep as Hiera-Tiny, which took half of the step's time.
model["grounding"]["vision_config"] = dict(
    backbone_config=dict(
        hidden_size=48,
        blocks_per_stage=[1, 1, 3, 1],
        embed_dim_per_stage=[48, 96, 192, 384],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        global_attention_blocks=[3],
    ),
    backbone_channel_list=[384, 192, 96, 48],
)
model["lora"].update(r=32, lora_alpha=64)
model["max_new_tokens"] = 8  # random weights never stop by themselves
