"""The hook hands the runner's config to the check."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sa2va_native.errors import ConfigError
from sa2va_native.hooks.config_check_hook import ConfigCheckHook


def test_a_misspelt_key_ends_the_run_before_it_begins() -> None:
    with pytest.raises(ConfigError, match="trian_cfg"):
        ConfigCheckHook().before_run(SimpleNamespace(cfg={"trian_cfg": {}}))
