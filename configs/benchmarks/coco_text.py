"""A COCO json of one's own whose annotations have a ``caption``: as benchmark ``own``.

Layout: data/coco_text/instances.json and data/coco_text/images/ (docs/data/coco.md).
"""

from mmengine.config import read_base

with read_base():
    from .own import *

from sa2va_native.datasets.adapters.coco import CocoInstances

for _source in test_dataloader["dataset"]["sources"]:
    _source["dataset"] = dict(
        type=CocoInstances,
        ann_file="data/coco_text/instances.json",
        image_root="data/coco_text/images",
        text_key="caption",
    )
