"""The pseudo-Gumbel cycle at CPU size: masks without captions, mixed with human expressions."""

from mmengine.config import read_base

with read_base():
    from ._base_.pseudo_gumbel import *
    from .sa2va_tiny import *

model = dict(**_cycle, sa2va=model)
model["words"]["top_k"] = 64
train_dataloader["dataset"]["sources"] = [*_cycle_sources, *_refer_sources]
train_dataloader["batch_sampler"]["pattern"] = _cycle_pattern
default_hooks.update(_cycle_hooks)
default_hooks["ema_teacher"]["decay"] = 0.99  # the method's 0.999 is too slow for a hundred steps
default_hooks["caption_panel"]["interval"] = 25
