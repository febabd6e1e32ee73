"""ReVOS: valid; expressions that refer or need reasoning, some without a target.

Layout: the authors' download (docs/evaluation.md). Protocol: J, F and J&F, means over a clip's frames, then over all
expressions. The authors also report referring and reasoning apart, and robustness, which are not here.
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
                    expressions="data/video_datas/revos/meta_expressions_valid_.json",
                    image_root="data/video_datas/revos",
                    masks="data/video_datas/revos/mask_dict.json",
                ),
            )
        ]
    )
)
test_evaluator = [dict(type=ClipMetric, source="valid")]
