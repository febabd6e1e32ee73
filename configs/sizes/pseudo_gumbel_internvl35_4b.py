"""The cycle on InternVL3.5-4B (InternViT-300M, Qwen3-4B). Built, not run."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_4b import *

model["sa2va"]["tokenizer"] = "internvl3_5"
model["sa2va"]["mllm"]["text_config"].update(
    model_type="qwen3", hidden_size=2560, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8,
    head_dim=128, intermediate_size=9728, max_position_embeddings=40960,
)  # fmt: skip
