"""Computes the frozen towers' features of all training pictures once, for the runs that follow.

On a CPU the last bits of a feature depend on the size of the batch in which it was computed. So all are computed in
batches of the runs' size, and do not depend on which run came first: they are those of the towers bit for bit. They lie
in memory in another order, so a run that reads them may still differ in the last bits of what it computes from them
(1.2e-7 in the trained weights after 8 steps of word trials) from one with ``--no-feature-cache``.

``python -m pseudo_gumbel.experiment.features WEIGHTS FOLDER``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from pseudo_gumbel.experiment.runs import BATCH_SIZE, FEATURES_GB
from sa2va_native.models.normalisation import normalise
from sa2va_native.structures import Side

Features = tuple[Tensor, ...]
#: A config that trains on every picture that some method trains on; what an oracle is told besides, its run stores.
CONFIG = "pseudo_gumbel_tiny"


def fill(weights: str, folder: str) -> None:
    """Store the features of every picture that an arm trains on; those that are there stay as they are.

    Args:
        weights: of the base.
        folder: of the cache.
    """
    from mmengine.registry import DATASETS, MODELS

    from sa2va_native.engine.run import launch

    cfg = launch.load_config(CONFIG, {"model.sa2va.feature_cache": {"folder": folder, "max_gb": FEATURES_GB}})
    launch.use_weights(cfg, [weights])
    cfg.train_dataloader.dataset.report_file = None
    model = MODELS.build(cfg.model.sa2va).eval()
    towers = (
        (model.mllm.tower, lambda pixels: (model.mllm.encode(pixels),)),
        (model.grounding.tower, model.grounding.encode),
    )
    for batch in _batches(DATASETS.build(cfg.train_dataloader.dataset)):
        for pixels, (tower, run) in zip(batch, towers, strict=True):
            with torch.no_grad():
                model.feature_cache(tower, pixels, _in_whole_batches(run))


def _batches(dataset: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Every different picture once, as both towers see it: uint8 [b, 3, S, S] and [b, 3, G, G]."""
    seen, waiting = set(), []
    for item in range(len(dataset)):
        sides: tuple[Side | None, ...] = dataset[item].sides
        for side in sides:
            if side is None or (picture := side.pixel_values.numpy().tobytes()) in seen:
                continue
            seen.add(picture)
            waiting.append((side.pixel_values, side.grounding_pixels))
            if len(waiting) == BATCH_SIZE:
                yield torch.stack([one for one, _ in waiting]), torch.stack([one for _, one in waiting])
                waiting = []
    if waiting:
        yield torch.stack([one for one, _ in waiting]), torch.stack([one for _, one in waiting])


def _in_whole_batches(run: Callable[[Tensor], Features]) -> Callable[[Tensor], Features]:
    """``run`` of up to :data:`BATCH_SIZE` uint8 pictures, filled up with black ones."""

    def computed(pixels: Tensor) -> Features:
        black = pixels.new_zeros(BATCH_SIZE - len(pixels), *pixels.shape[1:])
        return tuple(level[: len(pixels)] for level in run(normalise(torch.cat([pixels, black]))))

    return computed


if __name__ == "__main__":
    fill(*sys.argv[1:])
