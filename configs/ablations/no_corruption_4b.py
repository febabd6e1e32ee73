"""Ablation: the student reads the teacher's caption uncorrupted, at 4B."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_4b import *

model["mask_ratio"] = 0.0
