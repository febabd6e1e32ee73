"""Finds in seconds whether a run could start, in one process and without GPUs: every problem, not only the first.

Each check says what it found and what is wrong. None trains or reads the values of published weights. One sample of
each data set is read, and more only until one can be used.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATA_SAMPLERS, DATASETS, HOOKS, PARAM_SCHEDULERS
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sa2va_native.checkpoints.importing import open_source
from sa2va_native.datasets.check import spread
from sa2va_native.engine.checkpoints.checkpointing import EARLIER, checkpoints_of, read_seal, require_same_engine
from sa2va_native.engine.checkpoints.contents import require_restorable
from sa2va_native.engine.checkpoints.fitting import require_weights
from sa2va_native.engine.checkpoints.weights import read_weights
from sa2va_native.engine.config.config_check import config_problems, parameters_of, resolve_type, sa2va_config
from sa2va_native.engine.config.source_metrics import require_metrics
from sa2va_native.engine.config.values import completeness_problems, part_problems
from sa2va_native.engine.plan.memory_plan import CARDS, GIB, WHILE, MemoryPlan, checkpoint_size, sized, table
from sa2va_native.engine.plan.model_info import counts, hook_settings, memory_plan, shadows, sharding
from sa2va_native.engine.plan.skeleton import build_skeleton, find_sa2va, try_import
from sa2va_native.engine.run.train_loop import end_with_the_run
from sa2va_native.engine.run.use_engine import optimizer_settings
from sa2va_native.errors import BadSample, DataError, Sa2VAError
from sa2va_native.files.ownership import require_no_owner
from sa2va_native.models.tokenizer import load_tokenizer
from sa2va_native.models.unknown_words import describe_unknown, unknown_words_of
from sa2va_native.parallel.parameters import trainable_parameters
from sa2va_native.parallel.process_group import has_cuda

#: Changes that the command line makes to a config; each may return what it settled.
Settings = Sequence[Callable[[Any], str | None]]

#: What torch's own loader checks when it is made.
_LOADER_KEYS = ("num_workers", "persistent_workers", "prefetch_factor", "pin_memory", "timeout")
_TEXTS = 64  # texts of a set in which unknown words are looked for
_TRIED = 16  # samples of a set; if none of them can be used, a run would soon reach ``max_bad_samples``


@dataclass
class Found:
    """The facts and the problems that a check found."""

    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """An error inside becomes a problem."""
        try:
            yield
        except Sa2VAError as error:
            self.problems.append(f"{type(error).__name__}: {error}")
        except Exception as error:  # whatever it is, the run would end there too
            self.problems.append(f"{type(error).__name__}: {str(error) or 'no message'}")


@dataclass
class DryRun:
    """The plan of a run, by section, and everything that keeps it from starting."""

    sections: dict[str, Found] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """The problems of all sections."""
        return [problem for found in self.sections.values() for problem in found.problems]

    def __str__(self) -> str:
        width = max(map(len, self.sections), default=0)
        lines = []
        for title, found in self.sections.items():
            for i, fact in enumerate(found.facts or ["see below"]):
                lines.append(f"{title if i == 0 else '':<{width}}  {fact}")
        if not self.problems:
            return "\n".join([*lines, "", "No problem found: the run can start."])
        named = [f"  {i}. {problem}" for i, problem in enumerate(self.problems, 1)]
        count = "1 problem keeps" if len(named) == 1 else f"{len(named)} problems keep"
        return "\n".join([*lines, "", f"{count} the run from starting:", *named])


def dry_run(cfg: Any, settings: Settings, ranks: int) -> DryRun:
    """Plan a run without starting it.

    Args:
        cfg: config as read, keys unchecked.
        settings: changes that the command line makes to it, in order; each may refuse.
        ranks: world size to plan for; this process stays alone.
    """
    report = DryRun()
    sections = report.sections
    sections["config"] = check_config_and_options(cfg, settings)
    if any(part_problems(cfg)):
        return report  # nothing else can be looked at
    sections["steps"] = _complete(describe_steps, cfg, ranks)
    sections["data"] = _complete(check_data, cfg, ranks)
    model, sections["model"] = check_model(cfg)
    sections["weights"] = _complete(check_weights, cfg, model)
    sections["parts"] = _complete(check_parts, cfg, model)
    sections["start"] = _complete(check_start, cfg, model)
    sections["work dir"] = _complete(check_work_dir, cfg)
    if model is not None:
        sections["disk"] = _complete(check_disk, cfg, model, ranks)
        sections["memory"] = _complete(check_memory, cfg, model, ranks)
    return report


def _complete(check: Callable[..., Found], *args: Any) -> Found:
    """The result of a check; if it cannot be made, e.g. because the config lacks a key, that is a problem too."""
    found = Found()
    with found.noting():
        found = check(*args)
    return found


def check_config_and_options(cfg: Any, settings: Settings) -> Found:
    """Keys of the config, then the options of the command line."""
    found = Found([str(cfg.filename or "not from a file")])
    with found.noting():
        found.problems += [*config_problems(cfg), *completeness_problems(cfg)]
    with found.noting():
        require_metrics(cfg, "val")
    for apply in settings:
        with found.noting():
            if settled := apply(cfg):
                found.facts.append(settled)
    return found


def describe_steps(cfg: Any, ranks: int) -> Found:
    """How many samples make a step and a run."""
    batch = cfg.train_dataloader.batch_size
    return Found(
        [
            f"{cfg.train_cfg.max_steps} steps of {samples_per_step(cfg, ranks)} samples: ranks {ranks} x batch {batch} "
            f"x micro-batches {accumulation(cfg)}"
        ]
    )


def accumulation(cfg: Any) -> int:
    """Micro-batches of a step, with DeepSpeed or without."""
    plain = cfg.optim_wrapper.get("accumulative_counts", 1)
    return int((cfg.get("strategy") or {}).get("gradient_accumulation_steps", plain))


def samples_per_step(cfg: Any, ranks: int) -> int:
    """The global batch of an optimizer step."""
    return ranks * cfg.train_dataloader.batch_size * accumulation(cfg)


def check_data(cfg: Any, ranks: int) -> Found:
    """Opens every training set, and the mixture of them for the last rank."""
    found, loader = Found(), cfg.train_dataloader
    sources, opened = loader.dataset.get("sources", []), []
    settings = sa2va_config(cfg)
    find_unknown = unknown_words_of(load_tokenizer(settings["tokenizer"])) if settings else None
    for source in sources:
        with found.noting():
            adapter: Any = DATASETS.build(copy.deepcopy(source["dataset"]))
            opened.append({**source, "dataset": adapter})
            found.facts.append(f"{source['kind']}: {type(adapter).__name__}, {len(adapter):,} samples")
            _require_usable(adapter)
            if source["kind"] != "cycle" and find_unknown and (note := describe_unknown(find_unknown, _texts(adapter))):
                found.facts.append(note)
    if len(opened) < len(sources):
        return found
    with found.noting():
        mixture: Any = DATASETS.build({**loader.dataset, "sources": opened} if sources else dict(loader.dataset))
        sampler = _sampler(cfg, mixture, ranks)
        found.facts += _passes(cfg, mixture, getattr(sampler, "pattern", ()), ranks)
        found.facts += getattr(sampler, "notes", ())
    return found


def _require_usable(adapter: Any) -> None:
    """Reads samples, evenly over the set, until one can be used.

    Raises:
        DataError: none of ``_TRIED`` can.
    """
    tried, first = spread(len(adapter), _TRIED), None
    for index in tried:
        try:
            adapter[index]
            return
        except BadSample as bad:
            first = first or bad
    raise DataError(
        f"{type(adapter).__name__}: {len(tried)} of {len(adapter):,} samples were read, and none can be used. "
        f"The first: {first}. Run pseudo-gumbel check-data on the data."
    )


def _texts(adapter: Any) -> Iterator[str]:
    """Texts of samples, evenly over the set."""
    for index in spread(len(adapter), _TEXTS):
        with suppress(BadSample):
            if text := adapter[index].text:
                yield text


def _sampler(cfg: Any, mixture: Any, ranks: int) -> Any:
    """The batch sampler of the last rank."""
    settings = dict(cfg.train_dataloader.batch_sampler)
    rank = dict(rank=ranks - 1, world_size=ranks)
    known = parameters_of(resolve_type(settings["type"])) or set()  # type: ignore[arg-type]
    settings |= {key: value for key, value in rank.items() if key in known}
    batch = cfg.train_dataloader.batch_size
    return DATA_SAMPLERS.build({**settings, "sampler": SimpleNamespace(dataset=mixture), "batch_size": batch})


def _passes(cfg: Any, mixture: Any, pattern: Sequence[str], ranks: int) -> list[str]:
    """How many passes the run makes over the samples of each kind."""
    total = cfg.train_cfg.max_steps * samples_per_step(cfg, ranks)
    facts = []
    for kind in dict.fromkeys(pattern):
        drawn = total * pattern.count(kind) // len(pattern)
        there = sum(len(source.items) for source in mixture.sources if source.kind == kind)
        facts.append(f"the run draws {drawn:,} times from {there:,} samples to {kind}: {drawn / there:.2f} passes")
    return facts


def check_model(cfg: Any) -> tuple[nn.Module | None, Found]:
    """Builds the model without memory."""
    found, model = Found(), None
    with found.noting():
        model = build_skeleton(cfg)
        number = counts(model)
        found.facts.append(
            f"{type(model).__name__}: {number.total:,} parameters, {number.trained:,} trained "
            f"({number.trained / number.total:.2%})"
        )
    return model, found


def check_weights(cfg: Any, model: nn.Module | None) -> Found:
    """Opens the checkpoints that the model starts with and compares their names and shapes with the model's."""
    found, sources = Found(), []
    settings = sa2va_config(cfg) or {}
    weights = settings.get("weights") or ()
    for path in [weights] if isinstance(weights, str) else weights:
        with found.noting():
            sources.append(open_source(path))
            found.facts.append(f"{path} ({sources[-1].layout.title}), {len(sources[-1].tensors)} tensors")
    if not weights:
        found.facts.append("none given: the model starts with random values")
    elif model is not None and not found.problems:
        with found.noting():
            for report in try_import(find_sa2va(model), sources, settings.get("allow_unexplained", False)):
                found.facts += [line.partition(":")[0] for line in str(report).splitlines()]
    return found


