"""Control: every caption is held against another sample's mask, which shows what drift alone does."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_tiny import *

from pseudo_gumbel.costs import AnotherMask, UncertainPointCost

model["cost"] = dict(type=AnotherMask, cost=dict(type=UncertainPointCost, **model["sa2va"]["mask_loss"]))
