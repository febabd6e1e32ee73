"""The pseudo-Gumbel cycle at mid size: the shapes of 4B, on any machine."""

from mmengine.config import read_base

with read_base():
    from .sa2va_mid import *

from projects.pseudo_gumbel.hooks.caption_panel_hook import CaptionPanelHook
from projects.pseudo_gumbel.hooks.ema_teacher_hook import EMATeacherHook
from projects.pseudo_gumbel.hooks.gradient_flow_hook import GradientFlowHook
from projects.pseudo_gumbel.model import PseudoGumbel
from projects.pseudo_gumbel.relaxations import StraightThroughGumbel

model = dict(
    type=PseudoGumbel,
    sa2va=model,
    words=dict(type=StraightThroughGumbel, temperature=0.7, top_k=128),
    mask_ratio=0.25,
)

train_dataloader["dataset"]["sources"] = [*_cycle_sources, *_refer_sources]
train_dataloader["batch_sampler"]["pattern"] = ("cycle", "refer")

default_hooks.update(
    ema_teacher=dict(type=EMATeacherHook, decay=0.999),
    gradient_flow=dict(type=GradientFlowHook, interval=5),  # odd steps are the cycle's
    caption_panel=dict(type=CaptionPanelHook, interval=5),
)
