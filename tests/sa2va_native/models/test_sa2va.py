"""The base model: what is trained, left-padded generation, gradient on both sides, SAM 2 as Sa2VA uses it."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch

from sa2va_native.errors import ConfigError
from sa2va_native.models import joined
from tests.tiny import part_of, tiny_batch, tiny_sa2va, tiny_side


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
    pictures = model.encode_pictures(side, grounding=False)
    together = [ids.tolist() for ids, _ in model.caption(pictures, side.region)]
    alone = []
    for i in range(4):
        one = pictures._replace(vision=pictures.vision[i : i + 1])
        alone.append(model.caption(one, side.region[i : i + 1])[0][0].tolist())
    assert together == alone
    assert all(together)


def test_batched_masks_equal_masks_one_by_one(model):
    texts = ["the circle", "the small red circle left of the large green star"]
    pictures = model.encode_pictures(tiny_side(2))
    together = model.segment(pictures, texts)
    for i, text in enumerate(texts):
        one = type(pictures)(pictures.vision[i : i + 1], tuple(level[i : i + 1] for level in pictures.maps))
        alone = model.segment(one, [text])[0]
        torch.testing.assert_close(together[i], alone, atol=2e-4, rtol=1e-4)


def test_generation_stops_at_the_stop_word(model):
    """Red when only eos ends a caption: the trained model says ``<|end|>``, which is several tokens."""
    side = tiny_side(2)
    captions = model.caption(model.encode_pictures(side, grounding=False), side.region)
    assert all(stopped for _, stopped in captions)
    assert not any("end" in model.prompts.decode(ids) for ids, _ in captions)


def test_generation_ends_when_all_rows_have_stopped():
    """Red when the stop word is only cut off afterwards: every caption would cost the length limit."""
    model, side, passes = tiny_sa2va(max_new_tokens=60), tiny_side(2), []
    hook = model.language_model.register_forward_hook(lambda *_: passes.append(1))
    captions = model.caption(model.encode_pictures(side, grounding=False), side.region)
    hook.remove()
    assert max(len(ids) for ids, _ in captions) < len(passes) < 30


@pytest.mark.parametrize("between", [1, 8])
def test_captions_are_those_of_transformers_own_generation(between, monkeypatch):
    """In a left-padded batch, whether the end is looked for at each token or seldom. Red when a position, the mask of
    the pads, a suppressed id or the cut differs."""
    monkeypatch.setattr(joined, "_tokens_between_checks", lambda device: between)
    model, side = tiny_sa2va(max_new_tokens=20), tiny_side(4)
    side.region[0, 0] = True  # prompts of different lengths
    pictures = model.encode_pictures(side, grounding=False)
    tokens = model.visual_tokens(pictures.vision, side.region)
    prompts = model.prompts.embed(model.embedding, model.caption_prompts(side.region), tokens)
    assert not prompts.attention_mask.all()
    for suppressed in ([], [int(model.generate(prompts)[0][0][2])]):
        expected = model.mllm.generate(
            inputs_embeds=prompts.inputs_embeds, attention_mask=prompts.attention_mask, max_new_tokens=20,
            do_sample=False, pad_token_id=model.prompts.pad_id, suppress_tokens=suppressed or None,
        )  # fmt: skip
        for (ids, stopped), row in zip(model.generate(prompts, suppressed), expected, strict=True):
            assert (ids.tolist(), stopped) == (
                model.prompts.until_stop(row)[0].tolist(),
                model.prompts.until_stop(row)[1],
            )


def test_captions_do_not_feel_dropout():
    """Greedy means the same each time. Red when the captioner generates in training mode, or stays out of it."""
    model, side = tiny_sa2va(lora=dict(r=8, lora_alpha=16, lora_dropout=0.9)), tiny_side(4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
    pictures = model.encode_pictures(side, grounding=False)
    expected = [ids.tolist() for ids, _ in model.eval().caption(pictures, side.region)]
    model.train()
    model.grounding.eval()
    for _ in range(3):
        assert [ids.tolist() for ids, _ in model.caption(pictures, side.region)] == expected
    assert all(module.training for module in model.mllm.modules())
    assert not any(module.training for module in model.grounding.modules())


def test_no_layer_but_the_last_is_kept(model):
    """Red when the language model returns all hidden states, which then live until the backward pass."""
    language_model, outputs = model.language_model, []
    hook = language_model.register_forward_hook(lambda module, args, output: outputs.append(output))
    model(tiny_batch("refer"), mode="loss")
    hook.remove()
    assert [output.hidden_states for output in outputs] == [None]


def test_the_projector_learns_from_the_mask_side(model):
    """Red when picture features are computed under no_grad for segmentation."""
    model(tiny_batch("refer"), mode="loss")["loss_mask"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.gradient_groups()["projector"])


def test_the_projector_learns_from_the_caption_side(model):
    """Red when caption features are computed under no_grad, which left the projector without this gradient."""
    model(tiny_batch("caption"), mode="loss")["loss_lm"].backward()
    groups = model.gradient_groups()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in groups["projector"])
    assert all(p.grad is None for p in groups["mask_decoder"])


def test_region_tokens_are_the_picture_tokens_of_its_cells(model):
    side = tiny_side(2)
    vision = model.encode_pictures(side, grounding=False).vision
    plain, with_region = model.visual_tokens(vision), model.visual_tokens(vision, side.region)
    for tokens, more, cells in zip(plain, with_region, side.region.flatten(1), strict=True):
        assert torch.equal(more[: len(tokens)], tokens)
        assert torch.equal(more[len(tokens) :], tokens[cells])
        more[len(tokens) :].sum().backward(retain_graph=True)  # and are trained like them
    assert all(p.grad.abs().sum() > 0 for p in model.gradient_groups()["projector"])


def test_visual_tokens_are_in_the_order_of_the_regions_cells(model):
    """Cell (row, column) of the region grid is token row * g + column, made of its own 2 x 2 patches.

    Red when rows and columns are exchanged: the captioner would be shown another place than the mask's.
    """
    patches = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"), -1)
    patches = patches.flatten(0, 1)[None]  # [1, 256, 2]: each patch says where it is, in the order of the ViT
    hidden = torch.cat([torch.full((1, 1, 2), -1.0), patches], dim=1)
    tokens = model.mllm.pixel_shuffled(hidden).view(8, 8, 4, 2)
    for row in range(8):
        for column in range(8):
            own = {(2 * row + i, 2 * column + j) for i in (0, 1) for j in (0, 1)}
            assert set(map(tuple, tokens[row, column].int().tolist())) == own


def test_the_vision_tower_reads_rows_first(model):
    """Red when the ViT's patches run down the columns: what changes in one corner shows in that corner's tokens."""
    pixels = torch.zeros(1, 3, 128, 128)
    other = pixels.clone()
    other[:, :, :16, 112:] = 3.0  # top right
    embedded = [model.mllm.tower.embeddings(value) for value in (pixels, other)]
    # transformers up to 4.57 returns the grid's size too
    states = [value[0] if isinstance(value, tuple) else value for value in embedded]
    first, second = (value[:, 1:].unflatten(1, (16, 16)) for value in states)
    changed = (first != second).any(-1)[0]
    assert changed[:2, 14:].all()
    assert changed.sum() == 4


def test_teacher_forced_logits_are_those_of_the_whole_sequence(model):
    """Logits at caption positions alone equal the same positions of a full forward. Red when off by one."""
    side = tiny_side(1)
    pictures = model.encode_pictures(side, grounding=False)
    caption = model.prompts.answer_caption("a small red circle")
    logits, labels = model.caption_logits(pictures, side.region, [caption], [caption])
    row = torch.cat([model.caption_prompts(side.region)[0], caption])
    embedded = model.prompts.embed(model.embedding, [row], model.visual_tokens(pictures.vision, side.region))
    full = model.mllm.lm_head(model.hidden_states(embedded))[0]
    torch.testing.assert_close(logits[0], full[-len(caption) - 1 : -1], atol=1e-4, rtol=1e-4)
    assert torch.equal(labels[0], caption)


def test_encoded_maps_are_those_of_transformers_own_encoder(model):
    """Bit for bit, although positions are left out, which tracking finds again. Red when they are not left out."""
    encoder, pixels, made = model.grounding.sam2.vision_encoder, torch.randn(2, 3, 128, 128), []
    hook = encoder.neck.position_encoding.encoding.register_forward_hook(lambda *_: made.append(1))
    maps = model.grounding.encode(pixels)
    assert not made
    with torch.no_grad():
        own = encoder(pixels)
    hook.remove()
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(maps, own.fpn_hidden_states, strict=True))
    assert [one.shape for one in own.fpn_position_encoding] == [one.shape for one in own.fpn_hidden_states]


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


def test_several_prompts_of_a_picture_are_drawn_without_copies_of_it(model):
    """As one picture for each prompt. Red when a prompt meets another's picture, or the maps are copied to fit."""
    grounding, decoder = model.grounding, model.grounding.sam2.mask_decoder
    pixels = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    prompts = torch.randn(6, grounding.prompt_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = grounding.encode(pixels)
        with patch.object(decoder, "forward", wraps=decoder.forward) as forward:
            together = grounding(maps, prompts)
        apart = grounding(tuple(level.repeat_interleave(3, 0) for level in maps), prompts)
    given = forward.call_args.kwargs
    assert {len(given["image_embeddings"]), *map(len, given["high_resolution_features"])} == {2}
    for ours, theirs in zip(together, apart, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=5e-5)


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


@pytest.mark.parametrize("two_frames", [False, True])
@pytest.mark.parametrize("kind", ["cycle", "caption"])
def test_a_region_without_a_cell_is_a_result_without_a_caption(model, kind, two_frames):
    """Evaluation then counts it as missed. Red when it ends the run, or moves the results of the other rows."""
    batch = tiny_batch(kind, 3, two_frames)._replace(gt_masks=[np.ones((32, 32), bool)] * 3)
    expected = [model(part_of(batch, slice(row, row + 1)), mode="predict")[0] for row in (0, 2)]
    assert all(result["caption"] for result in expected)
    batch.caption_side.region[1] = False
    first, missed, last = model(batch, mode="predict")
    assert (missed["sample_id"], missed["caption"], missed["cycle_mask"]) == ("sample 1", None, None)
    for result, alone in zip((first, last), expected, strict=True):
        assert (result["sample_id"], result["caption"]) == (alone["sample_id"], alone["caption"])
        assert (alone["cycle_mask"] is None) == (kind == "caption")
        assert kind == "caption" or np.mean(result["cycle_mask"] == alone["cycle_mask"]) > 0.99


@pytest.mark.parametrize("kind", ["cycle", "caption"])
def test_a_batch_without_any_cell_has_a_result_a_sample(model, kind):
    """Red when a batch of such regions alone ends the run, or is left out."""
    batch = tiny_batch(kind)._replace(gt_masks=[np.ones((32, 32), bool)] * 2)
    batch.caption_side.region[:] = False
    results = model(batch, mode="predict")
    assert [(r["sample_id"], r["caption"], r["cycle_mask"]) for r in results] == [
        ("sample 0", None, None),
        ("sample 1", None, None),
    ]


def test_an_answer_without_seg_gives_no_mask(model):
    """Evaluation then counts an empty mask. Red when some other position is used instead."""
    pictures = model.encode_pictures(tiny_side(1))
    with patch.object(model, "generate", return_value=[(torch.tensor([4, 5]), True)]):
        assert model.segment(pictures, ["the circle"]) == [None]
    batch = tiny_batch("refer")._replace(gt_masks=[np.ones((8, 8), bool)] * 2)
    with patch.object(model, "generate", return_value=[(torch.tensor([4, 5]), True)] * 2):
        results = model(batch, mode="predict")
    assert [result["pred_mask"] for result in results] == [None, None]


def test_the_mask_comes_from_the_hidden_state_at_seg(model):
    """Red when the last token, or the token before, speaks for ``[SEG]``."""
    rows = [model.prompts.answer_segment(answer) for answer in ("Sure, [SEG].", "[SEG]")]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)
    hidden = torch.randn(*ids.shape, 128)
    at_seg = torch.stack([h[row.tolist().index(model.prompts.seg_id)] for h, row in zip(hidden, ids, strict=True)])
    assert torch.equal(model.seg_prompts(hidden, ids), model.text_hidden_fcs(at_seg))


def test_unknown_mode_is_refused(model):
    with pytest.raises(ConfigError, match="mode 'train'"):
        model(tiny_batch(), mode="train")
