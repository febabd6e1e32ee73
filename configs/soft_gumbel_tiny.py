"""The tiny cycle with soft words: mixtures of likely words, several draws a caption, read by the teacher.

The reader is nearly flat at a word and steep between two, so a mixture tells where to go and a hard word does not. It
needs a captioner that sees what it names wrongly: the partner weights, not the default ones, which are blind to colour.
"""

from mmengine.config import read_base

with read_base():
    from .pseudo_gumbel_tiny import *
    from ._base_.schedules.tiny_cosine import *

from pseudo_gumbel.costs import AllPixelCost
from pseudo_gumbel.estimators import SoftGumbel
from pseudo_gumbel.readers import TeacherReader
from pseudo_gumbel.regularizers import TeacherKL

model["sa2va"]["weights"] = "assets/tiny/sa2va_tiny_partner.safetensors"
model["estimator"] = dict(type=SoftGumbel, temperature=2.0, top_k=64, min_p=0.1, draws=4)
model["reader"] = dict(type=TeacherReader)
model["cost"] = dict(type=AllPixelCost, bce_weight=6.0, dice_weight=1.5)  # three times the method's
model["mask_ratio"] = 0.0
model["regularizers"] = [dict(type=TeacherKL, weight=0.3)]
model["supervised_weight"] = 0.25
