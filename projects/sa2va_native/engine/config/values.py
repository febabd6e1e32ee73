"""Numbers of a config that cannot work: not finite, of the wrong kind, or outside the range that their key has."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from multiprocessing import get_all_start_methods
from typing import Any, NamedTuple

from sa2va_native.errors import ConfigError


class Range(NamedTuple):
    """The numbers that a key takes."""

    low: float
    high: float = math.inf
    whole: bool = False
    open: bool = False  #: without ``low`` itself
    optional: bool = False  #: None is a value too

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, as the end of a sentence."""
        if value is None and self.optional:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"expected {self}"
        fits = value > self.low if self.open else value >= self.low
        is_whole = isinstance(value, int) or value.is_integer()  # infinity is neither
        return None if fits and value <= self.high and (is_whole or not self.whole) else f"expected {self}"

    def __str__(self) -> str:
        what = "a whole number" if self.whole else "a number"
        if self.high < math.inf:
            return f"{what} from {self.low:g} to {self.high:g}"
        return f"{what} above {self.low:g}" if self.open else f"{what}, {self.low:g} or more"


_COUNT = Range(1, whole=True)
_NOT_NEGATIVE = Range(0)
_POSITIVE = Range(0, open=True)
_SHARE = Range(0, 1)
#: By the name of a key, which means the same wherever it is.
_RANGES: dict[str, Range] = {
    **dict.fromkeys(("max_steps", "val_interval", "val_begin", "interval", "window", "patience", "batch_size"), _COUNT),
    **dict.fromkeys(("accumulative_counts", "gradient_accumulation_steps", "train_micro_batch_size_per_gpu"), _COUNT),
    **dict.fromkeys(("draws", "samples", "noises", "candidates", "positions", "max_word_tokens", "top_k"), _COUNT),
    **dict.fromkeys(("num_points", "max_new_tokens", "group", "r", "lora_alpha", "window_size", "T_max"), _COUNT),
    "regions_per_picture": _COUNT,
    **dict.fromkeys(("num_workers", "warmup", "max_bad_samples"), Range(0, whole=True)),
    **dict.fromkeys(("temperature", "beta", "start_factor"), _POSITIVE),
    **dict.fromkeys(("lr", "weight_decay", "eps", "eta_min", "begin", "lr_mult", "decay_mult"), _NOT_NEGATIVE),
    **dict.fromkeys(("bce_weight", "dice_weight", "supervised_weight"), _NOT_NEGATIVE),
    **dict.fromkeys(("decay", "mask_ratio", "min_p", "soft_share", "dropout", "lora_dropout"), _SHARE),
    **dict.fromkeys(("importance", "flip_share", "region_min_share", "min_iou"), _SHARE),
    "weight": _POSITIVE,
    "oversample": Range(1),
    "max_norm": Range(0, open=True, optional=True),
    "gradient_clipping": _NOT_NEGATIVE,
    "max_hours": Range(0, open=True, optional=True),
    "minutes": _POSITIVE,
    "opencv_num_threads": Range(0, whole=True),
    "resource_limit": _COUNT,
    "prefetch_factor": Range(1, whole=True, optional=True),
    "seed": Range(0, 2**32 - 1, whole=True, optional=True),
}
#: Packages whose keys these are; a class from elsewhere may mean something else by the same name.
_PACKAGES = ("pseudo_gumbel", "sa2va_native", "mmengine", "torch")


#: Parts of a config that hold others.
_SECTIONS = ("model", "train_dataloader", "test_dataloader", "train_cfg", "test_cfg", "optim_wrapper", "default_hooks")
#: Parts for which the runner has no other value than a dict, if they are there.
_NEVER_NONE = ("randomness", "env_cfg")
#: Parts that every run needs.
_OF_A_RUN = ("model", "train_dataloader", "train_cfg", "optim_wrapper")
#: Parts that MMEngine's runner takes all together, or none of them.
_EVALUATIONS = (
    ("val_dataloader", "val_cfg", "val_evaluator"),
    ("test_dataloader", "test_cfg", "test_evaluator"),
)


def require_sections(cfg: Any) -> None:
    """Checks that the parts of a config that hold others are dicts, so that one may look into them.

    Raises:
        ConfigError: one is something else.
    """
    for name in (*_SECTIONS, *_NEVER_NONE):
        part = cfg.get(name, {})
        if not isinstance(part, dict) and (part is not None or name in _NEVER_NONE):
            raise ConfigError(f"config key {name} = {part!r}: expected a dict, as in configs/_base_.")
    dataset = (cfg.get("train_dataloader") or {}).get("dataset", {})
    if not isinstance(dataset, dict):
        raise ConfigError(f"config key train_dataloader.dataset = {dataset!r}: expected a dict, as in configs/_base_.")


