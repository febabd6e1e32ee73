"""DeepSpeed ZeRO-2: gradients and optimizer states are split over the ranks; bf16 over float32 master weights.

``config`` is a name of configs/deepspeed or a json. Its "auto" values come from the rest of the config: the batch size
from ``train_dataloader``, accumulation and clipping from ``optim_wrapper``. ``--deepspeed NAME`` picks another one,
and ``--deepspeed none`` trains without DeepSpeed.
"""

from mmengine.runner import FlexibleRunner

from sa2va_native.engine.run.strategy import Sa2VADeepSpeedStrategy

runner_type = FlexibleRunner
strategy = dict(type=Sa2VADeepSpeedStrategy, config="zero2", exclude_frozen_parameters=True)
