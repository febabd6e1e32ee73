"""DLC-Bench: detailed captions of regions, for a judge that is a language model (Describe Anything, arXiv 2504.16072).

Layout: annotations.json (COCO) and images/ (docs/evaluation.md). Protocol: one caption for each annotation, in
``dlc_bench.json`` of the work dir, as the authors' ``eval_model_outputs.py`` reads it. No judge is called unless one is
named: ``judge`` of ``CaptionFile``.
"""

from sa2va_native.datasets.adapters.coco import CocoInstances
from sa2va_native.evaluation.caption_file import CaptionFile
from sa2va_native.evaluation.cycle_metric import CycleMetric

test_dataloader = dict(
    dataset=dict(
        sources=[
            dict(
                kind="cycle",
                name="all",
                dataset=dict(
                    type=CocoInstances,
                    ann_file="data/DLC-Bench/annotations.json",
                    image_root="data/DLC-Bench/images",
                    include_crowd=True,
                ),
            )
        ]
    )
)
test_evaluator = [
    dict(type=CaptionFile, source="all", path="dlc_bench.json"),
    dict(type=CycleMetric, source="all"),
]
