"""SAM 2's tensors, as published and in :class:`sa2va_native.models.sam2.model.LanguageSam2`.

Lists of names: ``sam2_hiera_large.pt``, ``sam2.1_hiera_large.pt`` and Sa2VA's remote code. Our names are those inside
the class.
"""

from __future__ import annotations

from collections.abc import Iterable

from sa2va_native.checkpoints.rules import Rule, prefixed, rule

_MLP3 = (("layers.0", "proj_in"), ("layers.1", "layers.0"), ("layers.2", "proj_out"))
_MLP2 = (("layers.0", "proj_in"), ("layers.1", "proj_out"))
_ATTENTION = (("q_proj", "q_proj"), ("k_proj", "k_proj"), ("v_proj", "v_proj"), ("out_proj", "o_proj"))


def _block(theirs: str, ours: str, parts: tuple[tuple[str, str], ...]) -> tuple[Rule, ...]:
    return tuple(rule(f"{theirs}.{a}.*", f"{ours}.{b}.*") for a, b in parts)


def _norms(theirs: str, ours: str, count: int) -> tuple[Rule, ...]:
    return tuple(rule(f"{theirs}.norm{i}.*", f"{ours}.layer_norm{i}.*") for i in range(1, count + 1))


_HIERA = (
    rule("trunk.pos_embed", "backbone.pos_embed"),
    rule("trunk.pos_embed_window", "backbone.pos_embed_window"),
    rule("trunk.patch_embed.proj.*", "backbone.patch_embed.projection.*"),
    *_norms("trunk.blocks.#", "backbone.blocks.#", 2),
    rule("trunk.blocks.#.attn.*", "backbone.blocks.#.attn.*"),
    *_block("trunk.blocks.#.mlp", "backbone.blocks.#.mlp", _MLP2),
    rule("trunk.blocks.#.proj.*", "backbone.blocks.#.proj.*"),
    rule("neck.convs.#.conv.*", "neck.convs.#.*"),
)

_PROMPT_ENCODER = (
    rule("pe_layer.positional_encoding_gaussian_matrix", "shared_image_embedding.positional_embedding"),
    rule(
        " ".join(f"point_embeddings.{i}.weight" for i in range(4)),
        "prompt_encoder.point_embed.weight",
    ),
    rule("not_a_point_embed.weight", "prompt_encoder.not_a_point_embed.weight"),
    rule("no_mask_embed.weight", "prompt_encoder.no_mask_embed.weight"),
    rule("mask_downscaling.0.*", "prompt_encoder.mask_embed.conv1.*"),
    rule("mask_downscaling.1.*", "prompt_encoder.mask_embed.layer_norm1.*"),
    rule("mask_downscaling.3.*", "prompt_encoder.mask_embed.conv2.*"),
    rule("mask_downscaling.4.*", "prompt_encoder.mask_embed.layer_norm2.*"),
    rule("mask_downscaling.6.*", "prompt_encoder.mask_embed.conv3.*"),
)

_TWO_WAY = "transformer.layers.#"
_MASK_DECODER = (
    *(rule(f"{name}.weight", f"{name}.weight") for name in ("iou_token", "mask_tokens", "obj_score_token")),
    rule("conv_s0.*", "conv_s0.*"),
    rule("conv_s1.*", "conv_s1.*"),
    rule("output_upscaling.0.*", "upscale_conv1.*"),
    rule("output_upscaling.1.*", "upscale_layer_norm.*"),
    rule("output_upscaling.3.*", "upscale_conv2.*"),
    *_block("output_hypernetworks_mlps.#", "output_hypernetworks_mlps.#", _MLP3),
    *_block("iou_prediction_head", "iou_prediction_head", _MLP3),
    *_block("pred_obj_score_head", "pred_obj_score_head", _MLP3),
    *_block(f"{_TWO_WAY}.self_attn", f"{_TWO_WAY}.self_attn", _ATTENTION),
    *_block(f"{_TWO_WAY}.cross_attn_token_to_image", f"{_TWO_WAY}.cross_attn_token_to_image", _ATTENTION),
    *_block(f"{_TWO_WAY}.cross_attn_image_to_token", f"{_TWO_WAY}.cross_attn_image_to_token", _ATTENTION),
    *_block(f"{_TWO_WAY}.mlp", f"{_TWO_WAY}.mlp", _MLP2),
    *_norms(_TWO_WAY, _TWO_WAY, 4),
    *_block("transformer.final_attn_token_to_image", "transformer.final_attn_token_to_image", _ATTENTION),
    rule("transformer.norm_final_attn.*", "transformer.layer_norm_final_attn.*"),
)

