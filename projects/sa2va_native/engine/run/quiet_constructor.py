"""Builds the optimizer without a line in the log for each parameter, and so that it stays as its config has it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn
from torch.optim import Optimizer

#: Settings of an optimizer that say how it computes, not what.
_HOW = ("fused", "foreach")


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class QuietOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's own, which for ``paramwise_cfg`` warns of every frozen parameter and prints several lines for others.

    A line for each learning rate takes their place: how many tensors have it. When a run is resumed, the optimizer
    goes on in the form that the config asks for: torch would take the checkpoint's.
    """

    def __call__(self, model: nn.Module) -> Any:
        logger = MMLogger.get_current_instance()
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            wrapper = super().__call__(model)
        finally:
            logger.setLevel(level)
        wrapper.optimizer.register_load_state_dict_pre_hook(_compute_as_before)
        groups = wrapper.optimizer.param_groups
        tensors = Counter[float]()
        for group in groups:
            tensors[group["lr"]] += sum(param.requires_grad for param in group["params"])
        if self.paramwise_cfg:
            rates = ", ".join(f"{count} tensors at {lr:g}" for lr, count in tensors.most_common())
            logger.info(f"learning rates: {rates}")
        return wrapper


def _compute_as_before(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A state to load, with the optimizer's own form in each group; torch also places and casts steps by it."""
    saved, own = state["param_groups"], optimizer.param_groups
    if len(saved) != len(own):
        return state  # which torch refuses
    forms = [{key: group[key] for key in _HOW if key in group} for group in own]
    return {**state, "param_groups": [{**group, **form} for group, form in zip(saved, forms, strict=True)]}
