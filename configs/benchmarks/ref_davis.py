"""Ref-DAVIS17: valid; expressions for the objects of DAVIS-17's clips, by text alone.

Layout: Sa2VA's download, or ReferFormer's conversion of DAVIS-17 (docs/evaluation.md). Protocol: J, F and J&F,
means over a clip's frames, then over all expressions of all annotators, each on its own. Other code lets the objects of
a clip compete for pixels, or leaves out the first and the last frame: compare with care.
"""

from sa2va_native.datasets.adapters.video_expressions import DavisExpressions
from sa2va_native.evaluation.clip_metric import ClipMetric

test_dataloader = dict(
    dataset=dict(
        sources=[
            dict(
                kind="clip",
                name="valid",
                dataset=dict(
                    type=DavisExpressions,
                    expressions="data/video_datas/davis17/meta_expressions/valid/meta_expressions.json",
                    image_root="data/video_datas/davis17/valid/JPEGImages",
                    mask_root="data/video_datas/davis17/valid/Annotations",
                ),
            )
        ]
    )
)
test_evaluator = [dict(type=ClipMetric, source="valid")]
