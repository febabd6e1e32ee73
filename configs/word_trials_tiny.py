"""The tiny cycle with word trials: the teacher's words, corrected at one position by the masks that they lead to."""

from mmengine.config import read_base

with read_base():
    from .pseudo_gumbel_tiny import *

from pseudo_gumbel.costs import AllPixelCost
from pseudo_gumbel.estimators import WordTrials
from pseudo_gumbel.readers import TeacherReader

model["estimator"] = dict(type=WordTrials)
model["reader"] = dict(type=TeacherReader)
model["cost"] = dict(type=AllPixelCost)
model["mask_ratio"] = 0.0
optim_wrapper["optimizer"]["lr"] = 1e-3
