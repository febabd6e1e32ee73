"""DeepSpeed ZeRO-2: gradients and optimizer states are split over the ranks; bf16 over float32 master weights.

``config`` is a name of configs/deepspeed or a json. What it calls "auto" stands elsewhere in the config: batch size in
``train_dataloader``, accumulation and clipping in ``optim_wrapper``. ``--deepspeed NAME`` takes another one, and
``--deepspeed none`` does without.
"""

from mmengine.runner import FlexibleRunner

from sa2va_native.engine.run.strategy import Sa2VADeepSpeedStrategy

runner_type = FlexibleRunner
strategy = dict(type=Sa2VADeepSpeedStrategy, config="zero2", exclude_frozen_parameters=True)
