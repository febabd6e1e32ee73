"""Colours as the towers take them."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms.v2 import functional as reference

from sa2va_native.models.normalisation import IMAGENET_MEAN, IMAGENET_STD, normalise


def test_pictures_are_normalised_as_torchvision_does() -> None:
    """Red when mean or std is left out, divided by the wrong range, or applied to other channels."""
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7), dtype=np.uint8))
    shares = reference.to_dtype(pixels, torch.float32, scale=True)
    expected = reference.normalize(shares, list(IMAGENET_MEAN), list(IMAGENET_STD))
    torch.testing.assert_close(normalise(pixels), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(normalise(pixels[0]), expected[0], rtol=0, atol=1e-5)
