"""``config.json`` of a published Sa2VA directory, to this model's config and back."""

from __future__ import annotations

from typing import Any

from sa2va_native.models.internvl import published as internvl
from sa2va_native.models.internvl.model import InternVL
from sa2va_native.models.sam2 import published as sam2
from sa2va_native.models.sam2.model import LanguageSam2

#: Where the published remote code lives on the hub.
_REMOTE_CODE = "ByteDance/Sa2VA-4B"


def from_sa2va(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """``mllm`` and ``grounding`` of :class:`sa2va_native.models.Sa2VA` from a published ``config.json``.

    Which SAM 2 it is, ``sam2_hiera`` or ``sam2_config`` say, see :func:`to_sa2va`. Published configs have neither: the
    remote code of Sa2VA always builds Hiera-Large.
    """
    hiera = sam2.from_published(**config.get("sam2_hiera", sam2.HIERA_LARGE))
    return dict(
        mllm=dict(type=InternVL, **internvl.from_published(config)),
        grounding=dict(type=LanguageSam2, **config.get("sam2_config", hiera)),
    )


def to_sa2va(
    mllm: dict[str, Any], grounding: dict[str, Any], vocab_size: int, eos_token_id: int, pad_token_id: int
) -> dict[str, Any]:
    """``config.json`` with which Sa2VA's published remote code builds the model.

    The code itself is loaded from the hub; to do without it, put the ``.py`` files of a downloaded Sa2VA next to the
    weights.

    Args:
        mllm, grounding: as for :class:`sa2va_native.models.Sa2VA`.
        vocab_size: rows of the embedding table, including the five tokens of Sa2VA.
        eos_token_id, pad_token_id: of the tokenizer.
    """
    return dict(
        architectures=["Sa2VAChatModel"],
        auto_map={
            "AutoConfig": f"{_REMOTE_CODE}--configuration_sa2va_chat.Sa2VAChatConfig",
            "AutoModel": f"{_REMOTE_CODE}--modeling_sa2va_chat.Sa2VAChatModel",
            "AutoModelForCausalLM": f"{_REMOTE_CODE}--modeling_sa2va_chat.Sa2VAChatModel",
        },
        model_type="sa2va_chat",
        template="phi3_chat",
        **internvl.to_published(mllm, vocab_size, eos_token_id, pad_token_id),
        **sam2.to_published(grounding),
    )
