"""From the hidden state at ``[SEG]`` to a prompt for SAM 2."""

from __future__ import annotations

from torch import nn


def build_seg_head(hidden_size: int, prompt_size: int) -> nn.Sequential:
    """``text_hidden_fcs`` of Sa2VA: Linear(D, D), ReLU, Linear(D, prompt_size)."""
    return nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, prompt_size))
