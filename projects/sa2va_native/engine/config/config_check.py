"""A misspelt key in a config is an error before anything is built, not an option that silently has no effect."""

from __future__ import annotations

import importlib
import inspect
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from mmengine import registry
from mmengine.registry import Registry

from sa2va_native.engine.config.packages import package_problems
from sa2va_native.engine.config.sizes import size_problems
from sa2va_native.engine.config.values import value_problems
from sa2va_native.errors import ConfigError, did_you_mean

#: Top-level keys that XTuner's tools or ours read, besides the arguments of MMEngine's runners.
_TOOL_KEYS = {
    "runner_type",
    "sequence_parallel_size",
    "framework",
    "use_varlen_attn",
    "init_weights_for_test_or_val",
    "model_wrapper_cfg",
    "find_unused_parameters",
    "activation_checkpointing",
    "efficient_conv_bn_eval",
    "compile",
    "sync_bn",
    "custom_imports",
}
#: Keys that a builder takes out of a dict before its class sees them.
_BUILDER_KEYS = {"type", "_scope_", "_delete_"}
_HOOK_KEYS = {"priority"}
_STRATEGY_KEYS = {"sequence_parallel_size"}  # `xtuner train --deepspeed` sets it; its class takes it out of **kwargs
_DATALOADER_KEYS = {"num_batch_per_epoch"}
_SCHEDULER_KEYS = {"convert_to_iter_based"}
_OPTIM_WRAPPER_KEYS = {"optimizer", "constructor", "paramwise_cfg"}


def check_config(cfg: Any) -> None:
    """Refuses unknown keys anywhere in a config, numbers that cannot work, choices whose package is not installed,
    and sizes of the data that are not the model's.

    Top-level keys are those of MMEngine's runners and XTuner; a variable that only helps to write the config
    starts with an underscore. In every dict with a ``type``, each key must be a parameter of that class or function.

    Args:
        cfg: MMEngine ``Config`` or dict.

    Raises:
        ConfigError: naming the path of the key, its value and the nearest known name.
    """
    for problem in config_problems(cfg):
        raise ConfigError(problem)


def check_model(cfg: Any) -> None:
    """The same of ``cfg.model`` alone, without importing runners, which takes seconds; for those who only ask a model.

    Raises:
        ConfigError: see :func:`check_config`.
    """
    plain = {"model": _plain(cfg).get("model")}
    if not isinstance(plain["model"], dict):
        raise ConfigError("the config has no model; inherit one, or choose another config.")
    typed = _typed_dicts(plain["model"], "model")
    unknown = (problem for path, entry in typed for problem in _problems_of_dict(path, entry))
    for problem in itertools.chain(unknown, value_problems(plain), package_problems(plain)):
        raise ConfigError(problem)


def config_problems(cfg: Any) -> Iterator[str]:
    """Every unknown key of a config, every value and every size that does not fit; see :func:`check_config`."""
    plain = _plain(cfg)
    problems = [*_unknown_keys(plain), *value_problems(plain), *package_problems(plain)]
    yield from problems
    if not problems and (found := find_sa2va_config(cfg)):
        path, model = found
        yield from size_problems(cfg, model, path, resolve_type)


def _unknown_keys(cfg: dict[str, Any]) -> Iterator[str]:
    known = _top_level_keys()
    for key, value in cfg.items():
        if key.startswith("_"):
            continue
        if key not in known:
            yield (
                f"config key {key} = {_short(value)} is unknown. {did_you_mean(key, known)} A helper variable must "
                "start with an underscore."
            )
            continue
        yield from _problems_of_untyped(key, value)
        for path, entry in _typed_dicts(value, key):
            yield from _problems_of_dict(path, entry)


