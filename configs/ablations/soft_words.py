"""Ablation: soft mixtures of words instead of straight-through hard ones."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_tiny import *

from pseudo_gumbel.estimators import SoftGumbel

model["estimator"]["type"] = SoftGumbel
