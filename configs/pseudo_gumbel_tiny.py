"""The pseudo-Gumbel cycle at CPU size: generated scenes with masks alone, in turn with human expressions.

The method is that of pseudo_gumbel_4b; all else is that of sa2va_tiny, its control with as many steps.
"""

from mmengine.config import read_base

with read_base():
    from .sa2va_tiny import *
    from .sa2va_tiny import model as _sa2va_tiny
    from .pseudo_gumbel_4b import default_hooks, model

from sa2va_native.datasets.adapters.scenes import SceneMasks

model["sa2va"] = _sa2va_tiny
model["estimator"]["top_k"] = 64

train_dataloader["dataset"]["sources"] = [
    dict(kind="cycle", dataset=dict(type=SceneMasks, split="mask_only")),
    *train_dataloader["dataset"]["sources"],
]
train_dataloader["batch_sampler"]["pattern"] = ("cycle", "refer")

default_hooks["ema_teacher"]["decay"] = 0.99  # the method's 0.999 is too slow for a hundred steps
default_hooks["caption_panel"]["interval"] = 25
