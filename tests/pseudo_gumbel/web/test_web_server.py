"""What the page's server settles before it starts."""

from __future__ import annotations

import os
import sys

import pytest

from pseudo_gumbel.web.server import require_gradio
from sa2va_native.errors import ConfigError


def test_a_missing_gradio_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when ``demo`` without the extra ends in a traceback, a proxy is asked for the page, or analytics are on."""
    for name in ("NO_PROXY", "no_proxy", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "inner.example" if name == "no_proxy" else "")
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ConfigError, match=r"pip install --no-deps -r requirements/web\.txt"):
        require_gradio()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "inner.example,127.0.0.1,localhost"
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
