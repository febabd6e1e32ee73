"""Builds a run from a config file and command-line options; shared by the commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sa2va_native.checkpoints.hub import local_weights
from sa2va_native.engine.config.config_check import check_config, require_weights, sa2va_config
from sa2va_native.engine.config.find_config import find_config
from sa2va_native.engine.config.options import merge_options
from sa2va_native.engine.config.reading import import_custom, read_file
from sa2va_native.engine.config.values import require_sections
from sa2va_native.engine.run.deepspeed_compat import leave_deepspeed_out
from sa2va_native.engine.run.use_engine import is_settled, use_engine
from sa2va_native.errors import CheckpointError, ConfigError, DataError, Sa2VAError, printable

_WEIGHTS_VARIABLE = "SA2VA_WEIGHTS"
#: Hooks that MMEngine adds by itself, unless the config says None.
_MMENGINE_HOOKS = {"runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint"}
#: Messages of torch in a rank that cannot listen for the others.
_PORT_IS_TAKEN = ("EADDRINUSE", "Address already in use")
#: Messages of gloo, and of the store by which ranks meet, in a rank that waits for one that has exited.
_PEER_IS_GONE = ("Connection closed by peer", "Connection reset by peer", "Connection was likely closed", "Broken pipe")


def load_config(path: str, options: dict[str, Any] | None = None, work_dir: str | None = None) -> Any:
    """:func:`read_config`, with its keys checked.

    Raises:
        ConfigError: the file is missing or cannot be read, or a key is unknown, or sizes of data and model differ.
    """
    leave_deepspeed_out()  # before the config or its check imports MMEngine's runner
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
    require_sections(cfg)
    import_custom(cfg, path)  # what an option named
    hooks = cfg.get("default_hooks") or {}
    for name in [name for name, hook in hooks.items() if hook is None and name not in _MMENGINE_HOOKS]:
        del hooks[name]  # left out, as MMEngine does with its own alone
    cfg.work_dir = work_dir or cfg.get("work_dir") or str(Path("work_dirs") / Path(path).stem)
    dataset = (cfg.get("train_dataloader") or {}).get("dataset", {})
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


def use_weights(cfg: Any, weights: Sequence[str] | None, download: bool = True) -> None:
    """Settles the base weights: ``weights``, else the config's, else the environment variable ``SA2VA_WEIGHTS``.

    Args:
        cfg: MMEngine config, changed in place.
        weights: paths, or names on the hub, that together hold every part, see :class:`sa2va_native.models.Sa2VA`;
            ``["none"]`` for random weights; None if the command line gives none.
        download: see :func:`local_weights`.

    Raises:
        ConfigError: no weights were chosen, or the config's model takes none.
        CheckpointError: the hub does not give what it is asked for.
    """
    model = sa2va_config(cfg)
    if model is None:
        if weights:
            raise ConfigError(
                f"--weights {' '.join(weights)}: cfg.model is not a Sa2VA and takes none. Leave them out."
            )
        return
    if not weights and "weights" not in model and (paths := os.environ.get(_WEIGHTS_VARIABLE)):
        weights = paths.split(os.pathsep)
    if weights:
        none = list(weights) == ["none"]
        model.weights = None if none else [local_weights(path, download) for path in weights]
    require_weights(cfg)


def join_ranks(cfg: Any) -> None:
    """Joins the process group, if a launcher started this process, as the runner would later."""
    import torch.distributed as dist
    from mmengine.dist import init_dist

    from sa2va_native.parallel.process_group import has_cuda, init_cpu_process_group

    if cfg.get("launcher", "none") == "none" or dist.is_initialized():
        return
    if has_cuda():
        init_dist(cfg.launcher, **((cfg.get("env_cfg") or {}).get("dist_cfg") or {}))
    else:
        init_cpu_process_group(use_deepspeed=False)


def require_one_folder(cfg: Any) -> None:
    """Checks that all ranks see the work dir of rank 0, which owns it. A collective if ``cfg`` has a launcher.

    Under DeepSpeed each rank writes its part of a checkpoint: in folders of several machines none would be whole.

    Raises:
        ConfigError: a rank sees another folder of that name.
    """
    from mmengine.dist import get_rank

    from sa2va_native.files.ownership import owner_of
    from sa2va_native.parallel.agreement import from_main_rank, on_any_rank

    def look() -> None:
        if owner_of(cfg.work_dir) != owner:
            raise ConfigError(
                f"work dir {cfg.work_dir} is another folder on rank {get_rank()} than on rank 0. Choose one that all "
                "machines share with --work-dir."
            )

    join_ranks(cfg)
    owner = from_main_rank(lambda: owner_of(cfg.work_dir))
    on_any_rank(look)


def use_checkpoint(cfg: Any, resume: str | None, load_from: str | None) -> None:
    """Settles where the weights come from. Rank 0 looks and decides for all; a collective if ``cfg`` has a launcher.

    Without an argument, ``resume`` and ``load_from`` of the config mean the same.

    Args:
        cfg: MMEngine config, changed in place.
        resume: checkpoint to resume from, or a work dir for its newest one; ``""`` for the newest one of this run's
            work dir (a fresh start if there is none); None not to resume.
        load_from: checkpoint or work dir to take only the weights from.

    Raises:
        ConfigError: both are given.
        CheckpointError: the checkpoint is missing or damaged, or every one of the work dir is.
    """
    from mmengine.dist import get_rank

    from sa2va_native.engine.checkpoints.checkpointing import find_latest_checkpoint
    from sa2va_native.engine.checkpoints.weights import require_path
    from sa2va_native.parallel.agreement import from_main_rank, on_any_rank

    if resume is not None and load_from is not None:
        raise ConfigError(
            "--resume and --load-from exclude each other: one continues a run, the other starts a new one."
        )
    if resume is None and load_from is None:  # the config's own, which MMEngine would take unchecked
        resume = (cfg.get("load_from") or "") if cfg.get("resume") else None
        load_from = cfg.get("load_from") if resume is None else None
    if resume is None and load_from is None:
        return

    def decide() -> str | None:
        if given := resume or load_from:
            return require_path(given)
        if path := find_latest_checkpoint(cfg.work_dir):
            return path
        if there := sorted(file.name for file in Path(cfg.work_dir).glob("iter_*.pth")):
            raise CheckpointError(
                f"work dir {cfg.work_dir} has no undamaged checkpoint of its last run, only {', '.join(there)}. Give "
                "another one with --resume PATH, or leave --resume out to start anew; these are kept."
            )
        print(f"No complete checkpoint in {cfg.work_dir} yet: starting from the beginning.", file=sys.stderr)
        return None

    def look() -> None:
        if path is not None and not Path(path).exists():
            raise CheckpointError(f"{path} is there on rank 0, not on rank {get_rank()}. Give all machines one folder.")

    join_ranks(cfg)
    path = from_main_rank(decide)
    on_any_rank(look)
    if path is not None:
        cfg.load_from = path
    cfg.resume = path is not None and load_from is None


def build_runner(cfg: Any) -> Any:
    """The MMEngine runner of a config; joins the process group first where MMEngine cannot (ranks without a GPU)."""
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from sa2va_native.engine.checkpoints.checkpointing import require_same_engine
    from sa2va_native.engine.checkpoints.weights import load_weights
    from sa2va_native.engine.config.source_metrics import require_metrics
    from sa2va_native.parallel.process_group import has_cuda, init_cpu_process_group

    require_metrics(cfg, "val")
    start_from = None if cfg.get("resume") else cfg.get("load_from")
    if start_from:
        cfg.load_from = None
    if cfg.get("resume") and cfg.get("load_from"):
        require_same_engine(cfg.load_from, deepspeed=bool(cfg.get("strategy")))
    if cfg.get("strategy"):
        if not is_settled(cfg):
            use_engine(cfg)
        if start_from:
            cfg.strategy.load_from = start_from
        return RUNNERS.build(cfg)
    if cfg.get("launcher", "none") != "none" and not has_cuda():
        init_cpu_process_group(use_deepspeed=False)
        unused = {"find_unused_parameters": cfg.get("find_unused_parameters", False)}
        cfg.model_wrapper_cfg = {**unused, **(cfg.get("model_wrapper_cfg") or {}), "device_ids": None}
    runner = Runner.from_cfg(cfg)
    if start_from:
        load_weights(runner.model, start_from)
    return runner


def run_tool(main: Callable[[], None], debug: bool, began: Callable[[], bool] = lambda: True) -> None:
    """Runs a tool; a known error becomes one line and exit status 1.

    Every rank prints, since the error of a single rank would otherwise be lost. A rank that only notices that another
    one has exited says no more than that.

    Args:
        main: the tool.
        debug: show the traceback instead.
        began: whether the work itself has begun; until then any error is taken for one of the settings.
    """
    try:
        main()
    except Exception as error:
        message = _one_line(error, began())
        if debug or message is None:
            raise
        rank = os.environ.get("RANK", os.environ.get("SLURM_PROCID"))
        who = "" if rank is None else f"rank {rank}: "
        print(f"\n{who}{message}\n(--debug shows where it was raised)", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)  # other ranks may hang in a collective that this one will not join


def _one_line(error: Exception, began: bool) -> str | None:
    """An error in one line, without its traceback; None for an unexpected one."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, Sa2VAError):
        # An error from a loader worker contains that worker's traceback, which ends with the error itself.
        told = text.rpartition(f".{name}: ")[2].rstrip()
        lines = [told] if isinstance(error, DataError) else told.splitlines()  # of weights, a report
        return f"{name}: " + "\n".join(map(printable, lines))
    if any(sign in text for sign in _PEER_IS_GONE) and not isinstance(error, BrokenPipeError):  # of our own output
        return "stopped, because another rank did; its message says why"
    if any(sign in text for sign in _PORT_IS_TAKEN):
        return f"{name}: MASTER_PORT={os.environ.get('MASTER_PORT')} is in use. Choose another one."
    if isinstance(error, OSError) and error.filename is not None:
        return f"{name}: {error.filename}: {error.strerror}"
    if not began:
        return f"the run cannot start: {name}: {text.strip().splitlines()[0] if text.strip() else 'no message'}"
    return None
