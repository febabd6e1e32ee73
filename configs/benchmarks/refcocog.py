"""RefCOCOg, split by UMD: val and test; longer expressions.

Layout and protocol are RefCOCO's. Published figures: docs/evaluation.md.
"""

from sa2va_native.datasets.adapters.refer import ReferExpressions
from sa2va_native.evaluation.referring_details import ReferringBoundary, ReferringPrecision, ReferringSizes
from sa2va_native.evaluation.referring_metric import ReferringMetric

_splits = ("val", "test")

test_dataloader = dict(
    dataset=dict(
        sources=[
            dict(
                kind="refer",
                name=split,
                dataset=dict(
                    type=ReferExpressions,
                    root="data/refcocog",
                    split_by="umd",
                    split=split,
                    image_root="data/coco2014/train2014",
                ),
            )
            for split in _splits
        ]
    )
)
test_evaluator = [
    dict(type=metric, source=split)
    for split in _splits
    for metric in (ReferringMetric, ReferringPrecision, ReferringSizes, ReferringBoundary)
]
