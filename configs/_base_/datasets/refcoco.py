"""Human expressions of RefCOCO, below ``data/`` as in docs/data/refcoco.md; sizes of the 4B model."""

from mmengine.config import read_base

with read_base():
    from .mixture import *

from sa2va_native.datasets.adapters.refer import ReferExpressions
from sa2va_native.datasets.transforms import SampleTransform
from sa2va_native.evaluation.cycle_metric import CycleMetric
from sa2va_native.evaluation.referring_details import ReferringBoundary, ReferringPrecision, ReferringSizes
from sa2va_native.evaluation.referring_metric import ReferringMetric

_sizes = dict(image_size=448, grounding_size=1024, grid_size=16, mask_size=256)  # must be the model's

_refcoco = dict(type=ReferExpressions, root="data/refcoco", split_by="unc", image_root="data/coco2014/train2014")

train_dataloader.update(batch_size=1, num_workers=4, pin_memory=True)
train_dataloader["dataset"].update(
    sources=[dict(kind="refer", dataset=dict(**_refcoco, split="train"))],
    transform=dict(type=SampleTransform, **_sizes),
)

test_dataloader.update(batch_size=4, num_workers=4)
test_dataloader["dataset"].update(
    sources=[
        *(dict(kind="refer", name=split, dataset=dict(**_refcoco, split=split)) for split in ("val", "testA", "testB")),
        dict(kind="cycle", name="val", max_samples=500, dataset=dict(**_refcoco, split="val")),
    ],
    transform=dict(type=SampleTransform, **_sizes),
)
test_evaluator = [
    *(
        dict(type=metric, source=split)
        for split in ("val", "testA", "testB")
        for metric in (ReferringMetric, ReferringPrecision, ReferringSizes, ReferringBoundary)
    ),
    dict(type=CycleMetric, source="val"),
]
