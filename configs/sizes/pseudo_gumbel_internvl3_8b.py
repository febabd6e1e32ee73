"""The cycle on InternVL3-8B (Qwen2.5-7B). Built, not run."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_4b import *

model["sa2va"]["mllm"]["text_config"].update(
    hidden_size=3584, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4, intermediate_size=18944
)
