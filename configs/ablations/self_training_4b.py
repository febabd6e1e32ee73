"""Control: plain self-training on the teacher's hard captions, at 4B."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_4b import *

from pseudo_gumbel.estimators import TeacherWords

model["estimator"] = dict(type=TeacherWords)
