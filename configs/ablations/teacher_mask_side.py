"""Variant: the teacher's frozen weights turn the words into a mask, so that only the captioner learns from them."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_tiny import *

from pseudo_gumbel.readers import TeacherReader

model["reader"] = dict(type=TeacherReader)
