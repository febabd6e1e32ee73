"""Captions of RefCOCOg's regions, split by UMD: val; each region once, against all of its human expressions.

Layout: REFER's (docs/data/refcoco.md). Protocol: greedy captions, METEOR and CIDEr by the code of the COCO challenge,
which needs an extra and Java (docs/install.md). Published figures: docs/evaluation.md.
"""

from sa2va_native.datasets.adapters.refer import ReferExpressions
from sa2va_native.evaluation.caption_metric import CaptionMetric
from sa2va_native.evaluation.coco_caption_metric import CocoCaptionMetric

test_dataloader = dict(
    dataset=dict(
        sources=[
            dict(
                kind="caption",
                name="val",
                dataset=dict(
                    type=ReferExpressions,
                    root="data/refcocog",
                    split_by="umd",
                    split="val",
                    image_root="data/coco2014/train2014",
                ),
            )
        ]
    )
)
test_evaluator = [dict(type=metric, source="val") for metric in (CaptionMetric, CocoCaptionMetric)]
