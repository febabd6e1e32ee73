"""Sa2VA of 200 M parameters: the 4B model's vocabulary, picture sizes and grids, with small towers.

For its shapes, on any machine: there are no weights of this size, so all are random.
"""

from projects.sa2va.models import Sa2VA

model = dict(
    type=Sa2VA,
    tokenizer="internvl2_5",
    weights=None,
    internvl=dict(
        vision_config=dict(
            hidden_size=192,
            intermediate_size=768,
            num_hidden_layers=4,
            num_attention_heads=3,
            image_size=[448, 448],
            patch_size=[14, 14],
            attention_bias=True,
        ),
        text_config=dict(
            model_type="qwen2",
            hidden_size=512,
            intermediate_size=1536,
            num_hidden_layers=8,
            num_attention_heads=8,
            num_key_value_heads=2,
            max_position_embeddings=32768,
            rope_theta=1e6,
            tie_word_embeddings=False,
        ),
        image_seq_length=256,
        tie_word_embeddings=False,
    ),
    sam2=dict(
        # Half as wide and deep as Hiera-Tiny, which took half of a step.
        vision_config=dict(
            backbone_config=dict(
                hidden_size=48,
                blocks_per_stage=[1, 1, 3, 1],
                embed_dim_per_stage=[48, 96, 192, 384],
                num_attention_heads_per_stage=[1, 2, 4, 8],
                global_attention_blocks=[3],
            ),
            backbone_channel_list=[384, 192, 96, 48],
        ),
        enable_temporal_pos_encoding_for_object_pointers=False,
        enable_occlusion_spatial_embedding=False,
    ),
    lora=dict(r=32, lora_alpha=64, lora_dropout=0.05),
    gradient_checkpointing=True,
    mask_loss=dict(num_points=12_544),
    max_new_tokens=8,  # random weights never stop by themselves
)
