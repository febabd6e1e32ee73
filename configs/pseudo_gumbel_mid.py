"""The pseudo-Gumbel cycle at mid size: the shapes of 4B, on any machine.

The method is that of pseudo_gumbel_4b; all else is that of sa2va_mid.
"""

from mmengine.config import read_base

with read_base():
    from .sa2va_mid import *
    from .sa2va_mid import model as _sa2va_mid
    from .pseudo_gumbel_4b import default_hooks, model

from sa2va_native.datasets.adapters.photos import ImgvizPhotos

model["sa2va"] = _sa2va_mid

train_dataloader["dataset"]["sources"] = [
    dict(kind="cycle", dataset=dict(type=ImgvizPhotos)),
    *train_dataloader["dataset"]["sources"],
]
train_dataloader["batch_sampler"]["pattern"] = ("cycle", "refer")

default_hooks["logger"]["interval"] = 1
default_hooks["gradient_flow"]["interval"] = default_hooks["caption_panel"]["interval"] = 5  # odd steps are the cycle's
