"""The tiny cycle with word trials. The method is that of word_trials_4b, all else that of pseudo_gumbel_tiny.

Except for the schedule, under which a hundred steps are enough to learn a word.
"""

from mmengine.config import read_base

with read_base():
    from .pseudo_gumbel_tiny import *
    from ._base_.schedules.tiny_cosine import *
    from .sa2va_tiny import model as _sa2va_tiny
    from .word_trials_4b import model

model["sa2va"] = _sa2va_tiny
