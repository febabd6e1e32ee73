"""Sa2VA at CPU size: the classes of the 4B model with small numbers (128 px, 2.8 M parameters)."""

from sa2va_native.models.internvl.model import InternVL
from sa2va_native.models.sa2va import Sa2VA
from sa2va_native.models.sam2.model import LanguageSam2

model = dict(
    type=Sa2VA,
    tokenizer="assets/tiny/tokenizer",
    weights="assets/tiny/sa2va_tiny.safetensors",
    mllm=dict(
        type=InternVL,
        vision_config=dict(
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=[128, 128],
            patch_size=[8, 8],
            attention_bias=True,
        ),
        text_config=dict(
            model_type="qwen2",
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
        ),
    ),
    grounding=dict(
        type=LanguageSam2,
        image_size=128,
        vision_config=dict(
            backbone_config=dict(
                hidden_size=24,
                image_size=[128, 128],
                blocks_per_stage=[1, 1, 3, 1],
                embed_dim_per_stage=[24, 48, 96, 192],
                num_attention_heads_per_stage=[1, 2, 4, 8],
                window_size_per_stage=[8, 4, 8, 4],
                global_attention_blocks=[3],
            ),
            backbone_channel_list=[192, 96, 48, 24],
            backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
            fpn_hidden_size=64,
        ),
        prompt_encoder_config=dict(hidden_size=64, image_size=128, patch_size=16),
        mask_decoder_config=dict(hidden_size=64, mlp_dim=256, num_attention_heads=4, iou_head_hidden_dim=64),
        # SAM 2's memory is for video tracking. It is there so that the classes are the same, and as small as possible.
        memory_attention_hidden_size=64,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_encoder_hidden_size=64,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=64,
        memory_fuser_embed_dim=64,
        memory_fuser_intermediate_dim=64,
        enable_temporal_pos_encoding_for_object_pointers=False,
        enable_occlusion_spatial_embedding=False,
    ),
    lora=dict(r=16, lora_alpha=32, lora_dropout=0.0),
    mask_loss=dict(num_points=196),  # the share of 32 x 32 that 12,544 points are of 256 x 256
    max_new_tokens=12,
)
