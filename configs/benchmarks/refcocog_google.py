"""RefCOCOg, split by Google: val, some of whose pictures are in its train too, unlike those of UMD's split.

Layout and protocol are RefCOCO's. Of papers on masks, few report it.
"""

from mmengine.config import read_base

with read_base():
    from .refcocog import *

_sources = test_dataloader["dataset"]["sources"] = test_dataloader["dataset"]["sources"][:1]
_sources[0]["dataset"].update(split_by="google")
test_evaluator = [metric for metric in test_evaluator if metric["source"] == "val"]
