"""Variant: the teacher's frozen weights turn the words into a mask, so that only the captioner learns; at 4B."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_4b import *

from pseudo_gumbel.readers import TeacherReader

model["reader"] = dict(type=TeacherReader)
