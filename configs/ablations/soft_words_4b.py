"""Ablation: soft mixtures of words instead of straight-through hard ones, at 4B."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_4b import *

from pseudo_gumbel.estimators import SoftGumbel

model["estimator"]["type"] = SoftGumbel
