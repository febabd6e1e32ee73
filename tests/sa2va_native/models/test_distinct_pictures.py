"""An evaluation encodes a picture once, however many expressions and regions of it are in the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sa2va_native.inference.sa2va_inference import Sa2VAInference
from sa2va_native.models.pictures import picture_ids
from sa2va_native.structures import Side
from tests.sa2va_native.models.test_feature_cache import pictures_seen
from tests.tiny import tiny_batch, tiny_sa2va, tiny_side

ROWS = [0, 1, 0, 0, 1]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_sa2va().eval()


def repeated() -> Side:
    """Five regions in two pictures, and one picture that only SAM 2 sees otherwise."""
    two, regions = tiny_side(2), tiny_side(len(ROWS), seed=3)
    return Side(two.pixel_values[ROWS], two.grounding_pixels[ROWS], regions.region, regions.mask)


def test_each_picture_is_seen_once(model: Any) -> None:
    """And its features are those of every row. Red when rows are exchanged, or a tower sees a picture twice."""
    side = repeated()
    with pictures_seen(model) as seen:
        once = model.encode_distinct(side)
    assert seen == {"vit": 2, "sam2": 2}
    each = model.encode_pictures(side)
    torch.testing.assert_close(once.vision, each.vision, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(once.maps, each.maps, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_pictures_that_only_one_tower_can_tell_apart_are_two(model: Any) -> None:
    """Red when pictures that differ in detail, which a small copy does not show, are taken for one."""
    side = repeated()
    side.grounding_pixels[2, 0, 0, 0] ^= 1
    with pictures_seen(model) as seen:
        once = model.encode_distinct(side)
    assert seen == {"vit": 3, "sam2": 3}
    assert not torch.equal(once.maps[0][2], once.maps[0][0])
    assert torch.equal(once.maps[0][3], once.maps[0][0])


def test_without_repetition_nothing_changes(model: Any) -> None:
    """Bit for bit. Red when a batch of different pictures is encoded in another order or size."""
    side = tiny_side(3)
    assert len(set(picture_ids(side.pixel_values))) == 3
    ours, theirs = model.encode_distinct(side), model.encode_pictures(side)
    assert torch.equal(ours.vision, theirs.vision)
    assert all(torch.equal(a, b) for a, b in zip(ours.maps, theirs.maps, strict=True))


@pytest.mark.parametrize("kind", ["refer", "cycle"])
def test_predictions_are_those_of_pictures_encoded_one_by_one(model: Any, kind: Any) -> None:
    """Captions and masks. Red when an expression is looked for in its neighbour's picture."""
    side = repeated()
    batch = tiny_batch(kind, len(ROWS))._replace(caption_side=side, gt_masks=[m.numpy() > 0 for m in side.mask])
    with pictures_seen(model) as seen:
        together = model.predict(batch)
    assert seen == {"vit": 2, "sam2": 2}
    texts = [one["caption"] if kind == "cycle" else text for one, text in zip(together, batch.text, strict=True)]
    masks = model.read(model.encode_pictures(side), texts, [mask.shape for mask in batch.gt_masks])
    for one, mask in zip(together, masks, strict=True):
        found = one["pred_mask" if kind == "refer" else "cycle_mask"]
        assert (found is None) == (mask is None)
        assert found is None or (found != mask).sum() <= 2
    if kind == "cycle":
        captions = model.caption(model.encode_pictures(side, grounding=False), side.region)
        assert [one["caption"] for one in together] == [model.prompts.decode(ids) for ids, _ in captions]
        assert [one["stopped"] for one in together] == [stopped for _, stopped in captions]


def test_results_name_their_picture(model: Any) -> None:
    """Red when a picture's name depends on its expression, region, task or place in the batch."""
    side = repeated()
    named = []
    for kind in ("refer", "caption"):
        masks = [mask.numpy() > 0 for mask in side.mask]
        batch = tiny_batch(kind, len(ROWS))._replace(caption_side=side, gt_masks=masks)
        named.append([one["picture_id"] for one in model.predict(batch)])
    assert named[0] == named[1]
    assert [named[0].index(name) for name in named[0]] == ROWS


def test_a_caption_cut_at_the_length_limit_did_not_stop() -> None:
    """Red when every caption that came counts as finished."""
    side = tiny_side(2)
    masks = [mask.numpy() > 0 for mask in side.mask]
    batch = tiny_batch("caption")._replace(caption_side=side, gt_masks=masks)
    assert [one["stopped"] for one in tiny_sa2va(max_new_tokens=2).eval().predict(batch)] == [False, False]
    side.region[:] = False
    assert [one["stopped"] for one in tiny_sa2va().eval().predict(batch)] == [None, None]


def test_inference_encodes_its_picture_once(model: Any) -> None:
    """Red when each expression, or region, of a picture costs a pass through the towers."""
    image = tiny_side(1).pixel_values[0].permute(1, 2, 0).numpy()
    mask = torch.zeros(image.shape[:2], dtype=torch.bool).numpy()
    mask[:40, :40] = True
    inference = Sa2VAInference(model)
    with pictures_seen(model) as seen:
        inference.segment_image(image, ["the red circle", "the star", "the blue ring"])
    assert seen == {"vit": 1, "sam2": 1}
    with pictures_seen(model) as seen:
        inference.caption_regions(image, [mask, mask])
    assert seen == {"vit": 1, "sam2": 0}
