"""Builds the optimizer without a line in the log for each parameter."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class QuietOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's own, which for ``paramwise_cfg`` warns of every frozen parameter and prints several lines for others.

    A line for each learning rate takes their place: how many tensors have it.
    """

    def __call__(self, model: nn.Module) -> Any:
        logger = MMLogger.get_current_instance()
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            wrapper = super().__call__(model)
        finally:
            logger.setLevel(level)
        groups = wrapper.optimizer.param_groups
        tensors = Counter[float]()
        for group in groups:
            tensors[group["lr"]] += sum(param.requires_grad for param in group["params"])
        if self.paramwise_cfg:
            rates = ", ".join(f"{count} tensors at {lr:g}" for lr, count in tensors.most_common())
            logger.info(f"learning rates: {rates}")
        return wrapper
