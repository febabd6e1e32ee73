"""Checks the config also in runs that were not started by ``pseudo-gumbel train``."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from sa2va_native.engine.config.config_check import check_config, require_weights, require_whole_towers


@HOOKS.register_module()
class ConfigCheckHook(Hook):
    """Runs the checks that the command line runs, before the first iteration, e.g. under ``xtuner train``.

    Raises:
        ConfigError: naming the first unknown key, or size of the data that is not the model's; or no choice of base
            weights; or a feature cache under ZeRO-3.
    """

    priority = "HIGHEST"

    def before_run(self, runner: Any) -> None:
        check_config(runner.cfg)
        require_weights(runner.cfg)
        require_whole_towers(runner.cfg)
