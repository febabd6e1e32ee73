"""Ablation: the same words, with the gradient to the captioner cut, at 4B."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_4b import *

from pseudo_gumbel.estimators import DetachedGumbel

model["estimator"]["type"] = DetachedGumbel
