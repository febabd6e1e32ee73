"""gRefCOCO, split by UNC: val, testA, testB; expressions for one object, several, or none.

Layout: grefs(unc).json and instances.json in one folder, the photos of COCO 2014 (docs/data/refcoco.md). Protocol
(GRES, arXiv 2306.00968): cIoU and gIoU, with no mask as the right answer where there is no target; N-acc and T-acc.
"""

from sa2va_native.datasets.adapters.grefer import GeneralizedReferExpressions
from sa2va_native.evaluation.referring_details import ReferringPrecision, ReferringSizes, ReferringTargets
from sa2va_native.evaluation.referring_metric import ReferringMetric

_splits = ("val", "testA", "testB")

test_dataloader = dict(
    dataset=dict(
        sources=[
            dict(
                kind="refer",
                name=split,
                dataset=dict(
                    type=GeneralizedReferExpressions,
                    root="data/grefcoco",
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
    for metric in (ReferringMetric, ReferringTargets, ReferringPrecision, ReferringSizes)
]
