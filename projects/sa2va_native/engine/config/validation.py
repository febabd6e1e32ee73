"""Evaluation while a run trains, on data given on the command line."""

from __future__ import annotations

import copy
from typing import Any

from mmengine.registry import DATASETS

from sa2va_native.datasets.check import Region, check_set
from sa2va_native.datasets.finding.text_sets import find_validation_sets
from sa2va_native.datasets.mixture import DESCRIBED_KINDS
from sa2va_native.errors import ConfigError, DataError

_NAME = "val"
#: The metrics of a kind, and the figure by which the best checkpoint is chosen.
_METRICS = {
    "refer": (("ReferringMetric", "ReferringPrecision"), "refer_ciou"),
    "caption": (("CaptionMetric",), "caption_agreement"),
    "cycle": (("CycleMetric",), "cycle_iou"),
}
_EVALUATIONS = 5  # of a run, unless the config says otherwise


def use_validation(
    cfg: Any, root: str | None = None, share: float | None = None, interval: int | None = None, read: bool = True
) -> str:
    """Evaluates a run while it trains, and keeps its best checkpoint.

    Each kind that is trained is evaluated, as the source ``val``, with the field's metrics. The best checkpoint is that
    with the best figure of the first kind, unless the config names one (``save_best``).

    Args:
        cfg: MMEngine config with its training data settled; changed in place.
        root: of the data to evaluate on, of every kind.
        share: of the pictures of each training source, which are held out of training instead; see
            ``datasets.picture_share``.
        interval: optimizer steps between evaluations; None for the config's, else a fifth of the run.
        read: whether to read every sample once, since a faulty one would end the run at its first evaluation.

    Returns:
        What was settled, in one line.

    Raises:
        ConfigError: the config has no ``test_dataloader``, which says how an evaluation loads its data.
        DataError: see :func:`find_validation_sets` and :func:`items_by_share`; or a sample that cannot be used.
    """
    option = f"--val-root {root}" if root else f"--val-share {share}"
    if "test_dataloader" not in cfg:
        raise ConfigError(f"{option}: the config has no test_dataloader, which says how to load an evaluation's data.")
    training = cfg.train_dataloader.dataset.sources
    kinds = list(dict.fromkeys(str(source["kind"]) for source in training))
    sources: list[dict[str, Any]]
    if root:
        sources = [
            dict(kind=kind, name=_NAME, dataset=found.config)
            for kind in kinds
            for found in find_validation_sets(root, kind)
        ]
    else:
        sources = [
            dict(kind=source["kind"], name=_NAME, dataset=copy.deepcopy(source["dataset"]), only_held_out=share)
            for source in training
        ]
        for source in training:
            source["held_out"] = share
    loader = copy.deepcopy(cfg.test_dataloader)
    loader.dataset.sources = sources
    cfg.val_dataloader = loader
    cfg.val_evaluator = [dict(type=metric, source=_NAME) for kind in kinds for metric in _METRICS[kind][0]]
    cfg.val_cfg = cfg.get("val_cfg") or dict(type="ValLoop")
    if interval or "val_interval" not in cfg.train_cfg:
        cfg.train_cfg.val_interval = interval or max(1, cfg.train_cfg.max_steps // _EVALUATIONS)
    best = f"{_NAME}/{_METRICS[kinds[0]][1]}"
    if checkpoint := (cfg.get("default_hooks") or {}).get("checkpoint"):
        best = checkpoint.setdefault("save_best", best)
    counts = _sound(loader.dataset, option) if read else {}
    told = ", ".join(f"{count:,} samples to {kind}" for kind, count in counts.items())
    return f"evaluated every {cfg.train_cfg.val_interval} steps on {told}; the checkpoint with the best {best} is kept"


def _sound(settings: Any, option: str) -> dict[str, int]:
    """The number of samples of each kind, all of which can be evaluated."""
    counts: dict[str, int] = {}
    for source in DATASETS.build(copy.deepcopy(settings)).sources:
        report = check_set(source.dataset, [int(item) for item in source.items], Region())
        faults = [(problem.count, problem.examples[0]) for problem in report.problems.values()]
        if source.kind != "cycle" and report.without_text:
            faults.append((report.without_text, "no text"))
        if source.kind in DESCRIBED_KINDS and report.without_target:
            faults.append((report.without_target, f"no target, which a '{source.kind}' source describes"))
        if faults:
            raise DataError(
                f"{option}: {sum(count for count, _ in faults)} of {len(source.items)} samples cannot be evaluated: "
                f"{faults[0][1]}. An evaluation leaves none out, and would end the run there. Mend them; "
                "pseudo-gumbel check-data PATH names all."
            )
        counts[source.kind] = counts.get(source.kind, 0) + len(source.items)
    return counts
