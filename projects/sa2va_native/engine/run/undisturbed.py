"""Training goes on after an evaluation as if there had been none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

from sa2va_native.models.feature_cache import FeatureCache
from sa2va_native.randomness.states import get_random_state, set_random_state


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Keeps what is done inside the context from changing how ``model`` is trained after it.

    A data loader draws from torch's random state, and dropout would go on from another one: the random states of this
    rank are put back. A feature cache would keep features that were computed in batches of another size, whose last
    bits differ: it stores nothing meanwhile. The train loop sets modes at each micro-batch.
    """
    states = get_random_state()
    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(cache := getattr(module, "feature_cache", None), FeatureCache):
                stack.enter_context(cache.read_only())
        try:
            yield
        finally:
            set_random_state(states)
