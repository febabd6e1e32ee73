"""An alarm speaks once in a stretch."""

from __future__ import annotations

import pytest

from pseudo_gumbel.hooks.alarm import Alarm
from sa2va_native.errors import ConfigError

FIGURES = [0.4, 0.5, 0.52, 0.9, 0.48, 0.51, 0.44, 0.6]
FIRST = [False, False, True, False, False, False, False, True]


def test_it_speaks_once_and_again_only_after_recovery() -> None:
    """Red when each figure of a stretch is told, when one at the threshold is, or one that hovers about it twice."""
    alarm = Alarm(0.5, "{figure:.2f} of {threshold:.2f}", "Hook.share")
    told = [alarm.check(figure) for figure in FIGURES]
    assert [text is not None for text in told] == FIRST
    assert told[2] == "0.52 of 0.50"


def test_figures_that_should_be_high_are_watched_from_below() -> None:
    """The same stretch upside down. Red when the direction is ignored, or recovery is looked for below."""
    alarm = Alarm(0.5, "low", "Hook.share", too_low=True)
    assert [alarm.check(1 - figure) is not None for figure in FIGURES] == FIRST


def test_a_threshold_that_is_no_share_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Hook.share=50: a share, 0..1; 1 never warns"):
        Alarm(50, "", "Hook.share")
