"""A hundred optimizer steps of two micro-batches; constant learning rate after a short warm-up."""

from mmengine.optim import LinearLR, OptimWrapper
from torch.optim import AdamW

from sa2va_native.engine.run.cycle_test_loop import CycleTestLoop
from sa2va_native.engine.run.quiet_constructor import QuietOptimWrapperConstructor
from sa2va_native.engine.run.train_loop import TrainLoop

train_cfg = dict(type=TrainLoop, max_steps=100)
test_cfg = dict(type=CycleTestLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    constructor=QuietOptimWrapperConstructor,
    # Softmax attention ignores a key bias: its gradient is rounding noise alone, about 1e-8, which Adam with its
    # default eps of 1e-8 would turn into full steps that differ between numbers of ranks.
    optimizer=dict(type=AdamW, lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05, eps=1e-6),
    clip_grad=dict(max_norm=1.0),
    accumulative_counts=2,
)
param_scheduler = [dict(type=LinearLR, start_factor=0.1, by_epoch=False, begin=0, end=10)]
