"""The sizes of the published models, built on the meta device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS

from sa2va_native.datasets.collate import collate_batch
from sa2va_native.files.paths import ROOT
from sa2va_native.structures import Draw, DrawKey

VOCABULARY = 151_679
#: Hidden size, layers, key and value width, MLP width of each language model (their config.json).
SIZES = {
    "sizes/pseudo_gumbel_internvl25_1b": (896, 24, 128, 4_864),
    "sizes/pseudo_gumbel_internvl3_2b": (1536, 28, 256, 8_960),
    "sizes/pseudo_gumbel_internvl3_8b": (3584, 28, 512, 18_944),
}


def language_model_parameters(hidden: int, layers: int, kv: int, mlp: int) -> int:
    """Of Qwen2.5 with untied embeddings, its head included, and LoRA of rank 128 on its seven linear layers."""
    attention = 2 * hidden * hidden + hidden + 2 * (hidden * kv + kv)
    lora = 128 * (2 * (hidden + hidden) + 2 * (hidden + kv) + 3 * (hidden + mlp))
    return 2 * VOCABULARY * hidden + layers * (attention + 3 * hidden * mlp + 2 * hidden + lora) + hidden


def qwen3_parameters(vocabulary: int, hidden: int, layers: int, q: int, kv: int, mlp: int) -> int:
    """As above for Qwen3: no biases, heads of 128 that need not make up the hidden size, norms of queries and keys."""
    attention = hidden * (q + 2 * kv) + q * hidden + 2 * 128
    lora = 128 * (2 * (hidden + q) + 2 * (hidden + kv) + 3 * (hidden + mlp))
    return 2 * vocabulary * hidden + layers * (attention + 3 * hidden * mlp + 2 * hidden + lora) + hidden


def projector_parameters(hidden: int) -> int:
    """Norm and two layers on 2 x 2 patches of the ViT's 1024 channels."""
    return 2 * 4096 + 4096 * hidden + hidden + hidden * hidden + hidden


@pytest.mark.parametrize("name", SIZES)
def test_a_size_is_the_published_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when a size is mistyped, or a part has another width than its neighbour. SAM 2 and ViT are those of 4B."""
    hidden, layers, kv, mlp = SIZES[name]
    config: Any = Config.fromfile(ROOT / f"configs/{name}.py").model
    base = Config.fromfile(ROOT / "configs/pseudo_gumbel_4b.py").model.sa2va
    assert config.sa2va.grounding == base.grounding
    assert config.sa2va.mllm.vision_config == base.mllm.vision_config
    # Both towers cost many seconds to build, and have counts of their own elsewhere.
    config.sa2va.grounding.vision_config.backbone_config.update(
        blocks_per_stage=[1, 1, 1, 1], global_attention_blocks=[2]
    )
    config.sa2va.mllm.vision_config.num_hidden_layers = 1
    with torch.device("meta"):
        model = MODELS.build(config).student
    counts = {
        name: sum(parameter.numel() for parameter in module.parameters())
        for name, module in (
            ("language", model.language_model),
            ("head", model.mllm.lm_head),
            ("projector", model.mllm.model.multi_modal_projector),
            ("seg", model.text_hidden_fcs),
        )
    }
    assert counts["language"] + counts["head"] == language_model_parameters(hidden, layers, kv, mlp)
    assert counts["projector"] == projector_parameters(hidden)
    assert counts["seg"] == hidden * hidden + hidden + hidden * 256 + 256


def test_qwen3_makes_internvl35(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when a size is mistyped, or the tokenizer lacks one of Qwen3's tokens. 4.4 B as published, without LoRA."""
    config: Any = Config.fromfile(ROOT / "configs/sizes/pseudo_gumbel_internvl35_4b.py").model
    config.sa2va.grounding = Config.fromfile(ROOT / "configs/_base_/models/sa2va_tiny.py").model.grounding
    config.sa2va.mllm.vision_config.num_hidden_layers = 1
    with torch.device("meta"):
        model = MODELS.build(config).student
    language, head = (
        sum(parameter.numel() for parameter in module.parameters())
        for module in (model.language_model, model.mllm.lm_head)
    )
    assert len(model.tokenizer) == 151_683
    assert language + head == qwen3_parameters(151_683, 2560, 36, 4096, 1024, 9_728)
    lora = sum(parameter.numel() for parameter in model.part("lora"))
    assert (language + head - lora) / 1e9 == pytest.approx(4.41, abs=0.01)
    projector = sum(parameter.numel() for parameter in model.part("projector"))
    assert projector == projector_parameters(2560)
    assert model.mllm.sizes._asdict() == dict(
        layers=36, hidden=2560, intermediate=9_728, query_width=4096, key_value_width=1024, vocabulary=151_683,
        head_norms=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_step_of_the_mid_size_has_the_shapes_of_4b(tmp_path: Path) -> None:
    """A cycle step on a photograph. Red when the mid size drifts from what it stands in for, or a loss is zero."""
    configs = [Config.fromfile(ROOT / f"configs/pseudo_gumbel_{size}.py") for size in ("mid", "4b")]
    assert configs[0].train_dataloader.dataset.transform == configs[1].train_dataloader.dataset.transform
    dataset = configs[0].train_dataloader.dataset
    dataset.update(sources=[source for source in dataset.sources if source.kind == "cycle"], report_file=None)
    dataset.sources[0].dataset.root = str(tmp_path / "photos")
    model = MODELS.build(configs[0].model)
    assert model.student.embedding.num_embeddings == VOCABULARY
    batch = collate_batch([DATASETS.build(dataset)[Draw(0, DrawKey(0, 0))]])["batch"]
    pictures = model.student.encode_pictures(batch.caption_side)
    assert pictures.vision.shape == (1, 256, 4 * 192)
    assert [tuple(maps.shape[-2:]) for maps in pictures.maps] == [(256, 256), (128, 128), (64, 64)]
    model.record_next_step = True
    losses = model(batch, mode="loss")
    assert model.last_step is not None
    assert model.last_step.mask_logits.shape == (1, 256, 256)
    assert all(0 < float(losses[name].detach()) < 10 for name in ("loss_mask", "loss_dice"))