def parameters_of(target: Callable) -> set[str] | None:
    """The keywords that a class or function takes; None when it takes any.

    ``**kwargs`` of a constructor are followed to the next constructor up the inheritance, or to the config class of
    transformers that the class names as its ``keywords_of``.
    """
    if not inspect.isclass(target):
        parameters = inspect.signature(target).parameters.values()
        return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else {p.name for p in parameters}
    if config := getattr(target, "keywords_of", None):
        # transformers 5 writes its config classes as dataclasses, whose constructors take anything.
        return {*inspect.signature(config).parameters, *getattr(config, "__dataclass_fields__", ())}
    names: set[str] = set()
    for cls in target.__mro__:
        if "__init__" not in vars(cls):
            continue
        if cls is object:
            return names
        parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} - {"self"}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names
    return None


def sa2va_config(cfg: Any) -> Any | None:
    """The dict in ``cfg.model`` that :class:`sa2va_native.models.Sa2VA` is built from; None if there is none.

    It is the same object, so that changes to it change the config.
    """
    found = find_sa2va_config(cfg)
    return found[1] if found else None


def find_sa2va_config(cfg: Any) -> tuple[str, Any] | None:
    """The same with its place in the config, e.g. ``"model.sa2va"``, at any depth."""
    from sa2va_native.models.sa2va import Sa2VA

    for path, entry in _typed_dicts(cfg.get("model"), "model"):
        found = resolve_type(entry["type"])
        if inspect.isclass(found) and issubclass(found, Sa2VA):
            return path, entry
    return None


def require_weights(cfg: Any) -> None:
    """Refuses a model without a choice of base weights: training random ones could go unnoticed for days.

    Raises:
        ConfigError: the config of Sa2VA has no key ``weights``; ``weights=None`` is a choice.
    """
    model = sa2va_config(cfg)
    if model is not None and "weights" not in model:
        raise ConfigError(
            "no base weights: this config names none and would train random ones. Give them with "
            "--weights InternVL2_5-4B sam2_hiera_large.pt, or in the environment variable SA2VA_WEIGHTS "
            f"('{os.pathsep}' between paths); docs/checkpoints.md says where they come from. To train random weights, "
            "e.g. to try shapes and memory, use --weights none."
        )


def require_whole_towers(cfg: Any) -> None:
    """Refuses a feature cache under ZeRO-3, where a tower runs on all ranks or on none.

    Raises:
        ConfigError: the config has both.
    """
    settings = (cfg.get("strategy") or {}).get("config")
    stage = settings.get("zero_optimization", {}).get("stage") if isinstance(settings, dict) else None
    model = sa2va_config(cfg)
    if model and model.get("feature_cache") and stage == 3:
        raise ConfigError(
            f"feature_cache = {_short(dict(model['feature_cache']))} under ZeRO-3: ranks that find their pictures "
            "would not take part in gathering the towers' weights. Use --deepspeed zero2, or feature_cache=None."
        )


def _problems_of_dict(path: str, entry: dict) -> Iterator[str]:
    try:
        target = resolve_type(entry["type"])
    except Exception as error:  # importing its module may raise anything
        yield (
            f"{path}.type = {entry['type']!r} cannot be imported ({type(error).__name__}: {error}). Put its module "
            "next to the config, or its folder on PYTHONPATH."
        )
        return
    if not callable(target):
        yield (
            f"{path}.type = {entry['type']!r} is not registered and cannot be imported. Import the class in the "
            "config and give the class itself."
        )
        return
    if target is dict:
        return
    known = parameters_of(target)
    if known is None:
        return
    known = known | _extra_keys(path, target)
    name = getattr(target, "__name__", str(target))
    yield from _problems_of_parts(path, entry, target, name)
    for key, value in entry.items():
        if key not in known:
            near = did_you_mean(key, known - _BUILDER_KEYS) if known - _BUILDER_KEYS else "It takes no options."
            yield f"config key {path}.{key} = {_short(value)}: {name} has no parameter '{key}'. {near}"


