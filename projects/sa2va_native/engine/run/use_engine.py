"""With DeepSpeed or without, and in which precision: what the command line, the config and a launcher's default say."""

from __future__ import annotations

import copy
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sa2va_native.engine.config.config_check import require_whole_towers, sa2va_config
from sa2va_native.errors import ConfigError, did_you_mean
from sa2va_native.files.paths import ROOT, resolve

_DEEPSPEED_CONFIGS = ROOT / "configs" / "deepspeed"
#: In full, since the config that a run writes into its work dir is read before anything registers it.
_STRATEGY = "sa2va_native.engine.run.strategy.Sa2VADeepSpeedStrategy"
#: Settings of DeepSpeed that stand elsewhere in a config.
_FROM_THE_CONFIG = ("gradient_accumulation_steps", "train_micro_batch_size_per_gpu", "gradient_clipping")


def use_engine(cfg: Any, name: str | None = None, precision: str | None = None, default: str | None = None) -> str:
    """Settles whether a run uses DeepSpeed, how, and in which precision.

    Args:
        cfg: MMEngine config, changed in place.
        name: what ``--deepspeed`` says, ``"none"`` for a run without; None if it was not given.
        precision: see :func:`use_deepspeed` and :func:`use_precision`; None for what config and json say.
        default: used if neither the command line nor the config names anything.

    Returns:
        a text that says what was settled and where it came from.

    Raises:
        ConfigError: see both.
    """
    own = None if name else (cfg.get("strategy") or {}).get("config")
    if name == "none":
        without_deepspeed(cfg)
    if name == "none" or not (name or own or default):
        if precision is not None:
            use_precision(cfg, precision)
        return f"without DeepSpeed, {'bf16 autocast' if precision == 'bf16' else 'float32'}"
    use_deepspeed(cfg, name or own or str(default), precision)
    source = f"--deepspeed {name}" if name else "strategy of the config" if own else "default of several ranks"
    return f"DeepSpeed {_zero(cfg.strategy.config)} ({source})"


def without_deepspeed(cfg: Any) -> None:
    """Takes the strategy out of a config, so that MMEngine's plain runner runs it."""
    if is_settled(cfg):  # as in the config that a run writes into its work dir
        wrapper = dict(optimizer_settings(cfg), accumulative_counts=cfg.strategy.get("gradient_accumulation_steps", 1))
        if max_norm := cfg.strategy.get("gradient_clipping"):
            wrapper["clip_grad"] = dict(max_norm=max_norm)
        cfg.optim_wrapper = dict(type="OptimWrapper", **wrapper)
        _settle_model_type(cfg, bf16=False)
    for key in ("strategy", "runner_type"):
        cfg.pop(key, None)


def use_precision(cfg: Any, precision: str) -> None:
    """Sets the precision of a run without DeepSpeed: ``"bf16"`` is autocast over float32 weights.

    Raises:
        ConfigError: bf16 without a GPU, which MMEngine's autocast wrapper needs.
    """
    from sa2va_native.parallel.process_group import has_cuda

    if precision == "fp32":
        cfg.optim_wrapper.type = "OptimWrapper"
        cfg.optim_wrapper.pop("dtype", None)
        return
    if not has_cuda():
        raise ConfigError("--precision bf16 without a GPU needs DeepSpeed: add --deepspeed zero2, or use fp32.")
    cfg.optim_wrapper.update(type="AmpOptimWrapper", dtype="bfloat16")


def use_deepspeed(cfg: Any, name: str | dict[str, Any], precision: str | None = None) -> None:
    """Makes a config run under DeepSpeed, with our strategy.

    Accumulation, gradient clipping and batch size come from ``optim_wrapper`` and ``train_dataloader``; the strategy's
    other arguments, except its ``config``, from the config's own strategy if it has one.

    Args:
        cfg: MMEngine config, changed in place.
        name: ``zero1``, ``zero2``, ``zero3``, ``zero2_offload`` or ``zero3_offload`` of configs/deepspeed, or a json
            file, or DeepSpeed's settings themselves.
        precision: ``"bf16"`` (with float32 master weights) or ``"fp32"``; None for what the json says.

    Raises:
        ConfigError: no such json, it contradicts the config, it is without ZeRO, it is ZeRO-3 and the model has a
            feature cache, or DeepSpeed does not support the config's gradient clipping, or is not installed.
    """
    if find_spec("deepspeed") is None:
        raise ConfigError(f"--deepspeed {name}: the package deepspeed is not installed. Add --deepspeed none.")
    settings = _read_json(name) if isinstance(name, str) else copy.deepcopy(dict(name))
    if precision is not None:
        settings["bf16"] = {"enabled": precision == "bf16"}
        settings.pop("fp16", None)
    else:
        _settle_auto_precision(settings)
    clip = cfg.optim_wrapper.get("clip_grad") or {}
    if clip.get("type", "norm") != "norm" or clip.get("norm_type", 2) != 2:
        raise ConfigError(f"optim_wrapper.clip_grad = {dict(clip)}: DeepSpeed can only clip the norm of order 2.")
    before = cfg.strategy if is_settled(cfg) else {}  # as in the config that a run writes into its work dir
    ours = {
        "gradient_accumulation_steps": cfg.optim_wrapper.get(
            "accumulative_counts", before.get("gradient_accumulation_steps", 1)
        ),
        "train_micro_batch_size_per_gpu": cfg.train_dataloader.get("batch_size", 1),
        "gradient_clipping": clip.get("max_norm", before.get("gradient_clipping", 0.0)),  # 0 is off
    }
    where = name if isinstance(name, str) else "strategy.config"
    for key, value in ours.items():
        if settings.get(key, "auto") not in ("auto", value):
            raise ConfigError(
                f"{where}: {key} is {settings[key]}, but the config says {value}. "
                'Write "auto" there; the config decides.'
            )
    if (stage := settings.get("zero_optimization", {}).get("stage", 0)) not in (1, 2, 3):
        raise ConfigError(
            f"{where}: zero_optimization.stage is {stage}: only ZeRO-1, 2 and 3 can skip a non-finite step. "
            "Choose one of them, or train without DeepSpeed: --deepspeed none."
        )
    if (bf16 := settings.get("bf16", {}).get("enabled", False)) or is_settled(cfg):
        _settle_model_type(cfg, bf16)
    more = {key: value for key, value in (cfg.get("strategy") or {}).items() if key not in (*ours, "type", "config")}
    cfg.strategy = dict(type=_STRATEGY, config=settings, **{"exclude_frozen_parameters": True, **more, **ours})
    cfg.optim_wrapper = dict(type="DeepSpeedOptimWrapper", **optimizer_settings(cfg))
    cfg.runner_type = "FlexibleRunner"
    require_whole_towers(cfg)


