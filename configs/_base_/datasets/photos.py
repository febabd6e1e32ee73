"""Expressions for generated scenes and masks of two photographs, at the 4B model's sizes; nothing is downloaded."""

from mmengine.config import read_base

with read_base():
    from .refcoco import *

from sa2va_native.datasets.adapters.photos import ImgvizPhotos
from sa2va_native.datasets.adapters.scenes import SceneExpressions

_scenes = dict(type=SceneExpressions)

train_dataloader.update(num_workers=0, pin_memory=False)
train_dataloader["dataset"]["sources"] = [dict(kind="refer", dataset=dict(**_scenes, split="labelled"))]

test_dataloader.update(num_workers=0)
test_dataloader["dataset"]["sources"] = [
    dict(kind="refer", name="scenes", max_samples=20, dataset=dict(**_scenes, split="test")),
    dict(kind="cycle", name="photos", dataset=dict(type=ImgvizPhotos)),
]
test_evaluator = [dict(type=ReferringMetric, source="scenes"), dict(type=CycleMetric, source="photos")]
