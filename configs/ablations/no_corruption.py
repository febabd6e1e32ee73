"""Ablation: the student reads the teacher's caption uncorrupted."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_tiny import *

model["mask_ratio"] = 0.0
