"""Supervised: the mid-size model, which has the shapes of 4B. The base of pseudo_gumbel_mid."""

from mmengine.config import read_base

with read_base():
    from ._base_.datasets.photos import *
    from ._base_.default_runtime import *
    from ._base_.models.sa2va_mid import *
    from ._base_.schedules.cosine import *

train_cfg["max_steps"] = 20
optim_wrapper["accumulative_counts"] = 1
param_scheduler[0]["end"] = param_scheduler[1]["begin"] = 5
default_hooks["logger"]["interval"] = 1
