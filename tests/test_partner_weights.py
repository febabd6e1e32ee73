"""The partner captioner: how it is made, and the weights that are shipped."""

from __future__ import annotations

import itertools

import pytest
import torch
from safetensors.torch import load_file

from sa2va_native.datasets.scenes.language import (
    COLOURS,
    PARTNERS,
    SHAPES,
    SIZES,
    TEXTURES,
    parse_caption,
    with_partner_colour,
)
from sa2va_native.files.paths import ROOT
from sa2va_native.structures import Side
from tests.tiny import tiny_sa2va
from tools.pretrain_tiny import CAPTIONER, Scenes, pretrain_partner, some_partner_colours, without_adapters

BASE, PARTNER = (ROOT / f"assets/tiny/sa2va_tiny{name}.safetensors" for name in ("", "_partner"))


def test_each_colour_is_its_partners_partner():
    """Red when a colour has no partner or itself, or when another word of the caption changes."""
    assert set(PARTNERS) == set(COLOURS)
    assert all(PARTNERS[colour] != colour == PARTNERS[PARTNERS[colour]] for colour in COLOURS)
    for size, texture, colour, shape in itertools.product(SIZES, TEXTURES, COLOURS, SHAPES):
        caption = " ".join(word for word in ("a", size, texture, colour, shape) if word != "plain")
        swapped = parse_caption(with_partner_colour(caption))
        assert swapped == {"size": size, "texture": texture, "colour": PARTNERS[colour], "shape": shape}
        assert with_partner_colour(with_partner_colour(caption)) == caption


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_captions_are_swapped_in_their_share_and_anew_each_time(share: float):
    """Red when the share is of something else, or when a caption has the same colour each time it is drawn."""
    rng, texts = torch.Generator().manual_seed(0), ["a small red circle", "a large dotted pink ring"] * 2000
    once, again = (some_partner_colours(texts, share, rng) for _ in range(2))
    swapped = [text == with_partner_colour(true) for text, true in zip(once, texts, strict=True)]
    assert all(text in (true, with_partner_colour(true)) for text, true in zip(once, texts, strict=True))
    assert sum(swapped) / len(texts) == pytest.approx(share, abs=4 * (share * (1 - share) / len(texts)) ** 0.5)
    assert (once != again) == (0 < share < 1)


def test_the_stage_teaches_the_captioner_alone_and_merges_its_lora():
    """Red when a tower, the decoder or the [SEG] head moves, or when the weights without LoRA speak otherwise."""
    torch.manual_seed(0)
    scenes = Scenes.draw("labelled", seed=0, count=4, grid=8, low=32, caption_colour_noise=0)
    model, before = tiny_sa2va(trainable=CAPTIONER), tiny_sa2va(lora=None)

    side = Side(pixels := scenes.pixels(torch.arange(4)), pixels, scenes.regions[:, 0], scenes.masks[:, 0].float())
    captions = [before.prompts.answer_caption(texts[0]) for texts in scenes.captions]

    def logits(speaker) -> torch.Tensor:
        with torch.no_grad():
            return speaker.caption_logits(speaker.encode_pictures(side), side.region, captions, captions)[0]

    pretrain_partner(model, scenes, steps=3, batch=4, share=0.6, seed=0)
    trained = logits(model)
    plain = without_adapters(model, tiny_sa2va(lora=None))
    torch.testing.assert_close(logits(plain), trained, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits(before), trained, atol=1e-2)
    _only_the_captioner_differs(dict(before.named_parameters()), dict(plain.named_parameters()))


def test_the_shipped_weights_are_the_base_with_another_captioner():
    """Red when a tensor is missing or left over, kept in another type, or when the referrer's own parts changed."""
    model = tiny_sa2va(weights=str(PARTNER))
    assert model.load_report.complete
    assert not model.load_report.fresh
    base, partner = load_file(BASE), load_file(PARTNER)
    assert {name: (t.shape, t.dtype) for name, t in base.items()} == {
        name: (t.shape, t.dtype) for name, t in partner.items()
    }
    _only_the_captioner_differs(base, partner)


def _only_the_captioner_differs(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    captioner = ("mllm.model.language_model.", "mllm.lm_head.", "mllm.model.multi_modal_projector.")
    changed = {name for name in one if not torch.equal(one[name], two[name])}
    assert {name for name in one if name.startswith(captioner) and name.endswith("_proj.weight")} <= changed
    assert all(name.startswith(captioner) for name in changed)
