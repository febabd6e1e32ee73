"""MeViS: valid_u, the part of the validation set whose masks are public; expressions for what moves, several at a time.

Layout: the authors' download, of either version (docs/evaluation.md). Protocol: J, F and J&F, means over a clip's
frames, then over all expressions. The whole validation set and the test set are scored by the authors' server and are
not here.
"""

from sa2va_native.datasets.adapters.video_expressions import VideoExpressions
from sa2va_native.evaluation.clip_metric import ClipMetric

test_dataloader = dict(
    dataset=dict(
        sources=[
            dict(
                kind="clip",
                name="valid",
                dataset=dict(
                    type=VideoExpressions,
                    expressions="data/video_datas/mevis/valid_u/meta_expressions.json",
                    image_root="data/video_datas/mevis/valid_u/JPEGImages",
                    masks="data/video_datas/mevis/valid_u/mask_dict.json",
                ),
            )
        ]
    )
)
test_evaluator = [dict(type=ClipMetric, source="valid")]
