"""The cycle on InternVL3-2B (Qwen2.5-1.5B). Built, not run."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_4b import *

model["sa2va"]["mllm"]["text_config"].update(
    hidden_size=1536, num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2, intermediate_size=8960
)
