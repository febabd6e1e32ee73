"""Equal to the original Sa2VA code, on a small random checkpoint in its published layout (float32).

The original's outputs are stored; weights and inputs are drawn again from their names. Tolerances are absolute, on
values of about 3 (features), 30 (ViT) and 13 (masks). Red when a key map swaps two tensors of one shape, the pixel
shuffle is transposed, region tokens are out of order, prompts lack the padding point, or memory is encoded otherwise.
"""

from __future__ import annotations

import importlib.util
import json
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from sa2va_native.checkpoints.sa2va_config import from_sa2va
from sa2va_native.models.normalisation import normalise
from sa2va_native.models.sa2va import Sa2VA

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def fixture(realdata_root, tmp_path_factory):
    """The checkpoint directory, its inputs and what the original makes of them."""
    folder, source = tmp_path_factory.mktemp("sa2va"), realdata_root / "parity"
    spec = importlib.util.spec_from_file_location("make_checkpoint", source / "make_checkpoint.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(source / "sa2va_tiny", folder)
    inputs = SimpleNamespace(**load_file(folder / "inputs.safetensors"))
    expected = SimpleNamespace(**load_file(source / "sa2va_tiny/expected.safetensors"))
    lengths = json.loads((source / "sa2va_tiny/fixture.json").read_text())["caption_prompt_lengths"]
    return SimpleNamespace(folder=folder, inputs=inputs, expected=expected, prompt_lengths=lengths)


@pytest.fixture(scope="module")
def model(fixture):
    config = json.loads((fixture.folder / "config.json").read_text())
    model = Sa2VA(**from_sa2va(config), tokenizer="internvl2_5", weights=str(fixture.folder)).eval()
    assert model.load_report.complete
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def vision(model, fixture):
    hidden = model.mllm.model.vision_tower(pixel_values=fixture.inputs.pixel_values).last_hidden_state
    return SimpleNamespace(hidden=hidden, shuffled=model.mllm.pixel_shuffled(hidden))


@pytest.fixture(scope="module")
def frames(fixture):
    return normalise(fixture.inputs.sam_pixels_uint8)


def prompts(model, fixture, vision, rows):
    """Left-padded prompts with the regions' tokens, from id tensors."""
    tokens = model.visual_tokens(vision.shuffled, fixture.inputs.region_grid.bool())
    return model.prompts.embed(model.embedding, rows, tokens)


def close(actual, expected, tolerance):
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def test_image_features(model, fixture, vision):
    close(vision.hidden[:, ::16], fixture.expected.vit_last_hidden, 2e-4)
    close(torch.stack(model.visual_tokens(vision.shuffled)), fixture.expected.image_features, 2e-4)


def test_region_prompted_logits_at_every_position(model, fixture, vision):
    masks = fixture.inputs.caption_attention_mask
    rows = [ids[mask] for ids, mask in zip(fixture.inputs.caption_input_ids, masks, strict=True)]
    hidden = model.hidden_states(prompts(model, fixture, vision, rows))
    for i, row in enumerate(rows):
        states = hidden[i, -len(row) :]
        logits = model.mllm.lm_head(states)
        expected = {name: getattr(fixture.expected, f"caption_{name}")[i][masks[i]] for name in
                    ("last_hidden", "logits_sample", "logsumexp", "argmax")}  # fmt: skip
        close(states, expected["last_hidden"], 2e-4)
        close(logits[:, fixture.expected.vocab_sample], expected["logits_sample"], 2e-4)
        close(logits.logsumexp(-1), expected["logsumexp"], 2e-4)
        assert torch.equal(logits.argmax(-1), expected["argmax"])


def test_greedy_tokens(model, fixture, vision):
    """In one left-padded batch, as the teacher captions. Red under right padding."""
    rows = [ids[:n] for ids, n in zip(fixture.inputs.caption_input_ids, fixture.prompt_lengths, strict=True)]
    model.max_new_tokens = len(fixture.expected.greedy_0)
    (first, _), (second, _) = model.generate(prompts(model, fixture, vision, rows))
    assert torch.equal(first, fixture.expected.greedy_0)
    assert torch.equal(second, fixture.expected.greedy_1)


def test_seg_embedding(model, fixture, vision):
    embedded = model.prompts.embed(
        model.embedding, list(fixture.inputs.seg_input_ids), model.visual_tokens(vision.shuffled)
    )
    hidden = model.hidden_states(embedded)
    positions = model.prompts.seg_positions(embedded.ids)
    close(hidden[torch.arange(2), positions], fixture.expected.seg_hidden, 2e-4)
    close(model.seg_prompts(hidden, embedded.ids), fixture.expected.seg_embed, 2e-4)


def test_sam2_maps_masks_and_ious(model, fixture, frames):
    maps = model.grounding.encode(frames)
    decoder = model.grounding.sam2.mask_decoder
    close(decoder.conv_s0(maps[0])[..., ::8, ::8], fixture.expected.sam_fpn0, 2e-4)
    close(decoder.conv_s1(maps[1])[..., ::4, ::4], fixture.expected.sam_fpn1, 2e-4)
    close(maps[2][..., ::2, ::2], fixture.expected.sam_fpn2, 2e-4)
    masks = model.grounding(maps, fixture.expected.seg_embed)
    close(masks.all_mask_logits[..., ::2, ::2], fixture.expected.sam_multimasks, 1e-3)
    close(masks.mask_logits[:, None], fixture.expected.sam_low_res_masks, 1e-3)
    close(masks.iou, fixture.expected.sam_ious, 2e-4)


def test_a_clip_through_the_memory_of_sam2(model, fixture, frames):
    """Two prompted frames, then one that only the memory knows the object of: the first frame mirrored."""
    clip = [*frames, frames[0].flip(-1)]
    masks = model.grounding.track(clip, dict.fromkeys((0, 1), fixture.expected.seg_embed[0]))
    full = F.interpolate(masks[:, None], (1024, 1024), mode="bilinear")
    close(full[..., ::8, ::8], fixture.expected.video_masks, 1e-3)
