"""DAVIS-17: val; each object is followed from its mask in the first frame, without a word.

Layout: the authors' download for semi-supervised segmentation at 480p (docs/evaluation.md). Protocol: J, F and J&F,
means over a clip's frames but the first and the last one, then over objects. It asks SAM 2 alone, whose decoder is
trained with the rest: what it lost shows here. Objects of a clip are followed one by one and may overlap.
"""

from sa2va_native.datasets.adapters.davis_objects import DavisObjects
from sa2va_native.evaluation.clip_metric import ClipMetric

test_dataloader = dict(
    dataset=dict(
        sources=[
            dict(
                kind="clip",
                name="val",
                dataset=dict(
                    type=DavisObjects,
                    names="data/DAVIS/ImageSets/2017/val.txt",
                    image_root="data/DAVIS/JPEGImages/480p",
                    mask_root="data/DAVIS/Annotations/480p",
                ),
            )
        ]
    )
)
test_evaluator = [dict(type=ClipMetric, source="val")]
