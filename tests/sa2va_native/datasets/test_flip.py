"""A mirrored sample stays true: picture, mask and text are mirrored together, or none is."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch

from sa2va_native.datasets.flip import flip, flip_text
from sa2va_native.datasets.mixture import MixtureDataset
from sa2va_native.datasets.scenes.language import _unique_noun_phrases
from sa2va_native.datasets.scenes.scene import make_scene
from sa2va_native.datasets.transforms import SampleTransform, Sides
from sa2va_native.errors import ConfigError
from sa2va_native.structures import Draw, DrawKey, Sample, Side


def sides() -> Sides:
    """Two frames."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 6, 6), (3, 8, 8), (2, 2), (4, 4))
    return Sides(*(Side(*(torch.rand(shape, generator=generator) for shape in shapes)) for _ in range(2)))


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("the man on the left", "the man on the right"),
        ("Left of the RIGHT dog", "Right of the LEFT dog"),
        ("leftmost, top-left and right-most", "rightmost, top-right and left-most"),
        ("her right arm, lefthand side", "her left arm, righthand side"),
        ("leftside person", "rightside person"),
        ("a bright cleft", "a bright cleft"),
        ("the red mug", "the red mug"),
    ],
)
def test_sides_are_swapped_as_words(text: str, mirrored: str):
    """Red when one side is swapped twice (left -> right -> left), or inside of other words."""
    assert flip_text(text) == mirrored
    assert flip_text(mirrored) == text


@pytest.mark.parametrize(
    "text",
    ["number 12", "player 7", "sign that says stop", 'the "go" button', "the left-handed man", "a lefty",
     "right behind the car", "right next to her", "the slice that is left", "leftovers", "a west wind", "the clock",
     "non-right one", "guy on r", "person on the lft", "左边的人", "человек слева", "the first zebra", "last in line",
     "righteous one", "rightful owner"],
)  # fmt: skip
def test_what_would_lie_is_not_mirrored(text: str):
    assert flip_text(text) is None
    assert flip(sides(), text) is None


def test_both_frames_are_mirrored_with_masks_and_regions():
    """Red when picture and mask come apart, or the second frame is left as it was."""
    before = sides()
    after = flip(before, "left one")
    assert after is not None
    assert after[1] == "right one"
    for one, other in zip(before, after[0], strict=True):
        for tensor, mirrored in zip(one, other, strict=True):
            np.testing.assert_array_equal(mirrored.numpy(), tensor.numpy()[..., ::-1])
    still = flip(before._replace(mask_side=None), None)
    assert still is not None
    assert (still[0].mask_side, still[1]) == (None, None)


def test_expressions_stay_true_of_the_mirrored_scene():
    """Red when an expression of a generated scene is no longer true of where the objects are in the mirror."""
    checked = 0
    for index in range(100):
        scene = make_scene(0, "labelled", index)
        mirrored = [dataclasses.replace(item, x=1 - item.x) for item in scene.objects]
        for target in scene.targets:
            for text in scene.expressions[target]:
                said = flip_text(text)
                assert said is not None, text
                if match := re.search(r" (left|right) of (.*)", said):
                    (anchor,) = (i for i in range(3) if match[2] in _unique_noun_phrases(mirrored, i))
                    assert (mirrored[target].x < mirrored[anchor].x) == (match[1] == "left"), text
                    checked += 1
    assert checked > 50


class Repeated:
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Sample:
        mask = np.zeros((8, 8), bool)
        mask[:, :4] = True
        return Sample(f"one {index}", np.zeros((8, 8, 3), np.uint8), mask, "left" if index < 3 else "number 3")


def flipped(share: float, draws: int = 400, item: int = 0) -> list[bool]:
    transform = SampleTransform(image_size=8, grounding_size=8, grid_size=2, mask_size=4)
    data = MixtureDataset([{"kind": "refer", "dataset": Repeated()}], transform, flip_share=share)
    items = [data[Draw(item, DrawKey(step, 1))] for step in range(draws)]
    for one in items:  # text and mask agree
        if item < 3:
            assert (one.text == "left") == bool(one.sides.caption_side.mask[0, 0])
    return [not bool(one.sides.caption_side.mask[0, 0]) for one in items]


def test_flips_follow_from_seed_step_and_sample():
    """Red when flips are on by default, depend on the process, or come in another share than asked for."""
    assert not any(flipped(0.0))
    assert all(flipped(1.0))
    half = flipped(0.5)
    assert half == flipped(0.5)
    assert 160 < sum(half) < 240, "400 draws: mean 200, standard deviation 10"
    assert not any(flipped(1.0, item=3)), "a number to be read"
    with pytest.raises(ConfigError, match=r"flip_share must be within 0\.\.1"):
        flipped(1.5)


def test_whether_an_object_is_kept_does_not_depend_on_its_mirror():
    """Red when the mirrored mask is asked for its cells: a resumed run may have met another mirror first."""

    class Edge(Repeated):
        def __getitem__(self, index: int) -> Sample:
            mask = np.zeros((9, 9), bool)
            mask[:, 2] = True  # at the centre of a cell by the nearest pixel, and beside it in the mirror
            return Sample(f"one {index}", np.zeros((9, 9, 3), np.uint8), mask)

    transform = SampleTransform(8, 8, grid_size=2, mask_size=8, region_pooling="nearest")
    kept = [
        MixtureDataset([{"kind": "cycle", "dataset": Edge()}], transform, flip_share=share)[0].sides.caption_side.region
        for share in (0.0, 1.0)
    ]
    assert torch.equal(kept[0].flip(-1), kept[1])
    assert kept[0].any()
