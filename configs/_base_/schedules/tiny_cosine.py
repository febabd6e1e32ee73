"""A hundred optimizer steps of two micro-batches at a rate that moves captions: warm-up, then a cosine down to zero."""

from mmengine.config import read_base

with read_base():
    from .tiny import *

from mmengine.optim import CosineAnnealingLR

optim_wrapper["optimizer"]["lr"] = 1e-3
# What draws masks is trained already, and a rate for captions would undo it.
optim_wrapper["paramwise_cfg"] = dict(
    custom_keys={"mask_decoder": dict(lr_mult=0.1), "text_hidden_fcs": dict(lr_mult=0.1)}
)
param_scheduler.append(dict(type=CosineAnnealingLR, eta_min=0.0, by_epoch=False, begin=10))