def check_parts(cfg: Any, model: nn.Module | None) -> Found:
    """Builds the hooks, the loader (of nothing, so it starts no worker), the optimizer and its schedules."""
    found = Found()
    with found.noting():
        settings = {key: value for key, value in cfg.train_dataloader.items() if key in _LOADER_KEYS}
        DataLoader(TensorDataset(torch.zeros(1)), **settings)
    hooks = hook_settings(cfg)
    for hook in hooks:
        with found.noting():
            HOOKS.build({key: value for key, value in hook.items() if key != "priority"})
    if model is not None:
        with found.noting():
            optimizer = build_optim_wrapper(model, dict(type="OptimWrapper", **optimizer_settings(cfg)))
            rate = optimizer.optimizer.param_groups[0]["lr"]
            schedulers = copy.deepcopy(cfg.get("param_scheduler") or [])
            end_with_the_run(schedulers, cfg.train_cfg.max_steps)
            for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
                if not scheduler.get("convert_to_iter_based"):  # which needs the length of an epoch
                    PARAM_SCHEDULERS.build(scheduler, default_args={"optimizer": optimizer})
            found.facts.append(f"{len(hooks)} hooks, {type(optimizer.optimizer).__name__} with learning rate {rate:g}")
    return found


def check_start(cfg: Any, model: nn.Module | None) -> Found:
    """The checkpoint that a run resumes from or takes its weights from, if any: names, shapes and values."""
    found, path = Found(), cfg.get("load_from")
    if not path:
        found.facts.append("a new run")
    elif not cfg.get("resume"):
        found.facts.append(f"a new run with the weights of {path}")
        if model is not None:
            with found.noting():
                require_weights(read_weights(path), model, trainable_parameters(model).keys(), path)
    else:
        seal = read_seal(Path(path))
        done = seal.about.get("step") if seal else None
        finished = isinstance(done, int) and done >= cfg.train_cfg.max_steps
        found.facts.append(f"resumes from {path}{', which is the end of the run: nothing to do' if finished else ''}")
        with found.noting():
            require_same_engine(path, deepspeed=bool(cfg.get("strategy")))
            if model is not None:
                optimizer = build_optim_wrapper(model, dict(type="OptimWrapper", **optimizer_settings(cfg))).optimizer
                hooks = [resolve_type(hook["type"]) for hook in hook_settings(cfg)]
                copies = [key for hook in hooks if (key := getattr(hook, "checkpoint_key", None))]
                require_restorable(path, model, optimizer, copies)
    return found


