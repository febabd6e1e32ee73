"""The bare model, whatever wraps it."""

from __future__ import annotations

from torch import nn


def unwrap_model(model: object) -> nn.Module:
    """The bare model inside DistributedDataParallel, a DeepSpeed engine or MMEngine's wrapper of one.

    ``mmengine.model.is_model_wrapper`` does not know ``MMDeepSpeedEngineWrapper``, which is not even a module.

    Args:
        model: ``runner.model``.

    Raises:
        TypeError: no module is found inside ``model``.
    """
    if type(model).__name__ == "MMDeepSpeedEngineWrapper":
        model = model.model  # type: ignore[attr-defined]  # the DeepSpeed engine
    # Only wrappers are entered: a bare model may well have a submodule called "module".
    while type(model).__name__ in _WRAPPERS or _is_registered_wrapper(model):
        model = model.module  # type: ignore[attr-defined]
    if not isinstance(model, nn.Module):
        raise TypeError(f"no torch module inside {type(model).__name__}; pass runner.model")
    return model


_WRAPPERS = {"DeepSpeedEngine", "DistributedDataParallel", "DataParallel"}


def _is_registered_wrapper(model: object) -> bool:
    from mmengine.model import is_model_wrapper

    return isinstance(model, nn.Module) and is_model_wrapper(model)
