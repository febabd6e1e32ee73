"""Everything of a run that is not model, data or schedule. Intervals are optimizer steps."""

from mmengine.hooks import DistSamplerSeedHook, IterTimerHook, RuntimeInfoHook
from mmengine.runner import LogProcessor
from mmengine.visualization import TensorboardVisBackend, Visualizer

from sa2va_native.hooks.bad_samples_hook import BadSamplesHook
from sa2va_native.hooks.checkpoint_hook import StepCheckpointHook
from sa2va_native.hooks.config_check_hook import ConfigCheckHook
from sa2va_native.hooks.hang_watch_hook import HangWatchHook
from sa2va_native.hooks.logger_hook import StepLoggerHook
from sa2va_native.hooks.non_finite_loss_hook import NonFiniteLossHook
from sa2va_native.hooks.param_scheduler_hook import StepParamSchedulerHook
from sa2va_native.hooks.random_state_hook import RandomStateHook
from sa2va_native.hooks.unknown_words_hook import UnknownWordsHook

default_hooks = dict(
    runtime_info=dict(type=RuntimeInfoHook),
    timer=dict(type=IterTimerHook),
    sampler_seed=dict(type=DistSamplerSeedHook),
    logger=dict(type=StepLoggerHook, interval=10),
    param_scheduler=dict(type=StepParamSchedulerHook),
    checkpoint=dict(type=StepCheckpointHook, interval=500, max_keep_ckpts=3),
    random_state=dict(type=RandomStateHook),
    non_finite=dict(type=NonFiniteLossHook, patience=3),
    config_check=dict(type=ConfigCheckHook),
    bad_samples=dict(type=BadSamplesHook),
    unknown_words=dict(type=UnknownWordsHook),
    hang_watch=dict(type=HangWatchHook, minutes=9),
)
custom_hooks = []

visualizer = dict(type=Visualizer, vis_backends=[dict(type=TensorboardVisBackend)])
log_processor = dict(type=LogProcessor, by_epoch=False, window_size=10)
log_level = "INFO"

env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0))
randomness = dict(seed=0)
# For ranks without DeepSpeed: SAM 2's heads for IoU and object score take no part in a loss.
find_unused_parameters = True
load_from = None
resume = False
