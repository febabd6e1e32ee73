"""The EMA teacher: a float32 average of the trained parameters, which replaces the student's while it captions."""

from __future__ import annotations

import torch

from pseudo_gumbel.shadow import Shadow
from sa2va_native.parallel.parameters import without_padding
from sa2va_native.parallel.shares import own_share


class EMATeacher(Shadow):
    """Exponential moving average of the trained parameters, by name.

    It is float32 whatever the student's type: in bfloat16 an average with decay 0.999 never moves.
    """

    role = "EMA teacher"

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """``shadow = decay * shadow + (1 - decay) * student``. Local to the rank, no collective.

        Args:
            decay: share of the teacher that is kept, in [0, 1]; 1 leaves it, 0 copies the student.
        """
        for name, param in self.params.items():  # one by one: a float32 copy of the whole student would be large
            self.shadow[name].lerp_(own_share(param).float(), 1.0 - decay)

    @torch.no_grad()
    def distance(self) -> torch.Tensor:
        """Relative L2 distance ``|student - teacher| / |teacher|``, a scalar. A collective under ZeRO."""
        apart, length = [], []
        for name, param in self.params.items():
            shadow = without_padding(param, self.shadow[name])
            apart.append((without_padding(param, own_share(param)).float() - shadow).norm())
            length.append(shadow.norm())
        squares = torch.stack([torch.stack(apart).square().sum(), torch.stack(length).square().sum()])
        if self.is_shared_out:
            torch.distributed.all_reduce(squares)
        return (squares[0] / squares[1].clamp_min(1e-30)).sqrt()
