"""The pseudo-Gumbel cycle at 4B: masks without captions, mixed with human expressions."""

from mmengine.config import read_base

with read_base():
    from ._base_.pseudo_gumbel import *
    from .sa2va_4b import *

model = dict(**_cycle, sa2va=model)
train_dataloader["dataset"]["sources"] = [*_cycle_sources, *_refer_sources]
train_dataloader["batch_sampler"]["pattern"] = _cycle_pattern
default_hooks.update(_cycle_hooks)
