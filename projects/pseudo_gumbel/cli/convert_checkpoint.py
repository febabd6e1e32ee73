"""Convert checkpoints: published ones and those of runs, into any layout, without a GPU."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pseudo_gumbel.cli.options import add_debug, make_parser

EXAMPLES = """\
Layouts are recognised: InternVL (remote code or transformers), SAM 2 (.pt), Sa2VA (Hugging Face directory),
MMEngine/XTuner runs of Sa2VA (.pth), runs of this project (a file, or a folder written by DeepSpeed), and its own
safetensors. Later sources override earlier ones: give base weights first, then what a run trained.

examples:
  a run, ready for Sa2VA's published code
      pseudo-gumbel convert-checkpoint Sa2VA-4B work_dirs/pseudo_gumbel_4b/iter_8000.pth out/Sa2VA-4B --check
  with its results in the model card, and to the hub
      pseudo-gumbel convert-checkpoint Sa2VA-4B work_dirs/run out/Sa2VA-4B --metrics metrics.json --push you/NAME
  its EMA teacher instead
      pseudo-gumbel convert-checkpoint Sa2VA-4B work_dirs/pseudo_gumbel_4b/iter_8000.pth out/teacher --teacher
  only what was trained, to share or to start from with --weights Sa2VA-4B trained.safetensors
      pseudo-gumbel convert-checkpoint work_dirs/pseudo_gumbel_4b/iter_8000.pth trained.safetensors --to trained
  one compact file
      pseudo-gumbel convert-checkpoint Sa2VA-4B sa2va_4b.safetensors --to own --dtype bfloat16
"""


def parse_args(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    from sa2va_native.engine.checkpoints.conversion import TARGETS

    parser = make_parser(prog, __doc__, EXAMPLES)
    parser.add_argument("sources", nargs="+", metavar="SRC", help="checkpoints, base weights first")
    parser.add_argument("destination", metavar="DST", help="directory (internvl*, sa2va_hf) or .safetensors file")
    parser.add_argument("--to", choices=TARGETS, default="sa2va_hf", help="layout of DST (default: sa2va_hf)")
    parser.add_argument("--config", default="pseudo_gumbel_4b", help="config of the model (default: %(default)s)")
    parser.add_argument("--teacher", action="store_true", help="take the EMA teacher of the last SRC")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], help="default: as in SRC")
    parser.add_argument("--max-shard-size", default="5GB", help="largest file of a directory (default: 5GB)")
    parser.add_argument("--check", action="store_true", help="read DST back and compare bit for bit")
    parser.add_argument(
        "--metrics",
        type=Path,
        metavar="JSON",
        help="what test --out wrote, for the model card (default: metrics.json beside the checkpoint, if it is of it)",
    )
    parser.add_argument(
        "--push", metavar="REPO", help="upload the directory to the Hugging Face hub, privately if it is new"
    )
    add_debug(parser)
    args = parser.parse_args(arguments)
    if args.to != "sa2va_hf" and (args.metrics or args.push):
        parser.error("--metrics and --push are for directories of Sa2VA: leave out --to")
    return args


def convert(args: argparse.Namespace) -> None:
    import torch

    from pseudo_gumbel.hooks.ema_teacher_hook import EMATeacherHook
    from sa2va_native.checkpoints import hub
    from sa2va_native.engine.checkpoints import conversion, model_card
    from sa2va_native.engine.config.config_check import sa2va_config
    from sa2va_native.engine.run.launch import load_config
    from sa2va_native.errors import ConfigError

    if args.push:
        hub.require_repo(args.push)
    metrics = model_card.read_metrics(args.metrics) if args.metrics else None
    cfg = load_config(args.config)
    model = sa2va_config(cfg)
    if model is None:
        raise ConfigError(f"--config {args.config}: its model is not a Sa2VA and holds none. Use a shipped config.")
    keys = [None] * (len(args.sources) - 1) + [EMATeacherHook.checkpoint_key if args.teacher else None]
    opened = [conversion.open_any(path, key) for path, key in zip(args.sources, keys, strict=True)]
    for source in opened:
        print(f"{source.path}: {source.layout.title}, {len(source.tensors)} tensors")
    conversion.convert(
        opened,
        model,
        args.to,
        Path(args.destination),
        dtype=args.dtype and getattr(torch, args.dtype),
        max_shard_size=args.max_shard_size,
        check=args.check,
    )
    if args.to == "sa2va_hf":
        folder, last = Path(args.destination), Path(opened[-1].path)
        metrics = metrics or model_card.metrics_beside(last)
        model_card.write_card(model_card.model_card(folder, opened, args.config, cfg, metrics), folder)
    print(f"{args.destination}: {args.to}{', equal to what was read, bit for bit' if args.check else ''}")
    if args.push:
        print(hub.push(Path(args.destination), args.push))


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel convert-checkpoint") -> None:
    args = parse_args(arguments, prog)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: convert(args), args.debug)
