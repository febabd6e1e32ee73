"""The 4B model's cycle on generated scenes, so that a check of a machine needs neither weights nor data."""

from mmengine.config import read_base

with read_base():
    from pseudo_gumbel.configs.pseudo_gumbel_4b import *

from sa2va_native.datasets.adapters.scenes import SceneExpressions, SceneMasks

train_dataloader["dataset"]["sources"] = [
    dict(kind="cycle", dataset=dict(type=SceneMasks, split="mask_only")),
    dict(kind="refer", dataset=dict(type=SceneExpressions, split="labelled")),
]
train_dataloader["num_workers"] = 2
test_dataloader = test_evaluator = test_cfg = None
default_hooks.pop("caption_panel")
