"""RefCOCO, split by UNC: val, and testA (people) and testB (other objects).

Layout: REFER's, with the photos of COCO 2014 (docs/data/refcoco.md). Protocol: every sentence of every ref once, at the
photos' own sizes; papers report cIoU, ``refer_ciou``. Published figures: docs/evaluation.md.
"""

from sa2va_native.datasets.adapters.refer import ReferExpressions
from sa2va_native.evaluation.referring_details import ReferringBoundary, ReferringPrecision, ReferringSizes
from sa2va_native.evaluation.referring_metric import ReferringMetric

_splits = ("val", "testA", "testB")

test_dataloader = dict(
    dataset=dict(
        sources=[
            dict(
                kind="refer",
                name=split,
                dataset=dict(
                    type=ReferExpressions,
                    root="data/refcoco",
                    split_by="unc",
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
