"""The cycle on InternVL2.5-1B (Qwen2.5-0.5B). Built, not run."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_4b import *

model["sa2va"]["mllm"]["text_config"].update(
    hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2, intermediate_size=4864
)
