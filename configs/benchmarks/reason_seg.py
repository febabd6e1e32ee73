"""ReasonSeg: val and test; questions whose answer is an object (LISA, arXiv 2308.00692).

Layout: data/ReasonSeg/SPLIT/NAME.jpg beside NAME.json. Protocol: the first text of each picture, as LISA's code takes
it; pixels marked as ignored do not count. Papers report gIoU and cIoU.
"""

from sa2va_native.datasets.adapters.reason_seg import ReasonSeg
from sa2va_native.evaluation.reason_seg_metric import ReasonSegMetric

test_dataloader = dict(
    dataset=dict(
        sources=[
            dict(kind="refer", name=split, dataset=dict(type=ReasonSeg, root="data/ReasonSeg", split=split))
            for split in ("val", "test")
        ]
    )
)
test_evaluator = [dict(type=ReasonSegMetric, source=split) for split in ("val", "test")]
