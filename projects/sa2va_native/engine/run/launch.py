"""Builds a run from a config file and command-line options; shared by the commands."""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sa2va_native.engine.config.config_check import check_config, require_weights, require_whole_towers, sa2va_config
from sa2va_native.engine.config.find_config import find_config
from sa2va_native.engine.config.options import merge_options
from sa2va_native.engine.config.reading import read_file
from sa2va_native.errors import ConfigError, Sa2VAError, did_you_mean
from sa2va_native.files.paths import ROOT, resolve

_DEEPSPEED_CONFIGS = ROOT / "configs" / "deepspeed"
#: Settings of DeepSpeed that come from elsewhere in a config.
_FROM_THE_CONFIG = ("gradient_accumulation_steps", "train_micro_batch_size_per_gpu", "gradient_clipping")
_WEIGHTS_VARIABLE = "SA2VA_WEIGHTS"
#: Messages of gloo in a rank that waits for one that has exited.
_PEER_IS_GONE = ("Connection closed by peer", "Connection reset by peer")


def load_config(path: str, options: dict[str, Any] | None = None, work_dir: str | None = None) -> Any:
    """:func:`read_config`, with its keys checked.

    Raises:
        ConfigError: the file is missing or cannot be read, or a key is unknown, or sizes of data and model differ.
    """
    cfg = read_config(path, options, work_dir)
    check_config(cfg)
    return cfg


def read_config(path: str, options: dict[str, Any] | None = None, work_dir: str | None = None) -> Any:
    """Reads a config, applies ``--cfg-options`` and settles the work dir.

    The work dir is, in this order: the argument, the config's ``work_dir``, ``work_dirs/<name of the config>``.
    A relative ``train_dataloader.dataset.report_file`` is put into it.

    Args:
        path: of a config, or the name of a shipped one, see :func:`find_config`.

    Raises:
        ConfigError: there is none, it cannot be read, or an option does not fit it.
    """
    cfg = read_file(find_config(path))
    merge_options(cfg, options or {})
    cfg.work_dir = work_dir or cfg.get("work_dir") or str(Path("work_dirs") / Path(path).stem)
    dataset = cfg.get("train_dataloader", {}).get("dataset", {})
    if report_file := dataset.get("report_file"):
        if not isinstance(report_file, str):
            raise ConfigError(
                f"train_dataloader.dataset.report_file = {report_file}: expected one path. On the command line a comma "
                """makes a list; quotes inside keep it: --cfg-options 'KEY="a,b"'."""
            )
        dataset.report_file = str(Path(cfg.work_dir) / report_file)
    return cfg


def require_writable(work_dir: str) -> None:
    """Makes the work dir and writes to it, before minutes are spent on a model that could not be saved.

    Raises:
        ConfigError: it cannot be made or written to.
    """
    probe = Path(work_dir) / f".writable_{os.getpid()}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"work dir {work_dir} is not writable ({error.strerror}). Choose another one with --work-dir."
        ) from error


