"""The cycle with the method's own values; a config wraps its Sa2VA in it and mixes masks into the data."""

from pseudo_gumbel.hooks.caption_panel_hook import CaptionPanelHook
from pseudo_gumbel.hooks.ema_teacher_hook import EMATeacherHook
from pseudo_gumbel.hooks.gradient_flow_hook import GradientFlowHook
from pseudo_gumbel.model import PseudoGumbel
from pseudo_gumbel.relaxations import StraightThroughGumbel

_cycle = dict(
    type=PseudoGumbel,
    words=dict(type=StraightThroughGumbel, temperature=0.7, top_k=128),
    mask_ratio=0.25,
)
_cycle_hooks = dict(
    ema_teacher=dict(type=EMATeacherHook, decay=0.999),
    gradient_flow=dict(type=GradientFlowHook, interval=10),
    caption_panel=dict(type=CaptionPanelHook, interval=100),
)
_cycle_pattern = ("cycle", "refer")
