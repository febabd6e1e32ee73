"""Supervised: the tiny Sa2VA on human expressions. The base and the control of pseudo_gumbel_tiny."""

from mmengine.config import read_base

with read_base():
    from ._base_.datasets.scenes import *
    from ._base_.default_runtime import *
    from ._base_.models.sa2va_tiny import *
    from ._base_.schedules.tiny import *