def require_ranks(expected: int | None) -> None:
    """Checks that as many processes run as were requested.

    Args:
        expected: None if any number will do.

    Raises:
        ConfigError: fewer or more processes were started, e.g. by a scheduler that gave fewer GPUs.
    """
    from mmengine.dist import infer_launcher

    if expected is None:
        return
    variable = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS", "mpi": "OMPI_COMM_WORLD_SIZE"}.get(infer_launcher())
    started = int(os.environ[variable]) if variable else 1
    if started != expected:
        raise ConfigError(
            f"{expected} ranks were requested and {started} started. Start them with pseudo-gumbel dist-train "
            f"CONFIG {expected}, or ask the scheduler for that many tasks."
        )


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
    for key in ("strategy", "runner_type"):
        cfg.pop(key, None)


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
        ConfigError: no such json, it contradicts the config, it is ZeRO-3 and the model has a feature cache, or
            DeepSpeed does not support the config's gradient clipping.
    """
    import sa2va_native.engine.run.strategy  # noqa: F401  registers it

    settings = json.loads(deepspeed_file(name).read_text()) if isinstance(name, str) else copy.deepcopy(dict(name))
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
    model = sa2va_config(cfg)
    if model is not None and settings.get("bf16", {}).get("enabled"):
        model.dtype = "bfloat16"  # DeepSpeed would convert it, but only after building everything in float32
    more = {key: value for key, value in (cfg.get("strategy") or {}).items() if key not in (*ours, "type", "config")}
    cfg.strategy = dict(
        type="Sa2VADeepSpeedStrategy", config=settings, **{"exclude_frozen_parameters": True, **more, **ours}
    )
    cfg.optim_wrapper = dict(type="DeepSpeedOptimWrapper", **optimizer_settings(cfg))
    cfg.runner_type = "FlexibleRunner"
    require_whole_towers(cfg)


def _settle_auto_precision(settings: dict[str, Any]) -> None:
    """Decides what ``"enabled": "auto"`` of ``bf16`` and ``fp16`` means here: bf16 if the machine has it, else fp16."""
    import torch

    from sa2va_native.parallel.process_group import has_cuda

    able = {"bf16": not has_cuda() or torch.cuda.is_bf16_supported(), "fp16": has_cuda()}
    for name in able.keys() & settings.keys():
        if settings[name].get("enabled") == "auto":
            settings[name]["enabled"] = able[name]
    if settings.get("bf16", {}).get("enabled") and "fp16" in settings:
        settings["fp16"]["enabled"] = False


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


def _zero(settings: Any) -> str:
    kind = next((kind for kind in ("bf16", "fp16") if settings.get(kind, {}).get("enabled")), None)
    precision = f"{kind} over float32 master weights" if kind else "float32"
    return f"ZeRO-{settings.get('zero_optimization', {}).get('stage', 0)}, {precision}"


def is_settled(cfg: Any) -> bool:
    """Whether DeepSpeed's optimizer wrapper has already replaced the config's own."""
    wrapper = cfg.optim_wrapper.get("type")
    return bool(cfg.get("strategy")) and getattr(wrapper, "__name__", wrapper) == "DeepSpeedOptimWrapper"


def optimizer_settings(cfg: Any) -> dict[str, Any]:
    """What ``cfg.optim_wrapper`` says about the optimizer and its parameter groups, with or without DeepSpeed."""
    return {
        key: cfg.optim_wrapper[key] for key in ("optimizer", "constructor", "paramwise_cfg") if key in cfg.optim_wrapper
    }


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


def use_weights(cfg: Any, weights: Sequence[str] | None) -> None:
    """Settles the base weights: ``weights``, else the config's, else the environment variable ``SA2VA_WEIGHTS``.

    Args:
        cfg: MMEngine config, changed in place.
        weights: paths that together hold every part, see :class:`sa2va_native.models.Sa2VA`; ``["none"]`` for random
            weights; None if the command line gives none.

    Raises:
        ConfigError: no weights were chosen, or the config's model takes none.
    """
    model = sa2va_config(cfg)
    if model is None:
        if weights:
            raise ConfigError(
                f"--weights {' '.join(weights)}: cfg.model is not a Sa2VA and takes none. Leave them out."
            )
        return
    if weights:
        model.weights = None if list(weights) == ["none"] else list(weights)
    elif "weights" not in model and (paths := os.environ.get(_WEIGHTS_VARIABLE)):
        model.weights = paths.split(os.pathsep)
    require_weights(cfg)


def use_checkpoint(cfg: Any, resume: str | None, load_from: str | None) -> None:
    """Settles where the weights come from.

    Args:
        cfg: MMEngine config, changed in place.
        resume: path to resume from; ``""`` for the newest complete checkpoint of the work dir (a fresh start if
            there is none); None not to resume.
        load_from: checkpoint to take only the weights from.

    Raises:
        ConfigError: both are given.
        CheckpointError: the checkpoint is missing or damaged.
    """
    from sa2va_native.engine.checkpoints.checkpointing import find_latest_checkpoint, require_checkpoint

    if resume is not None and load_from is not None:
        raise ConfigError(
            "--resume and --load-from exclude each other: one continues a run, the other starts a new one."
        )
    if load_from is not None:
        cfg.load_from, cfg.resume = require_checkpoint(load_from), False
    if resume is not None:
        path = require_checkpoint(resume) if resume else find_latest_checkpoint(cfg.work_dir)
        if path is not None:
            cfg.load_from, cfg.resume = path, True
            return
        print(f"No complete checkpoint in {cfg.work_dir} yet: starting from the beginning.", file=sys.stderr)
        cfg.resume = False


def build_runner(cfg: Any) -> Any:
    """The MMEngine runner of a config; joins the process group first where MMEngine cannot (ranks without a GPU)."""
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from sa2va_native.engine.checkpoints.checkpointing import require_same_engine
    from sa2va_native.engine.checkpoints.weights import load_weights
    from sa2va_native.parallel.process_group import has_cuda, init_cpu_process_group

    start_from = None if cfg.get("resume") else cfg.get("load_from")
    if start_from:
        cfg.load_from = None
    if cfg.get("strategy"):
        if not is_settled(cfg):
            use_engine(cfg)
        if start_from:
            cfg.strategy.load_from = start_from
        return RUNNERS.build(cfg)
    if cfg.get("resume") and cfg.get("load_from"):
        require_same_engine(cfg.load_from, deepspeed=False)
    if cfg.get("launcher", "none") != "none" and not has_cuda():
        init_cpu_process_group(use_deepspeed=False)
        unused = {"find_unused_parameters": cfg.get("find_unused_parameters", False)}
        cfg.model_wrapper_cfg = {**unused, **(cfg.get("model_wrapper_cfg") or {}), "device_ids": None}
    runner = Runner.from_cfg(cfg)
    if start_from:
        load_weights(runner.model, start_from)
    return runner


def run_tool(main: Callable[[], None], debug: bool) -> None:
    """Runs a tool; a known error becomes one line and exit status 1.

    Every rank prints, since the error of a single rank would otherwise be lost. A rank that only notices that another
    one has exited says no more than that.

    Args:
        main: the tool.
        debug: show the traceback instead.
    """
    try:
        main()
    except (Sa2VAError, RuntimeError) as error:
        message = _one_line(error)
        if debug or message is None:
            raise
        rank = os.environ.get("RANK", os.environ.get("SLURM_PROCID"))
        who = "" if rank is None else f"rank {rank}: "
        print(f"\n{who}{message}\n(--debug shows where it was raised)", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)  # other ranks may hang in a collective that this one will not join


def _one_line(error: Exception) -> str | None:
    """An error in one line, without its traceback; None for an unexpected one."""
    if isinstance(error, Sa2VAError):
        name, text = type(error).__name__, str(error)
        # An error from a loader worker contains that worker's traceback, which ends with the error itself.
        return f"{name}: {text.rpartition(f'.{name}: ')[2].rstrip()}"
    if any(sign in str(error) for sign in _PEER_IS_GONE):
        return "stopped, because another rank did; its message says why"
    return None


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