def _problems_of_parts(path: str, entry: dict, target: Callable, name: str) -> Iterator[str]:
    """What is not a dict where a class takes the config of a part, as its annotations say."""
    function: Callable = target.__init__ if inspect.isclass(target) else target
    for key, parameter in inspect.signature(function).parameters.items():
        kind = str(parameter.annotation)  # a text in our own modules, as in this one
        if key not in entry or not kind.startswith("dict["):
            continue
        value = entry[key]
        if not isinstance(value, dict) and not (value is None and "None" in kind):
            yield f"config key {path}.{key} = {_short(value)}: {name} takes a dict there, as in configs/_base_."


def _extra_keys(path: str, target: Callable) -> set[str]:
    extra = set(_BUILDER_KEYS)
    if path == "strategy":
        extra |= _STRATEGY_KEYS
    if "hooks" in path:
        extra |= _HOOK_KEYS
    if "scheduler" in path:
        extra |= _SCHEDULER_KEYS
    if path.startswith("optim_wrapper") and path.count(".") == 0:
        extra |= _OPTIM_WRAPPER_KEYS
    return extra


def _problems_of_untyped(key: str, value: Any) -> Iterator[str]:
    """The problems of dicts without a ``type``, whose class the runner knows."""
    from mmengine.runner import LogProcessor, Runner, set_random_seed
    from torch.utils.data import DataLoader

    if not isinstance(value, dict) or "type" in value:
        return
    if key.endswith("_dataloader"):
        known = (parameters_of(DataLoader) or set()) | _DATALOADER_KEYS
    elif key == "randomness":
        known = parameters_of(set_random_seed) or set()
    elif key == "env_cfg":
        known = (parameters_of(Runner.setup_env) or set()) | {"cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"}
        known -= {"self", "env_cfg"}
    elif key == "log_processor":
        known = parameters_of(LogProcessor) or set()
    elif key == "optim_wrapper":
        from mmengine.optim import OptimWrapper

        known = (parameters_of(OptimWrapper) or set()) | _OPTIM_WRAPPER_KEYS
    else:
        return
    for name, entry in value.items():
        if name not in known:
            yield f"config key {key}.{name} = {_short(entry)} is unknown. {did_you_mean(name, known)}"


def _typed_dicts(value: Any, path: str) -> Iterator[tuple[str, dict]]:
    if isinstance(value, dict):
        if "type" in value:
            yield path, value
        for key, entry in value.items():
            yield from _typed_dicts(entry, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, entry in enumerate(value):
            yield from _typed_dicts(entry, f"{path}[{index}]")


@lru_cache
def _top_level_keys() -> frozenset[str]:
    from mmengine.runner import FlexibleRunner, Runner

    arguments = {name for cls in (Runner, FlexibleRunner) for name in inspect.signature(cls.__init__).parameters}
    return frozenset((arguments | _TOOL_KEYS) - {"self", "cfg"})


def resolve_type(type_: Any) -> Callable | None:
    """The class or function behind a ``type``: itself, a lazy import, a dotted path, or a registered name.

    Raises:
        Exception: whatever importing its module raises, e.g. that it does not exist.
    """
    if type(type_).__name__ in ("LazyObject", "LazyAttr"):
        type_ = type_.build()
    if not isinstance(type_, str):
        return type_
    if "." in type_:
        module, _, name = type_.rpartition(".")
        return getattr(importlib.import_module(module), name, None)
    return next((found for one in _registries() if (found := one.get(type_)) is not None), None)


def _registries() -> list[Registry]:
    """MMEngine's own, then those of every module called ``registry``, as MMEngine's projects have."""
    modules = [registry, *(module for name, module in list(sys.modules.items()) if name.endswith(".registry"))]
    return [one for module in modules for one in vars(module).values() if isinstance(one, Registry)]


def _plain(cfg: Any) -> dict[str, Any]:
    return cfg.to_dict() if hasattr(cfg, "to_dict") else dict(cfg)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
