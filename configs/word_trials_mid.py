"""The mid-size cycle with word trials. The method is that of word_trials_4b; all else is that of pseudo_gumbel_mid."""

from mmengine.config import read_base

with read_base():
    from .pseudo_gumbel_mid import *
    from .sa2va_mid import model as _sa2va_mid
    from .word_trials_4b import model

model["sa2va"] = _sa2va_mid
