"""The base model: what is trained, left-padded generation, gradient on both sides, SAM 2 as Sa2VA uses it."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch

from projects.sa2va.errors import ConfigError
from tests.tiny import tiny_batch, tiny_sa2va, tiny_side


@pytest.fixture(scope="module")
def model():
    return tiny_sa2va()


@pytest.fixture(autouse=True)
def _fresh(model):
    model.zero_grad(set_to_none=True)


def test_trained_tensors_by_part(model):
    """Tensor counts of Sa2VA-4B: mask decoder 131, projector 6, seg head 4, embeddings 2; LoRA on 7 layers a block."""
    counts = {name: len(parameters) for name, parameters in model.gradient_groups().items()}
    layers = model.mllm.config.text_config.num_hidden_layers
    assert counts == {"lora": 2 * 7 * layers, "projector": 6, "embeddings": 2, "mask_decoder": 131, "seg_head": 4}
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert any("vision_tower" in name for name in frozen)
    assert not any("lora_" in name or "mask_decoder" in name for name in frozen)


def test_embedding_and_head_are_untied(model):
    assert model.embedding.weight is not model.mllm.lm_head.weight


def test_an_unknown_part_names_the_nearest():
    with pytest.raises(ConfigError, match="'mask_decoder'"):
        tiny_sa2va(trainable=["mask_decodr"])


def test_batched_captions_equal_captions_one_by_one(model):
    """Prompts of different lengths. Red with right padding, or when position ids ignore the padding."""
    side = tiny_side(4)
    assert len(set(side.region.sum((1, 2)).tolist())) > 1
    pictures = model.look(side, grounding=False)
    together = [ids.tolist() for ids, _ in model.caption(pictures, side.region)]
    alone = []
    for i in range(4):
        one = pictures._replace(vision=pictures.vision[i : i + 1])
        alone.append(model.caption(one, side.region[i : i + 1])[0][0].tolist())
    assert together == alone
    assert all(together)


def test_batched_masks_equal_masks_one_by_one(model):
    texts = ["the circle", "the small red circle left of the large green star"]
    pictures = model.look(tiny_side(2))
    together = model.segment(pictures, texts)
    for i, text in enumerate(texts):
        one = type(pictures)(pictures.vision[i : i + 1], tuple(level[i : i + 1] for level in pictures.maps))
        alone = model.segment(one, [text])[0]
        torch.testing.assert_close(together[i], alone, atol=2e-4, rtol=1e-4)


def test_generation_stops_at_the_stop_word(model):
    """Red when only eos ends a caption: the trained model says ``<|end|>``, which is several tokens."""
    side = tiny_side(2)
    captions = model.caption(model.look(side, grounding=False), side.region)
    assert all(stopped for _, stopped in captions)
    assert not any("end" in model.prompts.decode(ids) for ids, _ in captions)


def test_the_projector_learns_from_the_caption_side(model):
    """Red when caption features are computed under no_grad, which left the projector without this gradient."""
    model(tiny_batch("caption"), mode="loss")["loss_lm"].backward()
    groups = model.gradient_groups()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in groups["projector"])
    assert all(p.grad is None for p in groups["mask_decoder"])


def test_region_tokens_are_the_picture_tokens_of_its_cells(model):
    side = tiny_side(2)
    vision = model.look(side, grounding=False).vision
    plain, with_region = model.visual_tokens(vision), model.visual_tokens(vision, side.region)
    for tokens, more, cells in zip(plain, with_region, side.region.flatten(1), strict=True):
        assert torch.equal(more[: len(tokens)], tokens)
        assert torch.equal(more[len(tokens) :], tokens[cells])


def test_teacher_forced_logits_are_those_of_the_whole_sequence(model):
    """Logits at caption positions alone equal the same positions of a full forward. Red when off by one."""
    side = tiny_side(1)
    pictures = model.look(side, grounding=False)
    caption = model.prompts.answer_caption("a small red circle")
    logits, labels = model.caption_logits(pictures, side.region, [caption], [caption])
    row = torch.cat([model.caption_prompts(side.region)[0], caption])
    embedded = model.prompts.embed(model.embedding, [row], model.visual_tokens(pictures.vision, side.region))
    full = model.mllm.lm_head(model.hidden_states(embedded))[0]
    torch.testing.assert_close(logits[0], full[-len(caption) - 1 : -1], atol=1e-4, rtol=1e-4)
    assert torch.equal(labels[0], caption)


def test_language_prompt_against_transformers_own_pass(model):
    """Without the language token, the decoder gives what it gives in Sam2VideoModel's own pass without a prompt."""
    grounding, pixels = model.grounding, torch.randn(2, 3, 128, 128)
    decoder = grounding.sam2.mask_decoder
    whole, outputs = decoder.forward, []

    def recorded(drop: int):
        def forward(**kwargs):
            tokens = kwargs["sparse_prompt_embeddings"]
            kwargs["sparse_prompt_embeddings"] = tokens[:, :, : tokens.shape[2] - drop]
            outputs.append(whole(**kwargs))
            return outputs[-1]

        return forward

    with torch.no_grad():
        with patch.object(decoder, "forward", recorded(drop=0)):
            grounding.sam2._single_frame_forward(pixel_values=pixels, multimask_output=True)
        with patch.object(decoder, "forward", recorded(drop=1)):
            prediction = grounding(grounding.encode(pixels), torch.zeros(2, grounding.prompt_size))
    (masks, iou, *_), ours = outputs
    torch.testing.assert_close(ours[0], masks, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours[1], iou)
    best = iou[:, 0].argmax(1)
    assert torch.equal(prediction.mask_logits, ours[0][torch.arange(2), 0, best])


def test_bfloat16_weights_compute_in_bfloat16():
    """Red when a float32 constant meets bfloat16 weights, as SAM 2's position matrix did."""
    model = tiny_sa2va().bfloat16()
    losses = model(tiny_batch("refer"), mode="loss")
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert losses["loss_mask"].dtype == torch.float32


def test_a_runner_does_not_initialise_the_weights_again(model):
    """MMEngine's runners call init_weights, which would recurse into transformers' and draw LoRA and towers anew."""
    before = {name: p.clone() for name, p in model.named_parameters()}
    model.init_weights()
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_predictions_are_at_the_size_of_the_ground_truth(model):
    batch = tiny_batch("cycle")._replace(gt_masks=[np.ones((50, 70), bool), np.ones((128, 128), bool)])
    for result, size in zip(model(batch, mode="predict"), [(50, 70), (128, 128)], strict=True):
        assert result["cycle_mask"] is None or result["cycle_mask"].shape == size
        assert isinstance(result["caption"], str)


def test_an_answer_without_seg_gives_no_mask(model):
    """Evaluation then counts an empty mask. Red when some other position is used instead."""
    pictures = model.look(tiny_side(1))
    with patch.object(model, "generate", return_value=[(torch.tensor([4, 5]), True)]):
        assert model.segment(pictures, ["the circle"]) == [None]


def test_unknown_mode_is_refused(model):
    with pytest.raises(ConfigError, match="mode 'train'"):
        model(tiny_batch(), mode="train")
