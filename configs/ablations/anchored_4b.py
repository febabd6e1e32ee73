"""Variant: the student also restores the teacher's corrupted words, which keeps captions in language; at 4B."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_4b import *

from pseudo_gumbel.regularizers import CaptionAnchor

model["regularizers"] = [dict(type=CaptionAnchor, weight=0.3)]
