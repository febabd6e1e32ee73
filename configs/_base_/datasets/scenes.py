"""Generated scenes with expressions, written to the cache folder at first use."""

from mmengine.config import read_base

with read_base():
    from .mixture import *

from sa2va_native.datasets.adapters.scenes import SceneExpressions, SceneMasks
from sa2va_native.datasets.transforms import SampleTransform
from sa2va_native.evaluation.cycle_metric import CycleMetric
from sa2va_native.evaluation.referring_metric import ReferringMetric
from sa2va_native.evaluation.scene_caption_metric import SceneCaptionMetric

_sizes = dict(image_size=128, grounding_size=128, grid_size=8, mask_size=32)  # must be the model's

train_dataloader.update(batch_size=8, num_workers=0)
train_dataloader["dataset"].update(
    sources=[dict(kind="refer", dataset=dict(type=SceneExpressions, split="labelled"))],
    transform=dict(type=SampleTransform, **_sizes),
)

test_dataloader.update(batch_size=50, num_workers=0)
test_dataloader["dataset"].update(
    sources=[
        dict(kind=kind, name=name, max_samples=300, dataset=dict(type=adapter, split=name))
        for name in ("test", "test_heldout")
        for kind, adapter in (("refer", SceneExpressions), ("cycle", SceneMasks))
    ],
    transform=dict(type=SampleTransform, **_sizes),
)
test_evaluator = [
    dict(type=metric, source=name)
    for name in ("test", "test_heldout")
    for metric in (ReferringMetric, CycleMetric, SceneCaptionMetric)
]
