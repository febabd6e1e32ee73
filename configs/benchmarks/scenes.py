"""Generated scenes: expressions, and captions whose colour, shape, size and texture are known to be right or wrong.

Written to the cache folder at first use. ``test`` has the words and combinations of training, ``test_heldout`` some
that training never shows (docs/data/generated_scenes.md).
"""

from sa2va_native.datasets.adapters.scenes import SceneExpressions, SceneMasks
from sa2va_native.evaluation.cycle_metric import CycleMetric
from sa2va_native.evaluation.referring_metric import ReferringMetric
from sa2va_native.evaluation.scene_caption_metric import SceneCaptionMetric

test_dataloader = dict(
    dataset=dict(
        sources=[
            dict(kind=kind, name=name, max_samples=300, dataset=dict(type=adapter, split=name))
            for name in ("test", "test_heldout")
            for kind, adapter in (("refer", SceneExpressions), ("cycle", SceneMasks))
        ]
    )
)
test_evaluator = [
    dict(type=metric, source=name)
    for name in ("test", "test_heldout")
    for metric in (ReferringMetric, CycleMetric, SceneCaptionMetric)
]
