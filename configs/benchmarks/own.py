"""One's own masks with texts: expressions to masks, masks to captions, and masks to captions to masks.

Layout: data/own/data.jsonl (docs/data/own.md), every record with a ``text``.
"""

from sa2va_native.datasets.adapters.own_data import OwnData
from sa2va_native.evaluation.caption_metric import CaptionMetric
from sa2va_native.evaluation.cycle_metric import CycleMetric
from sa2va_native.evaluation.referring_details import ReferringBoundary, ReferringPrecision, ReferringSizes
from sa2va_native.evaluation.referring_metric import ReferringMetric

test_dataloader = dict(
    dataset=dict(
        sources=[
            dict(kind=kind, name="all", dataset=dict(type=OwnData, path="data/own/data.jsonl", text_required=True))
            for kind in ("refer", "caption", "cycle")
        ]
    )
)
test_evaluator = [
    dict(type=metric, source="all")
    for metric in (
        ReferringMetric,
        ReferringPrecision,
        ReferringSizes,
        ReferringBoundary,
        CaptionMetric,
        CycleMetric,
    )
]
