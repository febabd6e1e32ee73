"""RefCOCO+, split by UNC: as RefCOCO, with expressions that may not say where an object is."""

from mmengine.config import read_base

with read_base():
    from .refcoco import *

for _source in test_dataloader["dataset"]["sources"]:
    _source["dataset"].update(root="data/refcoco+")
