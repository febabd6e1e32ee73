"""A threshold that speaks once."""

from __future__ import annotations

from sa2va_native.errors import ConfigError


class Alarm:
    """Tells when a figure crosses its threshold, and not again before the figure has recovered.

    It has recovered a tenth of the threshold away from it, so that a figure that hovers there is told once.

    Args:
        threshold: crossed when a figure is beyond it, 0..1.
        too_low: whether figures below the threshold are the bad ones.
        message: with ``{figure}`` and ``{threshold}``.
        option: name of the threshold in the config, for the error.

    Raises:
        ConfigError: a threshold outside 0..1.
    """

    def __init__(self, threshold: float, message: str, option: str, too_low: bool = False) -> None:
        if not 0 <= threshold <= 1:
            raise ConfigError(f"{option}={threshold}: a share, 0..1; {int(not too_low)} never warns")
        self.threshold, self.message, self.too_low = threshold, message, too_low
        self.raised = False

    def check(self, figure: float) -> str | None:
        """The message if this figure is the first of a stretch beyond the threshold."""
        sign = -1 if self.too_low else 1
        if sign * (figure - self.threshold) > 0:
            first, self.raised = not self.raised, True
            return self.message.format(figure=figure, threshold=self.threshold) if first else None
        if sign * (figure - self.threshold) <= -0.1 * self.threshold:
            self.raised = False
        return None
