#!/usr/bin/env python3
"""Evaluate a checkpoint on the config's test set."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

EXAMPLES = """\
examples:
  newest checkpoint of a run   tools/test.py configs/sa2va_tiny.py work_dirs/sa2va_tiny
  the config's own weights     tools/test.py configs/sa2va_tiny.py
  keep the numbers             tools/test.py configs/sa2va_tiny.py CHECKPOINT --out metrics.json
"""


def parse_args() -> argparse.Namespace:
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="a file of configs/")
    parser.add_argument("checkpoint", nargs="?", help="iter_*.pth, or a work dir for its newest one")
    parser.add_argument(
        "--weights",
        nargs="+",
        metavar="PATH",
        help="base weights, or 'none' for random ones (default: the config's, else $SA2VA_WEIGHTS)",
    )
    parser.add_argument("--work-dir", help="where the log goes (default: work_dirs/<config>)")
    parser.add_argument("--out", metavar="JSON", help="write the metrics to this file")
    parser.add_argument(
        "--predictions", metavar="JSONL", help="write captions and masks, one sample a line, to this file"
    )
    parser.add_argument("--teacher", action="store_true", help="evaluate the EMA teacher instead of the student")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE", help="override the config")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser.parse_args()


def evaluate(args: argparse.Namespace) -> None:
    from sa2va_native.engine.checkpoints.weights import load_weights, require_path
    from sa2va_native.engine.run import launch

    path = None if args.checkpoint is None else require_path(args.checkpoint)
    cfg = launch.load_config(args.config, args.cfg_options, args.work_dir)
    launch.use_weights(cfg, args.weights)
    launch.require_writable(cfg.work_dir)
    cfg.launcher, cfg.load_from, cfg.resume = "none", None, False
    for key in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler"):
        cfg.pop(key, None)
    for key in ("val_dataloader", "val_cfg", "val_evaluator"):
        cfg.pop(key, None)
    if args.predictions:
        import sa2va_native.evaluation.prediction_writer  # noqa: F401  registers PredictionWriter

        cfg.test_evaluator.append(dict(type="PredictionWriter", path=args.predictions))
    runner = launch.build_runner(cfg)
    if path is not None:
        load_weights(runner.model, path, teacher=args.teacher)
    metrics = {name: _plain(value) for name, value in runner.test().items()}
    print(table(metrics))
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps({"checkpoint": path, **metrics}, indent=2) + "\n")


def table(metrics: dict[str, Any]) -> str:
    """The metrics as two aligned columns."""
    width = max((len(name) for name in metrics), default=0)
    return "\n".join(
        f"  {name:<{width}}  {value:.4f}" if isinstance(value, float) else f"  {name:<{width}}  {value}"
        for name, value in metrics.items()
    )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def main() -> None:
    args = parse_args()
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: evaluate(args), args.debug)


if __name__ == "__main__":
    main()
