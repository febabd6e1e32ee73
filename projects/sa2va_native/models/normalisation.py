"""Normalises stored colours as the frozen towers were trained."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(pixels: Tensor) -> Tensor:
    """uint8 RGB [..., 3, H, W] -> float32 with ImageNet statistics, as both InternViT and SAM 2 expect.

    Here, on the model's device, and not in the data loader: a float picture is four times as much to collate, to send
    from a worker and to copy to the device.
    """
    mean, std = (
        255 * torch.tensor(values, device=pixels.device).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return pixels.float().sub_(mean).div_(std)
