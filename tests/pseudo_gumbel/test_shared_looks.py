"""Regions of one picture in one step: its look is shared, and each region learns what it would learn alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pseudo_gumbel.step import CycleStep
from sa2va_native.models.feature_cache import FeatureCache
from sa2va_native.structures import Batch, Side
from tests.sa2va_native.models.test_feature_cache import pictures_seen
from tests.tiny import part_of, tiny_batch, tiny_pseudo_gumbel, tiny_side

ROWS = [0, 1, 0, 0, 1]  #: unequal numbers of regions, not side by side
#: Gradient through the reading; several readings of a sample, without gradient and with it; a second reader.
CASES = [
    ("pseudo_gumbel_tiny", False),
    ("pseudo_gumbel_tiny", True),
    ("word_trials_tiny", False),
    ("soft_gumbel_tiny", False),
    ("word_trials_refer_back_tiny", True),
]


def side(seed: int) -> Side:
    """Five regions in two pictures."""
    two, regions = tiny_side(2, seed), tiny_side(len(ROWS), seed + 2)
    return Side(two.pixel_values[ROWS], two.grounding_pixels[ROWS], regions.region, regions.mask)


def batch_of(two_frames: bool) -> Batch:
    mask_side = side(10) if two_frames else None
    return tiny_batch("cycle", len(ROWS))._replace(caption_side=side(0), mask_side=mask_side, looks=ROWS)


def step_of(model: Any, batch: Batch) -> tuple[dict[str, torch.Tensor], CycleStep]:
    model.record_next_step = True
    losses = model(batch, mode="loss")
    return losses, model.last_step


@pytest.mark.parametrize(("config", "two_frames"), CASES)
def test_a_region_costs_and_teaches_the_same_in_company(config: str, two_frames: bool) -> None:
    """Captions, costs, losses and gradients. Red when a region is read on its neighbour's picture, draws depend on the
    grouping, or the gradient of a shared picture counts once for all its regions."""
    model = tiny_pseudo_gumbel(config).eval()
    parameters = [one for one in model.parameters() if one.requires_grad]
    batch = batch_of(two_frames)

    def learnt(batch: Batch) -> tuple[dict[str, torch.Tensor], CycleStep, list[torch.Tensor | None]]:
        losses, step = step_of(model, batch)
        total = torch.stack([value for name, value in losses.items() if name.startswith("loss")]).sum()
        return losses, step, list(torch.autograd.grad(total, parameters, allow_unused=True))

    with pictures_seen(model.student) as seen:
        losses, step, gradients = learnt(batch)
    assert seen == {"vit": 4 if two_frames else 2, "sam2": 2}
    apart, each, expected = learnt(batch._replace(looks=None))

    assert losses.keys() == apart.keys()
    for name, value in losses.items():
        torch.testing.assert_close(value, apart[name], rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert float((ours - theirs).norm()) <= 1e-4 * max(float(theirs.norm()), 1e-3)
    for row in (0, 3, 4):
        _, alone = step_of(model, part_of(batch, slice(row, row + 1)))
        assert torch.equal(step.captions.ids[row], alone.captions.ids[0])
        assert torch.equal(step.captions.ids[row], each.captions.ids[row])
        readings = slice(row * step.readings, (row + 1) * step.readings)
        torch.testing.assert_close(step.cost[readings], alone.cost, rtol=1e-4, atol=1e-5)


def test_pictures_of_some_samples_are_those_of_all() -> None:
    """Red when a choice of samples, or copies for each of them, exchanges their pictures."""
    model = tiny_pseudo_gumbel().student.eval()
    shared = model.encode_pictures(side(0), looks=["a", "b", "a", "a", "b"])
    assert shared.shown == tuple(ROWS)
    assert len(shared.vision) == len(shared.maps[0]) == 2
    each = model.encode_pictures(side(0))
    for rows in ([0, 1, 2, 3, 4], [4, 2]):
        ours, theirs = shared.of(rows).copied(), each.of(rows)
        torch.testing.assert_close(ours.vision, theirs.vision, rtol=1e-4, atol=1e-4)
        for level, expected in zip(ours.maps, theirs.maps, strict=True):
            torch.testing.assert_close(level, expected, rtol=1e-4, atol=1e-4)
    assert shared.shown_by(10) == [0, 0, 1, 1, 0, 0, 0, 0, 1, 1]


def test_a_cached_picture_is_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when each region reads its picture's features from disk, or a second step runs a tower."""
    model = tiny_pseudo_gumbel().eval()
    model.student.feature_cache = FeatureCache(str(tmp_path), 1)
    looked_up: list[int] = []
    seek = FeatureCache.__call__

    def counted(cache: FeatureCache, tower: Any, pixels: torch.Tensor, run: Any) -> Any:
        looked_up.append(len(pixels))
        return seek(cache, tower, pixels, run)

    monkeypatch.setattr(FeatureCache, "__call__", counted)
    first = model(batch_of(False), mode="loss")
    with pictures_seen(model.student) as seen:
        second = model(batch_of(False), mode="loss")
    assert seen == {"vit": 0, "sam2": 0}
    assert looked_up == [2] * 4
    assert all(torch.equal(value, second[name]) for name, value in first.items())
