"""InternVL's tensors, as published and in :class:`sa2va_native.models.internvl.model.InternVL`.

Lists of names: the state dicts of InternVL2.5, of Sa2VA's remote code, and of transformers. Our names are those inside
the class. The language model's are the same everywhere, whichever Qwen it is.
"""

from __future__ import annotations

from sa2va_native.checkpoints.rules import Rule, prefixed, rule

#: Tensors whose rows are tokens.
VOCABULARY = ("model.language_model.embed_tokens.weight", "lm_head.weight")

_VIT = (
    rule("embeddings.class_embedding", "embeddings.cls_token"),
    rule("embeddings.position_embedding", "embeddings.position_embeddings"),
    rule("embeddings.patch_embedding.*", "embeddings.patch_embeddings.projection.*"),
    rule("encoder.layers.#.ls1", "encoder.layer.#.lambda_1"),
    rule("encoder.layers.#.ls2", "encoder.layer.#.lambda_2"),
    Rule(
        ("encoder.layers.#.attn.qkv.*",),
        tuple(f"encoder.layer.#.attention.{name}_proj.*" for name in "qkv"),
    ),
    rule("encoder.layers.#.attn.proj.*", "encoder.layer.#.attention.projection_layer.*"),
    rule("encoder.layers.#.mlp.*", "encoder.layer.#.mlp.*"),
    rule("encoder.layers.#.norm1.*", "encoder.layer.#.layernorm_before.*"),
    rule("encoder.layers.#.norm2.*", "encoder.layer.#.layernorm_after.*"),
)
_PROJECTOR = (
    rule("mlp1.0.*", "layer_norm.*"),
    rule("mlp1.1.*", "linear_1.*"),
    rule("mlp1.3.*", "linear_2.*"),
)
_LANGUAGE_MODEL = (
    rule("model.*", "model.language_model.*"),
    rule("lm_head.*", "lm_head.*"),
)

#: InternVL2.5, 3 and 3.5 as their remote code names them, and Sa2VA's Hugging Face directories.
REMOTE_CODE = (
    *prefixed(_VIT, "vision_model.", "model.vision_tower."),
    *prefixed(_PROJECTOR, "", "model.multi_modal_projector."),
    *prefixed(_LANGUAGE_MODEL, "language_model.", ""),
)
#: As transformers has saved it since 4.52.
NATIVE = (
    rule("model.*", "model.*"),
    rule("lm_head.*", "lm_head.*"),
)
#: As transformers saved it before; the published ``-hf`` directories.
NATIVE_4_51 = (
    rule("vision_tower.*", "model.vision_tower.*"),
    rule("multi_modal_projector.*", "model.multi_modal_projector.*"),
    *prefixed(_LANGUAGE_MODEL, "language_model.", ""),
)
#: What Sa2VA's MMEngine/XTuner runs save of it: the trained tensors, with LoRA separate.
IN_SA2VA_XTUNER = (
    *prefixed(_VIT, "model.vision_model.", "model.vision_tower."),
    *prefixed(_PROJECTOR, "model.", "model.multi_modal_projector."),
    *prefixed(_LANGUAGE_MODEL, "model.language_model.base_model.model.", ""),
)
