"""Supervised: Sa2VA-4B on human expressions. The base of pseudo_gumbel_4b."""

from mmengine.config import read_base

with read_base():
    from ._base_.datasets.refcoco import *
    from ._base_.default_runtime import *
    from ._base_.models.sa2va_internvl25_4b import *
    from ._base_.schedules.cosine import *
    from ._base_.zero2 import *
