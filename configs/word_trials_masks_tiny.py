"""Word trials from masks alone. The method is that of word_trials_masks_4b; all else is that of word_trials_tiny."""

from mmengine.config import read_base

with read_base():
    from .word_trials_tiny import *
    from .word_trials_tiny import model as _word_trials_tiny
    from .word_trials_masks_4b import model

model["sa2va"] = _word_trials_tiny["sa2va"]
_sources = train_dataloader["dataset"]["sources"]
train_dataloader["dataset"]["sources"] = [source for source in _sources if source["kind"] == "cycle"]
train_dataloader["batch_sampler"]["pattern"] = ("cycle",)
