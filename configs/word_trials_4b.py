"""The cycle at 4B with word trials: the teacher's words, corrected at one position by the masks that they lead to.

Not the specified method: no gradient passes through the words that are read.
"""

from mmengine.config import read_base

with read_base():
    from .pseudo_gumbel_4b import *

from pseudo_gumbel.costs import AllPixelCost
from pseudo_gumbel.estimators import WordTrials
from pseudo_gumbel.readers import TeacherReader

# What is tried, and how far the masks are trusted.
model["estimator"] = dict(type=WordTrials, candidates=8, beta=0.1, min_p=0.02)
model["reader"] = dict(type=TeacherReader)
model["cost"] = dict(type=AllPixelCost)  # points, drawn anew where each mask is undecided, would blur the ranking
model["mask_ratio"] = 0.0
