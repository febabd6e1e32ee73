"""Control: plain self-training on the teacher's hard captions."""

from mmengine.config import read_base

with read_base():
    from ..pseudo_gumbel_tiny import *

from pseudo_gumbel.estimators import TeacherWords

model["estimator"] = dict(type=TeacherWords)
