"""Linear warm-up, then a cosine down to zero at the run's last step. All numbers count optimizer steps."""

from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from torch.optim import AdamW

from sa2va_native.engine.run.cycle_test_loop import CycleTestLoop
from sa2va_native.engine.run.quiet_constructor import QuietOptimWrapperConstructor
from sa2va_native.engine.run.train_loop import TrainLoop

_warm_up = 150

train_cfg = dict(type=TrainLoop, max_steps=5000)
test_cfg = dict(type=CycleTestLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    constructor=QuietOptimWrapperConstructor,
    optimizer=dict(type=AdamW, lr=1e-5, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0),
    accumulative_counts=4,
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.01, by_epoch=False, begin=0, end=_warm_up),
    dict(type=CosineAnnealingLR, eta_min=0.0, by_epoch=False, begin=_warm_up),
]
