"""Finds misspelt config keys also in runs that `tools/train.py` did not start."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from projects.sa2va.engine.config_check import check_config, require_weights


@HOOKS.register_module()
class ConfigCheckHook(Hook):
    """Runs :func:`check_config` and :func:`require_weights` before the first iteration, e.g. under ``xtuner train``.

    Raises:
        ConfigError: naming the first unknown key; or nobody chose the base weights.
    """

    priority = "HIGHEST"

    def before_run(self, runner: Any) -> None:
        check_config(runner.cfg)
        require_weights(runner.cfg)
