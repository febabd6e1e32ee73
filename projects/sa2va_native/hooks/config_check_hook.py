"""Finds misspelt config keys also in runs that `tools/train.py` did not start."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from sa2va_native.engine.config.config_check import check_config, require_weights, require_whole_towers


@HOOKS.register_module()
class ConfigCheckHook(Hook):
    """Runs the checks that the command line runs, before the first iteration, e.g. under ``xtuner train``.

    Raises:
        ConfigError: naming the first unknown key, or size of the data that is not the model's; or nobody chose the base
            weights; or a feature cache under ZeRO-3.
    """

    priority = "HIGHEST"

    def before_run(self, runner: Any) -> None:
        check_config(runner.cfg)
        require_weights(runner.cfg)
        require_whole_towers(runner.cfg)
