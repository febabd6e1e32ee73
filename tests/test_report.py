"""What the status report of the original run tells, with the real tokenizer and the 4B model's grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS

from sa2va_native.datasets.region_grid import POOLINGS
from sa2va_native.errors import PromptError
from sa2va_native.files.paths import ROOT
from sa2va_native.models.internvl.tokenizer import internvl_tokenizer
from sa2va_native.models.pictures import Pictures
from sa2va_native.structures import Batch, Sample, Side
from tests.tiny import tiny_batch


@pytest.fixture(scope="module")
def model() -> Any:
    """The method at 448 px and with the vocabulary of 151,679, as narrow and shallow as it goes."""
    config = Config.fromfile(ROOT / "configs/pseudo_gumbel_tiny.py").model
    config.sa2va.update(tokenizer="internvl2_5", weights=None, max_new_tokens=4, lora=dict(r=2, lora_alpha=4))
    narrow = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1)
    config.sa2va.mllm.vision_config.update(**narrow, image_size=[448, 448], patch_size=[14, 14])
    config.sa2va.mllm.text_config.update(narrow)
    torch.manual_seed(0)
    return MODELS.build(config)


def side_of(picture: int, object_: int, pooling: str = "any") -> Side:
    """A picture of ``picture`` x ``picture`` px with a square object of ``object_`` px in its middle, transformed."""
    mask = np.zeros((picture, picture), bool)
    first = (picture - object_) // 2
    mask[first : first + object_, first : first + object_] = True
    image = np.random.default_rng(0).integers(0, 255, (picture, picture, 3), np.uint8)
    config = Config.fromfile(ROOT / "configs/sa2va_4b.py").train_dataloader.dataset.transform
    transform = TRANSFORMS.build({**config, "grounding_size": 128, "mask_size": 32, "region_pooling": pooling})
    return Side(*(tensor[None] for tensor in transform(Sample("x", image, mask)).caption_side))


def batch_of(kind: Any, side: Side) -> Batch:
    return tiny_batch(kind, 1)._replace(caption_side=side)


def image_slots(model: Any, prompt: torch.Tensor) -> int:
    return int((prompt == model.student.prompts.image_id).sum())


def test_a_mask_of_5_px_leaves_256_image_tokens(model: Any) -> None:
    """A cell of the grid is 28 px: no cell, no region token. Red when slots are counted and filled by two rules."""
    side = side_of(448, 5)
    (tokens,) = model.student.visual_tokens(model.student.encode_pictures(side, grounding=False).vision, side.region)
    assert len(tokens) == 256
    assert image_slots(model, model.student.prompts.ask_segment("a dog")) == 256
    with pytest.raises(PromptError, match="0 cells"):  # never a description of nothing
        model.student.caption_prompts(side.region)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("picture", [1024, 1080])
def test_a_mask_of_400_px_gives_292_image_tokens(model: Any, picture: int, pooling: str) -> None:
    """The report does not tell its picture size: in the middle of 1080 x 1080 px every pooling gives its 36 cells.

    At SAM 2's 1024 x 1024 px ``nearest`` and ``average`` do; ``any`` also takes the 24 cells that the object touches.
    """
    side = side_of(picture, 400, pooling)
    expected = 60 if (picture, pooling) == (1024, "any") else 36
    assert int(side.region.sum()) == expected
    (prompt,) = model.student.caption_prompts(side.region)
    assert image_slots(model, prompt) == 256 + expected
    tokens = model.student.visual_tokens(model.student.encode_pictures(side, grounding=False).vision, side.region)
    assert len(tokens[0]) == 256 + expected
    embedded = model.student.prompts.embed(model.student.embedding, [prompt], tokens)
    filled = embedded.inputs_embeds[0][prompt == model.student.prompts.image_id]
    assert torch.equal(filled, tokens[0]), "each slot holds its own token, in order"


def test_seg_is_spliced_in_by_id(model: Any) -> None:
    """Red when an answer is encoded as text: a tokenizer that does not know the token spells it in three pieces."""
    plain = internvl_tokenizer()
    assert plain.convert_ids_to_tokens(plain.encode("It is [SEG].")) == ["It", "Ġis", "Ġ[", "SEG", "]."]
    assert plain.convert_ids_to_tokens(plain.encode(" [SEG]")) == ["Ġ[", "SEG", "]"]
    prompts = model.student.prompts
    assert prompts.seg_id == 151_674
    for answer in ("Sure, [SEG].", "It is [SEG].", " [SEG]"):
        assert prompts.encode(answer).count(151_674) == 1


@pytest.mark.parametrize("kind", ["refer", "cycle"])
def test_no_loss_of_a_step_is_zero(model: Any, kind: str) -> None:
    """Red when a missing ``[SEG]`` or an embedding that fits no slot makes a step of nothing."""
    losses = model(batch_of(kind, side_of(1080, 400)), mode="loss")
    assert float(losses["loss_mask"].detach()) > 0.01
    assert float(losses["loss_dice"].detach()) > 0.01


def test_an_answer_without_seg_is_an_error(model: Any) -> None:
    """The report's "pred_embeddings_list 0 != frames_per_batch 1", swallowed there as a zero loss."""
    hidden, ids = torch.randn(1, 4, 32), torch.tensor([[1, 2, 3, 4]])
    with pytest.raises(PromptError, match=r"expected one \[SEG\]"):
        model.student.mask_from(hidden, ids, Pictures(torch.empty(0), ()))
