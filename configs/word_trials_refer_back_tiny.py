"""Word trials beside human expressions, to which captions that lead back are added as referring expressions."""

from mmengine.config import read_base

with read_base():
    from .word_trials_tiny import *

from pseudo_gumbel.refer_back import ReferBack

model["supervised_weight"] = 0.25  # human expressions beside as many captions
model["regularizers"] = [dict(type=ReferBack, weight=1.0, min_iou=0.6)]