def require_complete(cfg: Mapping[str, Any]) -> None:
    """Refuses what no runner can be made of. A config that only names data, for the tools that show it, may have less.

    Raises:
        ConfigError: the first of :func:`completeness_problems`.
    """
    for problem in completeness_problems(cfg):
        raise ConfigError(problem)


def require_parts(cfg: Mapping[str, Any], *names: str) -> None:
    """Checks that a config has the parts that a command needs.

    Raises:
        ConfigError: it lacks some.
    """
    for problem in part_problems(cfg, *names):
        raise ConfigError(problem)


def part_problems(cfg: Mapping[str, Any], *names: str) -> Iterator[str]:
    """That parts are missing, if some are; without names those of a run."""
    if missing := [name for name in names or _OF_A_RUN if cfg.get(name) is None]:
        yield (
            f"config key {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. Inherit them: "
            "`with read_base(): from pseudo_gumbel.configs.pseudo_gumbel_tiny import *`."
        )


def completeness_problems(cfg: Mapping[str, Any]) -> Iterator[str]:
    """What the runner would refuse when it is made: a part that a run needs is missing, or a part of an evaluation
    without the others; hooks, backends, a level or a way to start processes that are none."""
    yield from part_problems(cfg)
    for phase in _EVALUATIONS:
        missing = [name for name in phase if cfg.get(name) is None]
        if missing and len(missing) < len(phase):
            yield f"config key {missing[0]} is missing, which goes with {', '.join(sorted({*phase} - {*missing}))}."
    lists = {"custom_hooks": cfg.get("custom_hooks")}
    lists["visualizer.vis_backends"] = (cfg.get("visualizer") or {}).get("vis_backends")
    for name, given in lists.items():
        if given is not None and not (isinstance(given, list) and all(isinstance(one, dict) for one in given)):
            yield f"config key {name} = {given!r}: expected a list of dicts, each with a type."
    yield from _environment_problems(cfg.get("env_cfg") or {})
    level = cfg.get("log_level", "INFO")
    if level not in logging.getLevelNamesMapping() and not isinstance(level, int):
        yield f"config key log_level = {level!r}: expected one of {', '.join(logging.getLevelNamesMapping())}."


def _environment_problems(env_cfg: Mapping[str, Any]) -> Iterator[str]:
    for name in ("mp_cfg", "dist_cfg"):
        if not isinstance(part := env_cfg.get(name, {}), dict):
            yield f"config key env_cfg.{name} = {part!r}: expected a dict, as in configs/_base_."
            return
    known = get_all_start_methods()
    if (method := env_cfg.get("mp_cfg", {}).get("mp_start_method", known[0])) not in known:
        yield f"config key env_cfg.mp_cfg.mp_start_method = {method!r}: expected one of {', '.join(known)}."


def value_problems(value: Any, path: str = "", ours: bool = True) -> Iterator[str]:
    """Every number of a config that cannot work, each as a sentence.

    Args:
        value: the config as plain dicts and lists, or a part of it.
        path: where that part is.
        ours: whether its class, or the one that holds it, is of a package that the ranges are for.
    """
    if isinstance(value, dict):
        type_ = value.get("type")
        if type_ is not None:
            ours = _module_of(type_).split(".")[0] in _PACKAGES
        for key, entry in value.items():
            where = f"{path}.{key}" if path else str(key)
            if where == "strategy.config":  # DeepSpeed's own, which knows "auto" too
                continue
            allowed = _RANGES.get(str(key)) if ours else None
            if allowed is not None and not isinstance(entry, dict) and (problem := allowed.problem(entry)):
                yield f"config key {where} = {entry!r}: {problem}."
            elif ours and key == "betas" and not _are_betas(entry):
                yield f"config key {where} = {entry!r}: expected two numbers, 0 or more and below 1."
            else:
                yield from value_problems(entry, where, ours)
    elif isinstance(value, (list, tuple)):
        for index, entry in enumerate(value):
            yield from value_problems(entry, f"{path}[{index}]", ours)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"config key {path} = {value!r}: expected a finite number."


def _are_betas(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return False
    return all(isinstance(one, (int, float)) and 0 <= one < 1 for one in value)


def _module_of(type_: Any) -> str:
    """The module of a class, a lazy import, a dotted path; ``"mmengine"`` for a registered name."""
    text = str(type_) if type(type_).__name__ in ("LazyObject", "LazyAttr") else type_
    if isinstance(text, str):
        return text if "." in text else "mmengine"
    return getattr(type_, "__module__", "")
