"""Sizes, interpolation and alignment of the two sides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sa2va_native.datasets.transforms import SampleTransform, resize_mask
from sa2va_native.structures import Sample


def make_sample(height: int = 60, width: int = 90, **second: np.ndarray) -> Sample:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), bool)
    mask[10:40, 20:70] = True
    return Sample("a", image, mask, **second)


TRANSFORM = SampleTransform(image_size=48, grounding_size=64, grid_size=4, mask_size=16)


@pytest.mark.parametrize("size", [(60, 90), (30, 20), (300, 200), (64, 64)], ids=str)
def test_pictures_are_squashed_with_the_towers_interpolations(size: tuple[int, int]):
    """Red when a side is letterboxed, interpolations are swapped, or the faster kernel differs from Pillow's."""
    sample = make_sample(*size)
    side = TRANSFORM(sample).caption_side
    for pixels, side_length, resampling, rounding in (
        (side.pixel_values, 48, Image.Resampling.BICUBIC, 0),
        (side.grounding_pixels, 64, Image.Resampling.BILINEAR, 1),
    ):
        expected = np.asarray(Image.fromarray(sample.image).resize((side_length, side_length), resampling))
        np.testing.assert_allclose(pixels.permute(1, 2, 0).numpy().astype(int), expected, rtol=0, atol=rounding)
    assert side.region.dtype == torch.bool
    assert side.mask.dtype == torch.float32


def test_masks_stay_binary_and_do_not_shift():
    """Red when masks are interpolated (grey edges), or sampled at each target's corner (a shift)."""
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    small = resize_mask(mask, 16)
    assert set(small.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(small, small.flip(0, 1))  # a centred object stays centred
    thin = resize_mask(np.arange(64)[None].repeat(64, 0) % 4 == 2, 16)  # only the pixel right of each target's centre
    assert thin.all()


def test_the_mask_side_is_the_second_frame_and_only_exists_with_one():
    """Red when side 2 repeats side 1 for a clip, which would make the two-frame case a still picture."""
    assert TRANSFORM(make_sample()).mask_side is None
    mask2 = np.zeros((60, 90), bool)
    mask2[40:60, 0:20] = True
    sides = TRANSFORM(make_sample(image2=np.zeros((60, 90, 3), np.uint8), mask2=mask2))
    assert sides.mask_side is not None
    assert torch.equal(sides.mask_side.mask, resize_mask(mask2, 16))
    assert not torch.equal(sides.mask_side.pixel_values, sides.caption_side.pixel_values)


def test_small_objects_keep_a_cell_by_default():
    """Red when the default pooling drops them: 6 x 8 px in a cell of 15 x 22 px."""
    sample = make_sample()
    sample.mask[:] = False
    sample.mask[0:6, 0:8] = True
    assert TRANSFORM(sample).caption_side.region.nonzero().tolist() == [[0, 0]]