def settle_runner(runner: Any) -> None:
    """Settles DeepSpeed for a runner that was built from an unchanged config, e.g. by ``xtuner train``.

    Before the model is built: its type under bf16 is settled too.
    """
    cfg = runner.cfg
    if (cfg.get("strategy") or {}).get("config") and not is_settled(cfg):
        use_deepspeed(cfg, cfg.strategy.config)
        ours = {key: value for key, value in cfg.strategy.items() if key in _FROM_THE_CONFIG}
        runner.strategy.config.update({**cfg.strategy.config.to_dict(), **ours})
        runner.optim_wrapper, runner.model = cfg.optim_wrapper, cfg.model


def is_settled(cfg: Any) -> bool:
    """Whether DeepSpeed's optimizer wrapper has already replaced the config's own."""
    wrapper = (cfg.get("optim_wrapper") or {}).get("type")  # a config for evaluation alone has none
    return bool(cfg.get("strategy")) and getattr(wrapper, "__name__", wrapper) == "DeepSpeedOptimWrapper"


def optimizer_settings(cfg: Any) -> dict[str, Any]:
    """What ``cfg.optim_wrapper`` says about the optimizer and its parameter groups, with or without DeepSpeed."""
    settings = {
        key: cfg.optim_wrapper[key] for key in ("optimizer", "constructor", "paramwise_cfg") if key in cfg.optim_wrapper
    }
    if isinstance(
        constructor := settings.get("constructor"), type
    ):  # by name, as a config that is written has no classes
        settings["constructor"] = f"{constructor.__module__}.{constructor.__qualname__}"
    return settings


def deepspeed_file(name: str) -> Path:
    """The json that a name of configs/deepspeed or a path means.

    Raises:
        ConfigError: there is none.
    """
    if (file := resolve(name)).is_file():
        return file
    ours = {file.stem: file for file in sorted(_DEEPSPEED_CONFIGS.glob("*.json"))}
    if name.removeprefix("deepspeed_") in ours:
        return ours[name.removeprefix("deepspeed_")]
    raise ConfigError(f"--deepspeed {name}: no such json. {did_you_mean(name, ours)}")


def _read_json(name: str) -> dict[str, Any]:
    file = deepspeed_file(name)
    try:
        settings = json.loads(file.read_text("utf-8"))
    except ValueError as error:  # of the text, or of its encoding
        raise ConfigError(f"--deepspeed {file}: not JSON ({error}).") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"--deepspeed {file}: expected a JSON object with DeepSpeed's settings.")
    return settings


def _settle_model_type(cfg: Any, bf16: bool) -> None:
    """Builds the model in bf16, as DeepSpeed would convert it only after building everything in float32; or not."""
    if (model := sa2va_config(cfg)) is not None:
        model.update(dtype="bfloat16") if bf16 else model.pop("dtype", None)


def _settle_auto_precision(settings: dict[str, Any]) -> None:
    """Decides what ``"enabled": "auto"`` of ``bf16`` and ``fp16`` means here: bf16 if the machine has it, else fp16."""
    asked = [name for name in ("bf16", "fp16") if settings.get(name, {}).get("enabled") == "auto"]
    if not asked:
        return
    import torch

    from sa2va_native.parallel.process_group import has_cuda

    able = {"bf16": not has_cuda() or torch.cuda.is_bf16_supported(), "fp16": has_cuda()}
    for name in asked:
        settings[name]["enabled"] = able[name]
    if settings.get("bf16", {}).get("enabled") and "fp16" in settings:
        settings["fp16"]["enabled"] = False


def _zero(settings: Any) -> str:
    kind = next((kind for kind in ("bf16", "fp16") if settings.get(kind, {}).get("enabled")), None)
    precision = f"{kind} over float32 master weights" if kind else "float32"
    return f"ZeRO-{settings.get('zero_optimization', {}).get('stage', 0)}, {precision}"
