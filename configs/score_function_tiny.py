"""The tiny cycle with a score-function estimator: sampled captions, each compared with the others of its region."""

from mmengine.config import read_base

with read_base():
    from .pseudo_gumbel_tiny import *

from pseudo_gumbel.estimators import ScoreFunction

model["estimator"] = dict(type=ScoreFunction, samples=4)
