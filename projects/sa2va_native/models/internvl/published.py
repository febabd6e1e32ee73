"""Converts ``config.json`` of InternVL's published remote code to keywords of :class:`InternVL` and back."""

from __future__ import annotations

import copy
from typing import Any

from transformers import InternVLConfig

#: Keys that both configs of a language model share.
_LLM_KEYS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "max_position_embeddings", "rms_norm_eps",
)  # fmt: skip
_VIT_KEYS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "layer_norm_eps")
_ARCHITECTURES = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}


def from_published(config: dict[str, Any]) -> dict[str, Any]:
    """Keywords of :class:`sa2va_native.models.internvl.model.InternVL`."""
    vit, llm = config["vision_config"], config["llm_config"]
    side, patch = vit["image_size"], vit["patch_size"]
    kind = llm.get("model_type", "qwen2")
    return dict(
        vision_config=dict(
            {key: vit[key] for key in _VIT_KEYS},
            image_size=[side, side],
            patch_size=[patch, patch],
            attention_bias=vit["qkv_bias"],
            use_qk_norm=vit["qk_normalization"],
            norm_type=vit["norm_type"],
        ),
        text_config=dict(
            {key: llm[key] for key in (*_LLM_KEYS, *_keys_of(kind), "rope_theta")},
            model_type=kind,
            tie_word_embeddings=False,
        ),
        downsample_ratio=config["downsample_ratio"],
    )


def to_published(mllm: dict[str, Any], vocab_size: int, eos_token_id: int, pad_token_id: int) -> dict[str, Any]:
    """InternVL's entries of ``config.json``.

    Args:
        mllm: keywords of :class:`sa2va_native.models.internvl.model.InternVL`.
        vocab_size: rows of the embedding table.
        eos_token_id, pad_token_id: of the tokenizer.
    """
    sizes = {key: copy.deepcopy(dict(mllm[key])) for key in ("vision_config", "text_config")}
    kind, side = sizes["text_config"]["model_type"], sizes["vision_config"]["image_size"][0]
    ratio = {"downsample_ratio": mllm["downsample_ratio"]} if "downsample_ratio" in mllm else {}
    native = InternVLConfig(**copy.deepcopy(sizes), **ratio)
    return dict(
        vision_config=dict(
            {key: getattr(native.vision_config, key) for key in _VIT_KEYS},
            architectures=["InternVisionModel"],
            model_type="intern_vit_6b",
            image_size=side,
            patch_size=sizes["vision_config"]["patch_size"][0],
            num_channels=3,
            norm_type=native.vision_config.norm_type,
            hidden_act=native.vision_config.hidden_act,
            qkv_bias=native.vision_config.attention_bias,
            qk_normalization=native.vision_config.use_qk_norm,
            use_flash_attn=False,
        ),
        llm_config=dict(
            {key: getattr(native.text_config, key) for key in (*_LLM_KEYS, *_keys_of(kind))},
            rope_theta=_rope_theta(native.text_config),
            architectures=[_ARCHITECTURES[kind]],
            model_type=kind,
            hidden_act=native.text_config.hidden_act,
            attention_dropout=0.0,
            use_sliding_window=False,
            tie_word_embeddings=False,
            vocab_size=vocab_size,
            bos_token_id=pad_token_id,
            eos_token_id=eos_token_id,
            torch_dtype="bfloat16",
        ),
        hidden_size=native.text_config.hidden_size,
        downsample_ratio=native.downsample_ratio,
        force_image_size=side,
        select_layer=-1,
        ps_version="v2",
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


def _keys_of(kind: str) -> tuple[str, ...]:
    """Keys that only one kind of language model has: Qwen3's heads need not add up to the hidden size."""
    return ("head_dim",) if kind == "qwen3" else ()


def _rope_theta(text: Any) -> float:
    """transformers 5 keeps it in ``rope_parameters``."""
    return text.rope_theta if hasattr(text, "rope_theta") else text.rope_parameters["rope_theta"]
