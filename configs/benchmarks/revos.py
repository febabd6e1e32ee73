"""ReVOS: valid; expressions that refer or need reasoning, some without a target.

Layout: the authors' download (docs/evaluation.md). Protocol: J, F and J&F, means over a clip's frames, then over all
expressions. The authors also report referring and reasoning apart, and robustness, which are not here.
"""

from mmengine.config import read_base

with read_base():
    from .mevis import *

test_dataloader["dataset"]["sources"][0]["dataset"].update(
    expressions="data/video_datas/revos/meta_expressions_valid_.json",
    image_root="data/video_datas/revos",
    masks="data/video_datas/revos/mask_dict.json",
)
