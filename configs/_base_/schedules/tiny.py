"""A hundred optimizer steps of two micro-batches; constant learning rate after a short warm-up."""

from mmengine.optim import LinearLR, OptimWrapper
from mmengine.runner import TestLoop
from torch.optim import AdamW

from projects.sa2va.engine.train_loop import TrainLoop

train_cfg = dict(type=TrainLoop, max_steps=100)
test_cfg = dict(type=TestLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=3e-4, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    accumulative_counts=2,
)
param_scheduler = [dict(type=LinearLR, start_factor=0.1, by_epoch=False, begin=0, end=10)]
