"""Word trials that ask which object of the picture the words lead to, not how well its mask is drawn."""

from mmengine.config import read_base

with read_base():
    from .word_trials_tiny import *

from pseudo_gumbel.costs import InPictureContrast

model["cost"] = dict(type=InPictureContrast, temperature=0.1)
model["estimator"]["beta"] = 1.0  # costs are about ten times as large
train_dataloader["dataset"]["with_others"] = True
