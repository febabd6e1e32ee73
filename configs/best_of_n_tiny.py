"""The tiny cycle with best-of-N distillation: of several captions the student learns the one that costs least."""

from mmengine.config import read_base

with read_base():
    from .pseudo_gumbel_tiny import *

from pseudo_gumbel.costs import AllPixelCost
from pseudo_gumbel.estimators import BestOfN
from pseudo_gumbel.readers import TeacherReader

model["estimator"] = dict(type=BestOfN, samples=4)
model["reader"] = dict(type=TeacherReader)
model["cost"] = dict(type=AllPixelCost)
model["mask_ratio"] = 0.0
optim_wrapper["optimizer"]["lr"] = 1e-3