def check_work_dir(cfg: Any) -> Found:
    """Whether the work dir can be written to, or could be made, and no run is alive in it; it is not made."""
    found = Found([str(cfg.work_dir)])
    if not cfg.get("resume") and (others := checkpoints_of(cfg.work_dir)):
        found.facts.append(f"its {len(others)} checkpoints are of another run and will be moved to {EARLIER}/")
    try:
        with tempfile.TemporaryFile(dir=_nearest_folder(cfg.work_dir)):
            pass
    except OSError as error:
        found.problems.append(
            f"work dir {cfg.work_dir} is not writable ({error.strerror}). Choose another one with --work-dir."
        )
    with found.noting():
        require_no_owner(cfg.work_dir)
    return found


def _nearest_folder(path: str) -> Path:
    return next(folder for folder in [Path(path), *Path(path).absolute().parents] if folder.is_dir())


def check_disk(cfg: Any, model: nn.Module, ranks: int) -> Found:
    """Whether the work dir holds the checkpoints that the run keeps."""
    size = checkpoint_size(counts(model), sharding(cfg, ranks), shadows(cfg))
    kept, free = checkpoints_kept(cfg), shutil.disk_usage(_nearest_folder(cfg.work_dir)).free
    found = Found([f"{sized(size)} per checkpoint, {sized(kept * size)} for {kept} of them; {sized(free)} are free"])
    if kept * size > free:
        found.problems.append(
            f"work dir {cfg.work_dir}: {sized(free)} are free and {kept} checkpoints of {sized(size)} will be kept. "
            "Choose another --work-dir, or lower default_hooks.checkpoint.max_keep_ckpts (at least 2)."
        )
    return found


