"""ReVOS: valid; expressions that refer to an object, and those that need reasoning, apart.

Layout: Sa2VA's download, which is the authors' without their folder ``JPEGImages`` around the frames
(docs/evaluation.md). Protocol: J, F and J&F, means over a clip's frames, then over the expressions of a source. The
authors' overall figures are the means of both sources'. Expressions without a target (type_id 2) are in neither;
robustness is not here.
"""

from mmengine.config import read_base

with read_base():
    from .mevis import *

_types = dict(referring=0, reasoning=1)

test_dataloader["dataset"]["sources"] = [
    dict(
        kind="clip",
        name=name,
        dataset=dict(
            type=VideoExpressions,
            expressions="data/video_datas/revos/meta_expressions_valid_.json",
            image_root="data/video_datas/revos",
            masks="data/video_datas/revos/mask_dict.json",
            type_id=type_id,
        ),
    )
    for name, type_id in _types.items()
]
test_evaluator = [dict(type=ClipMetric, source=name) for name in _types]
