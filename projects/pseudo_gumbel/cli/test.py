"""Evaluate a checkpoint on the config's test set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pseudo_gumbel.cli.options import add_cfg_options, add_config, add_debug, add_weights, make_parser, whole

EXAMPLES = """\
examples:
  newest checkpoint of a run   pseudo-gumbel test sa2va_tiny work_dirs/sa2va_tiny
  the config's own weights     pseudo-gumbel test sa2va_tiny
  keep the numbers             pseudo-gumbel test sa2va_tiny CHECKPOINT --out metrics.json
  benchmarks                   pseudo-gumbel test sa2va_4b CHECKPOINT --benchmark refcoco refcocog --data-root /data
  what would be evaluated      pseudo-gumbel test sa2va_4b --benchmark refcoco --weights none --dry-run
  go on after a kill           the same command again, with --predictions as before
  look at what it found        pseudo-gumbel test sa2va_tiny CHECKPOINT --show-dir overlays
  tell truth from a code       pseudo-gumbel test pseudo_gumbel_tiny CHECKPOINT --controls floor ceiling stranger
"""


def parse_args(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = make_parser(prog, __doc__, EXAMPLES)
    add_config(parser)
    parser.add_argument("checkpoint", nargs="?", help="iter_*.pth, or a work dir for its newest one")
    add_weights(parser)
    parser.add_argument("--work-dir", help="where the log goes (default: work_dirs/<config>)")
    parser.add_argument("--out", metavar="JSON", help="write the metrics to this file")
    parser.add_argument(
        "--predictions",
        metavar="JSONL",
        help="write captions and masks, one sample per line, to this file; the same command goes on after a kill",
    )
    parser.add_argument(
        "--benchmark",
        nargs="+",
        metavar="NAME",
        help="evaluate on these in place of the config's test set: configs/benchmarks has them, or a path",
    )
    parser.add_argument(
        "--data-root", metavar="DIR", help="folder that the benchmarks' paths begin with (default: data)"
    )
    parser.add_argument("--max-samples", type=int, metavar="N", help="evaluate at most N samples of each source")
    parser.add_argument(
        "--dry-run", action="store_true", help="load no model: open the data, and print what would be evaluated"
    )
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="who started the ranks"
    )
    parser.add_argument(
        "--show-dir",
        metavar="DIR",
        help="draw the first samples of each source there: picture, true mask, predicted mask, text and IoU",
    )
    parser.add_argument(
        "--show-samples", type=whole(1), default=30, metavar="N", help="of each source and kind (default: %(default)s)"
    )
    parser.add_argument(
        "--controls",
        nargs="*",
        metavar="NAME",
        help="also read other texts, to compare each cycle IoU with: another object's caption ('floor'), the true one "
        "('ceiling'), the own one by a model that was not trained with the captioner ('stranger'); without a name none "
        "(default: those of the config)",
    )
    parser.add_argument(
        "--stranger",
        nargs="+",
        metavar="PATH",
        help="who the stranger is: a checkpoint or work dir of another run, or base weights (default: the config's own "
        "weights, the model before it was trained)",
    )
    parser.add_argument("--teacher", action="store_true", help="evaluate the EMA teacher instead of the student")
    add_cfg_options(parser)
    add_debug(parser)
    return parser.parse_args(arguments)


def evaluate(args: argparse.Namespace) -> None:
    from mmengine.dist import is_main_process

    from pseudo_gumbel.hooks.ema_teacher_hook import EMATeacherHook
    from sa2va_native.engine.checkpoints.weights import load_weights, require_path
    from sa2va_native.engine.config.source_metrics import require_metrics
    from sa2va_native.engine.config.values import require_parts
    from sa2va_native.engine.run import launch
    from sa2va_native.engine.run.use_engine import without_deepspeed
    from sa2va_native.parallel.launchers import require_launcher

    require_launcher(args.launcher)
    path = None if args.checkpoint is None else require_path(args.checkpoint)
    cfg = launch.load_config(args.config, args.cfg_options, args.work_dir)
    require_parts(cfg, "model", "test_dataloader", "test_cfg", "test_evaluator")
    use_test_set(cfg, args)
    require_metrics(cfg, "test")
    launch.use_weights(cfg, args.weights, download=not args.dry_run)
    if args.dry_run:
        print(plan(cfg))
        return
    launch.require_writable(cfg.work_dir)
    without_deepspeed(cfg)
    cfg.launcher, cfg.load_from, cfg.resume = args.launcher, None, False
    for key in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler"):
        cfg.pop(key, None)
    for key in ("val_dataloader", "val_cfg", "val_evaluator"):
        cfg.pop(key, None)
    if args.predictions:
        import sa2va_native.evaluation.prediction_writer

        cfg.test_evaluator.append(dict(type="PredictionWriter", path=args.predictions))
        keep_finished(cfg, args.predictions, path, args.teacher)
    if args.show_dir:
        import sa2va_native.evaluation.overlay_writer  # noqa: F401  registers OverlayWriter

        cfg.test_evaluator.append(dict(type="OverlayWriter", folder=args.show_dir, samples=args.show_samples))
    use_controls(cfg, args.controls, args.stranger)
    runner = launch.build_runner(cfg)
    if path is not None:
        load_weights(runner.model, path, EMATeacherHook.checkpoint_key if args.teacher else None)
    metrics = {name: _plain(value) for name, value in runner.test().items()}
    if not is_main_process():
        return
    print(table(metrics))
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps({"checkpoint": path, **metrics}, indent=2) + "\n")


def use_test_set(cfg: Any, args: argparse.Namespace) -> None:
    """Puts the benchmarks that the options name in place of a config's test set.

    Raises:
        ConfigError: see :mod:`sa2va_native.engine.config.benchmarks`; a data root without benchmarks.
    """
    from sa2va_native.engine.config.benchmarks import limit_samples, use_benchmarks
    from sa2va_native.engine.config.config_check import check_config
    from sa2va_native.errors import ConfigError

    if args.benchmark:
        use_benchmarks(cfg, args.benchmark, args.data_root)
        check_config(cfg)
    elif args.data_root:
        raise ConfigError(
            f"--data-root {args.data_root}: only with --benchmark. Give the config's paths in the config."
        )
    if args.max_samples is not None:
        limit_samples(cfg, args.max_samples)


def keep_finished(cfg: Any, predictions: str, checkpoint: str | None, teacher: bool) -> None:
    """Has the test loop keep finished batches beside the predictions, so that the same evaluation goes on after a kill.

    Args:
        cfg: MMEngine config, changed in place; one with another test loop or batch sampler is left as it is.
        predictions: the file.
        checkpoint: that is evaluated; None for the config's own weights.
        teacher: whether its EMA teacher is.
    """
    from sa2va_native.datasets.reading.unchanged import stamp
    from sa2va_native.datasets.samplers import EvaluationBatchSampler
    from sa2va_native.engine.config.config_check import resolve_type, sa2va_config
    from sa2va_native.engine.run.cycle_test_loop import CycleTestLoop

    loop: Any = resolve_type(cfg.test_cfg.get("type", "TestLoop"))
    sampler: Any = resolve_type((cfg.test_dataloader.get("batch_sampler") or {}).get("type", "BatchSampler"))
    if not issubclass(loop, CycleTestLoop) or sampler is not EvaluationBatchSampler:
        return
    settings = cfg.to_dict()
    weights = (sa2va_config(cfg) or {}).get("weights") or []
    paths = [*([weights] if isinstance(weights, str) else weights), *([checkpoint] if checkpoint else [])]
    loader = settings["test_dataloader"]
    identity = {
        "model": settings["model"],
        "data": loader["dataset"],
        "batch size": loader.get("batch_size"),
        "weights": [[str(file), stamp(Path(file))] for file in paths],
        "teacher": teacher,
        "precision": settings["test_cfg"].get("fp16", False),
    }
    cfg.test_cfg.update(journal=f"{predictions}.unfinished", identity=json.loads(json.dumps(identity, default=str)))


def plan(cfg: Any) -> str:
    """The sources of a config's test set as a table: kind, number of samples, and what scores them.

    Raises:
        DataError: one cannot be opened.
    """
    from mmengine.registry import DATASETS

    from sa2va_native.engine.config.config_check import resolve_type

    rows = []
    for source in DATASETS.build(cfg.test_dataloader.dataset).sources:
        scoring: list[Any] = [
            resolve_type(metric["type"]) for metric in cfg.test_evaluator if metric.get("source") in (None, source.name)
        ]
        metrics = [metric.__name__ for metric in scoring if getattr(metric, "kind", source.kind) == source.kind]
        rows.append((source.name, source.kind, f"{len(source.items):,}", ", ".join(metrics)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)


def use_controls(cfg: Any, controls: Sequence[str] | None, stranger: Sequence[str] | None) -> None:
    """Sets what each cycle IoU of a config is compared with.

    Args:
        cfg: MMEngine config, changed in place.
        controls: for every :class:`CycleMetric`; None leaves the config's, with the stranger if one is given.
        stranger: see :func:`sa2va_native.engine.checkpoints.other_weights.build_stranger`.

    Raises:
        ConfigError: controls, and a test loop that is not a CycleTestLoop.
    """
    from sa2va_native.engine.config.config_check import resolve_type
    from sa2va_native.engine.run.cycle_test_loop import CycleTestLoop
    from sa2va_native.errors import ConfigError
    from sa2va_native.evaluation.cycle_metric import CycleMetric

    if controls is None and not stranger:
        return
    loop: Any = resolve_type(cfg.test_cfg["type"])
    if not issubclass(loop, CycleTestLoop):
        raise ConfigError(
            f"--controls with test_cfg.type = {loop.__name__}, which reads none. Set test_cfg=dict(type=CycleTestLoop)."
        )
    for metric in cfg.test_evaluator:
        if resolve_type(metric["type"]) is CycleMetric:
            given = metric.get("controls", ()) if controls is None else controls
            metric["controls"] = [*given, *(["stranger"] if stranger and "stranger" not in given else [])]
    if stranger:
        cfg.test_cfg["stranger"] = list(stranger)


def table(metrics: dict[str, Any]) -> str:
    """The metrics as two aligned columns."""
    width = max((len(name) for name in metrics), default=0)
    return "\n".join(
        f"  {name:<{width}}  {value:.4f}" if isinstance(value, float) else f"  {name:<{width}}  {value}"
        for name, value in metrics.items()
    )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel test") -> None:
    args = parse_args(arguments, prog)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: evaluate(args), args.debug)
