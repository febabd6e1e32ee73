"""The pseudo-Gumbel cycle at 4B: masks without captions, in turn with human expressions.

The model (InternVL2.5-4B and SAM 2), RefCOCO's expressions, the test sets, AdamW with warm-up and cosine, and the hooks
of every run come from sa2va_4b.
"""

from mmengine.config import read_base

with read_base():
    from .sa2va_4b import *
    from ._base_.zero2 import *  # DeepSpeed ZeRO-2, for 4 GPUs

from pseudo_gumbel.estimators import StraightThroughGumbel
from pseudo_gumbel.hooks.caption_panel_hook import CaptionPanelHook
from pseudo_gumbel.hooks.ema_teacher_hook import EMATeacherHook
from pseudo_gumbel.hooks.gradient_flow_hook import GradientFlowHook
from pseudo_gumbel.hooks.reward_escape_hook import RewardEscapeHook
from pseudo_gumbel.model import PseudoGumbel
from pseudo_gumbel.readers import StudentReader
from sa2va_native.datasets.adapters.open_images import OpenImages
from sa2va_native.datasets.adapters.sa1b import Sa1b
from sa2va_native.datasets.adapters.sav_pairs import SavPairs

model = dict(
    type=PseudoGumbel,
    sa2va=model,
    estimator=dict(type=StraightThroughGumbel, temperature=0.7, top_k=128),  # how logits become words, with a gradient
    reader=dict(type=StudentReader),  # who finds the mask from the words
    mask_ratio=0.25,  # share of the teacher's words that is replaced at random
)

train_dataloader["dataset"]["sources"] = [
    dict(kind="cycle", max_samples=100, dataset=dict(type=SavPairs, root="data/sav_pairs")),
    dict(kind="cycle", max_samples=500, dataset=dict(type=Sa1b, root="data/sa1b")),
    dict(kind="cycle", dataset=dict(type=OpenImages, root="data/openimages")),
    *train_dataloader["dataset"]["sources"],
]
train_dataloader["batch_sampler"]["pattern"] = ("cycle", "refer")
# A batch_size above 1 lets objects of a picture share its look: regions_per_picture, in docs/running.md.

# Intervals count optimizer steps.
default_hooks.update(
    ema_teacher=dict(type=EMATeacherHook, decay=0.999),
    gradient_flow=dict(type=GradientFlowHook, interval=10),
    reward_escape=dict(type=RewardEscapeHook, interval=10),
    caption_panel=dict(type=CaptionPanelHook, interval=100),
)
