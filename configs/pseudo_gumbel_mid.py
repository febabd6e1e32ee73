"""The pseudo-Gumbel cycle at mid size: the shapes of 4B, on any machine."""

from mmengine.config import read_base

with read_base():
    from ._base_.pseudo_gumbel import *
    from .sa2va_mid import *

model = dict(**_cycle, sa2va=model)
train_dataloader["dataset"]["sources"] = [*_cycle_sources, *_refer_sources]
train_dataloader["batch_sampler"]["pattern"] = _cycle_pattern
default_hooks.update(_cycle_hooks)
default_hooks["gradient_flow"]["interval"] = default_hooks["caption_panel"]["interval"] = 5  # odd steps are the cycle's
