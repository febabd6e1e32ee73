"""COCO 2017 val: each object is described and found again from its caption. No human text is needed.

Layout: annotations/instances_val2017.json and val2017/ (docs/data/coco.md). Protocol: no crowds; read the figure with
``--controls floor stranger``.
"""

from sa2va_native.datasets.adapters.coco import CocoInstances
from sa2va_native.evaluation.cycle_metric import CycleMetric

test_dataloader = dict(
    dataset=dict(
        sources=[
            dict(
                kind="cycle",
                name="val",
                dataset=dict(
                    type=CocoInstances,
                    ann_file="data/coco/annotations/instances_val2017.json",
                    image_root="data/coco/val2017",
                ),
            )
        ]
    )
)
test_evaluator = [dict(type=CycleMetric, source="val")]