_MEMORY_ATTENTION = (
    *_block("layers.#.self_attn", "layers.#.self_attn", _ATTENTION),
    *_block("layers.#.cross_attn_image", "layers.#.cross_attn_image", _ATTENTION),
    rule("layers.#.linear1.*", "layers.#.linear1.*"),
    rule("layers.#.linear2.*", "layers.#.linear2.*"),
    *_norms("layers.#", "layers.#", 3),
    rule("norm.*", "layer_norm.*"),
)

_MEMORY_ENCODER = (
    *(rule(f"mask_downsampler.encoder.{3 * i}.*", f"mask_downsampler.layers.{i}.conv.*") for i in range(4)),
    *(rule(f"mask_downsampler.encoder.{3 * i + 1}.*", f"mask_downsampler.layers.{i}.layer_norm.*") for i in range(4)),
    rule("mask_downsampler.encoder.12.*", "mask_downsampler.final_conv.*"),
    rule("pix_feat_proj.*", "feature_projection.*"),
    rule("fuser.layers.#.dwconv.*", "memory_fuser.layers.#.depthwise_conv.*"),
    rule("fuser.layers.#.norm.*", "memory_fuser.layers.#.layer_norm.*"),
    rule("fuser.layers.#.pwconv1.*", "memory_fuser.layers.#.pointwise_conv1.*"),
    rule("fuser.layers.#.pwconv2.*", "memory_fuser.layers.#.pointwise_conv2.*"),
    rule("out_proj.*", "projection.*"),
)

_SAM2 = (
    rule("maskmem_tpos_enc", "memory_temporal_positional_encoding"),
    rule("no_mem_embed", "no_memory_embedding"),
    rule("no_mem_pos_enc", "no_memory_positional_encoding"),
    rule("no_obj_ptr", "no_object_pointer"),
    rule("mask_downsample.*", "mask_downsample.*"),
    *_block("obj_ptr_proj", "object_pointer_proj", _MLP3),
    *prefixed(_HIERA, "image_encoder.", "vision_encoder."),
    *prefixed(_PROMPT_ENCODER, "sam_prompt_encoder."),
    *prefixed(_MASK_DECODER, "sam_mask_decoder.", "mask_decoder."),
    *prefixed(_MEMORY_ATTENTION, "memory_attention.", "memory_attention."),
    *prefixed(_MEMORY_ENCODER, "memory_encoder.", "memory_encoder."),
    # Only SAM 2.1 has these three.
    rule("no_obj_embed_spatial", "occlusion_spatial_embedding_parameter"),
    rule("obj_ptr_tpos_proj.*", "temporal_positional_encoding_projection_layer.*"),
)
#: ConvNeXt's layer scale. transformers rewrites "gamma" while it loads, so Sa2VA's Hugging Face files say "g_weight".
_LAYER_SCALE = "memory_encoder.fuser.layers.#.{}"

_SCALE = "memory_encoder.memory_fuser.layers.#.scale"
#: SAM 2 and 2.1 as their authors publish them, and as Sa2VA's runs save them.
PUBLISHED = prefixed((*_SAM2, rule(_LAYER_SCALE.format("gamma"), _SCALE)), "", "sam2.")
#: As Sa2VA's Hugging Face directories have them.
IN_SA2VA_HF = prefixed((*_SAM2, rule(_LAYER_SCALE.format("g_weight"), _SCALE)), "", "sam2.")

#: Tensors that SAM 2 in transformers holds twice, and the name under which they are kept.
TWINS = {
    "sam2.prompt_encoder.shared_embedding.positional_embedding": "sam2.shared_image_embedding.positional_embedding"
}


def advice(unexpected: Iterable[str]) -> str:
    """Advice on weights with unexpected tensors, if their names explain it."""
    if not any("temporal_positional_encoding_projection_layer" in name for name in unexpected):
        return ""
    return (
        "These are weights of SAM 2.1 for a model of SAM 2.0: take sam2_hiera_*.pt, or set "
        "model.grounding.enable_temporal_pos_encoding_for_object_pointers and enable_occlusion_spatial_embedding. "
    )
