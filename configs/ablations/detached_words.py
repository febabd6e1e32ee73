"""Ablation: the same words, with the gradient to the captioner cut."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_tiny import *

from pseudo_gumbel.estimators import DetachedGumbel

model["estimator"]["type"] = DetachedGumbel
