"""Ablation: no average; after each step the teacher is the student itself, at 4B."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_4b import *

default_hooks["ema_teacher"]["decay"] = 0.0