def checkpoints_kept(cfg: Any) -> int:
    """How many checkpoints are in the work dir at the end."""
    hook = (cfg.get("default_hooks") or {}).get("checkpoint")
    if hook is None:
        return 0
    written = -(-cfg.train_cfg.max_steps // hook.interval)  # the last one comes at the end of the run
    most = hook.get("max_keep_ckpts", -1)
    return written if most < 0 else min(written, most)


def check_memory(cfg: Any, model: nn.Module, ranks: int) -> Found:
    """The memory plan, compared with the smallest visible GPU, or with common cards."""
    plan = memory_plan(cfg, model, ranks)
    found = Found(describe_memory(cfg, model, ranks, plan))
    if has_cuda():
        devices = range(torch.cuda.device_count())
        smallest = min(torch.cuda.get_device_properties(device).total_memory for device in devices)
        found.facts.append(f"here: {len(devices)} GPUs, the smallest of {sized(smallest)}")
        if not plan.fits(smallest):
            needed = plan.exact if plan.exact > smallest else plan.peak
            how = "at the very least" if plan.exact > smallest else "by estimate"
            found.problems.append(
                f"memory: a rank needs {sized(needed)} {how} and the GPU has {sized(smallest)}. Use more ranks, "
                "--deepspeed zero3, offloading, gradient checkpointing or a smaller batch."
            )
    return found


def describe_memory(cfg: Any, model: nn.Module, ranks: int, plan: MemoryPlan) -> list[str]:
    """The plan, its peak, what gradient checkpointing changes, and which cards are large enough."""
    now = find_sa2va(model).language_model.is_gradient_checkpointing
    other = memory_plan(cfg, model, ranks, checkpointing=not now)
    words = {True: "with", False: "without"}
    cards = ", ".join(f"{card} GB {'fits' if plan.fits(card * GIB) else 'too small'}" for card in CARDS)
    return [
        *table(plan.items),
        f"at most {sized(plan.peak)} on each GPU, {WHILE[plan.peak_phase]}; permanent and exact {sized(plan.exact)}",
        f"{words[now]} gradient checkpointing; {words[not now]} it {sized(other.peak)}",
        f"{sized(plan.host)} of the machine's memory for each rank",
        f"GPUs: {cards}",
    ]
