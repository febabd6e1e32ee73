"""Sa2VA-4B: InternVL2.5-4B (InternViT-300M, Qwen2.5-3B) and SAM 2.0 Hiera-Large.

``weights`` come from the command line or the environment: see docs/checkpoints.md.
"""

from sa2va_native.models.internvl.model import InternVL
from sa2va_native.models.sa2va import Sa2VA
from sa2va_native.models.sam2.model import LanguageSam2

model = dict(
    type=Sa2VA,
    tokenizer="internvl2_5",
    mllm=dict(
        type=InternVL,
        vision_config=dict(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=24,
            num_attention_heads=16,
            image_size=[448, 448],
            patch_size=[14, 14],
            attention_bias=True,
        ),
        text_config=dict(
            model_type="qwen2",
            hidden_size=2048,
            intermediate_size=11008,
            num_hidden_layers=36,
            num_attention_heads=16,
            num_key_value_heads=2,
            max_position_embeddings=32768,
            rope_theta=1e6,
        ),
    ),
    grounding=dict(
        type=LanguageSam2,
        vision_config=dict(
            backbone_config=dict(
                hidden_size=144,
                blocks_per_stage=[2, 6, 36, 4],
                embed_dim_per_stage=[144, 288, 576, 1152],
                num_attention_heads=2,
                num_attention_heads_per_stage=[2, 4, 8, 16],
                window_size_per_stage=[8, 4, 16, 8],
                global_attention_blocks=[23, 33, 43],
            ),
            backbone_channel_list=[1152, 576, 288, 144],
        ),
        enable_temporal_pos_encoding_for_object_pointers=False,
        enable_occlusion_spatial_embedding=False,
    ),
    lora=dict(r=128, lora_alpha=256, lora_dropout=0.05),
    gradient_checkpointing=True,
    mask_loss=dict(num_points=12_544),
    max_new_tokens=64,
)
