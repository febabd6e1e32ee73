"""``config.json`` of a published Sa2VA directory, to this model's config and back."""

from __future__ import annotations

from typing import Any

from transformers import InternVLConfig

#: Where the published remote code lives on the hub.
_REMOTE_CODE = "ByteDance/Sa2VA-4B"
#: What the two configs of a language model call alike.
_LLM_KEYS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "max_position_embeddings", "rms_norm_eps", "rope_theta",
)  # fmt: skip
_VIT_KEYS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "layer_norm_eps")
#: The remote code of Sa2VA always builds this Hiera, and its config does not name it.
HIERA_LARGE = dict(
    embed_dim=144, num_heads=2, stages=[2, 6, 36, 4], global_att_blocks=[23, 33, 43], window_spec=[8, 4, 16, 8]
)


def from_sa2va(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """``internvl`` and ``sam2`` of :class:`sa2va_native.models.Sa2VA` from a published ``config.json``."""
    vit, llm = config["vision_config"], config["llm_config"]
    side, patch = vit["image_size"], vit["patch_size"]
    return dict(
        internvl=dict(
            vision_config=dict(
                {key: vit[key] for key in _VIT_KEYS},
                image_size=[side, side],
                patch_size=[patch, patch],
                attention_bias=vit["qkv_bias"],
                use_qk_norm=vit["qk_normalization"],
                norm_type=vit["norm_type"],
            ),
            text_config=dict({key: llm[key] for key in _LLM_KEYS}, model_type="qwen2", tie_word_embeddings=False),
            downsample_ratio=config["downsample_ratio"],
            image_seq_length=int((side // patch * config["downsample_ratio"]) ** 2),
            tie_word_embeddings=False,
        ),
        sam2=sam2_config(**config.get("sam2_hiera", HIERA_LARGE)),
    )


def to_sa2va(internvl: dict[str, Any], vocab_size: int, eos_token_id: int, pad_token_id: int) -> dict[str, Any]:
    """``config.json`` with which Sa2VA's published remote code builds the model.

    The code itself is asked from its place on the hub; put the ``.py`` files of a downloaded Sa2VA beside the weights
    to need no hub.

    Args:
        internvl: of :class:`sa2va_native.models.Sa2VA`.
        vocab_size: rows of the embedding table, the five tokens of Sa2VA among them.
        eos_token_id, pad_token_id: of the tokenizer.
    """
    vit, llm = internvl["vision_config"], internvl["text_config"]
    native = InternVLConfig(**internvl)
    return dict(
        architectures=["Sa2VAChatModel"],
        auto_map={
            "AutoConfig": f"{_REMOTE_CODE}--configuration_sa2va_chat.Sa2VAChatConfig",
            "AutoModel": f"{_REMOTE_CODE}--modeling_sa2va_chat.Sa2VAChatModel",
            "AutoModelForCausalLM": f"{_REMOTE_CODE}--modeling_sa2va_chat.Sa2VAChatModel",
        },
        model_type="sa2va_chat",
        vision_config=dict(
            {key: getattr(native.vision_config, key) for key in _VIT_KEYS},
            architectures=["InternVisionModel"],
            model_type="intern_vit_6b",
            image_size=vit["image_size"][0],
            patch_size=vit["patch_size"][0],
            num_channels=3,
            norm_type=native.vision_config.norm_type,
            hidden_act=native.vision_config.hidden_act,
            qkv_bias=native.vision_config.attention_bias,
            qk_normalization=native.vision_config.use_qk_norm,
            use_flash_attn=False,
        ),
        llm_config=dict(
            {key: getattr(native.text_config, key) for key in _LLM_KEYS},
            architectures=["Qwen2ForCausalLM"],
            model_type=llm["model_type"],
            hidden_act=native.text_config.hidden_act,
            attention_dropout=0.0,
            use_sliding_window=False,
            tie_word_embeddings=False,
            vocab_size=vocab_size,
            bos_token_id=pad_token_id,
            eos_token_id=eos_token_id,
            torch_dtype="bfloat16",
        ),
        hidden_size=llm["hidden_size"],
        downsample_ratio=native.downsample_ratio,
        force_image_size=vit["image_size"][0],
        select_layer=-1,
        ps_version="v2",
        template="phi3_chat",
        pad2square=False,
        dynamic_image_size=True,
        use_thumbnail=True,
        min_dynamic_patch=1,
        max_dynamic_patch=12,
        use_backbone_lora=0,
        use_llm_lora=0,
        tie_word_embeddings=False,
        torch_dtype="bfloat16",
    )


def sam2_config(
    embed_dim: int, num_heads: int, stages: list[int], global_att_blocks: list[int], window_spec: list[int]
) -> dict[str, Any]:
    """``sam2`` of the model: SAM 2.0 at 1024 px around a Hiera trunk, in the terms of SAM 2's own config files."""
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
