"""The parts of a config's model, and the memory that each GPU needs; takes no weights, data or GPU."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from pseudo_gumbel.cli.options import add_cfg_options, add_config, add_debug, make_parser

EXAMPLES = """\
examples:
  counts and memory on 1 GPU    pseudo-gumbel model-info pseudo_gumbel_4b
  8 GPUs, everything split      pseudo-gumbel model-info pseudo_gumbel_4b --ranks 8 --deepspeed zero3
  for a script                  pseudo-gumbel model-info pseudo_gumbel_4b --json
"""


def parse_args(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = make_parser(prog, __doc__, EXAMPLES)
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print JSON; sizes in bytes")
    parser.add_argument("--ranks", type=int, default=1, metavar="N", help="GPUs to plan for (default: 1)")
    parser.add_argument("--deepspeed", metavar="NAME", help="as for train (default: the config's, else zero2)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="samples per rank (default: the config's)")
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="default: what the json says")
    add_cfg_options(parser)
    add_debug(parser)
    return parser.parse_args(arguments)


def show(args: argparse.Namespace) -> None:
    with redirect_stdout(sys.stderr):  # libraries print too, and stdout must hold the JSON only
        from sa2va_native.engine.config.values import require_parts
        from sa2va_native.engine.plan.dry_run import describe_memory
        from sa2va_native.engine.plan.memory_plan import CARDS, GIB
        from sa2va_native.engine.plan.model_info import components, counts, memory_plan
        from sa2va_native.engine.plan.skeleton import build_skeleton
        from sa2va_native.engine.run import launch
        from sa2va_native.engine.run.use_engine import use_engine

        cfg = launch.load_config(args.config, args.cfg_options)
        require_parts(cfg)
        if args.batch_size is not None:
            cfg.train_dataloader.batch_size = args.batch_size
        engine = use_engine(cfg, args.deepspeed, args.precision, default="zero2")
        model = build_skeleton(cfg)
        parts, number, plan = components(model), counts(model), memory_plan(cfg, model, args.ranks)
    if args.json:
        content: dict[str, Any] = {
            "total": number.total,
            "trainable": number.trained,
            "trainable_share": number.trained / number.total,
            "components": {name: part._asdict() for name, part in parts.items()},
            "memory_plan": {
                "ranks": args.ranks,
                "batch_size": cfg.train_dataloader.batch_size,
                "peak": plan.peak,
                "peak_phase": plan.peak_phase,
                "exact": plan.exact,
                "host": plan.host,
                "items": [item._asdict() for item in plan.items],
                "fits": {str(card): plan.fits(card * GIB) for card in CARDS},
            },
        }
        print(json.dumps(content, indent=2))
        return
    print(f"{'':<16}{'parameters':>15}{'share':>8}{'tensors':>9}{'trained':>15}{'tensors':>9}")
    for name, part in parts.items():
        print(
            f"{name:<16}{part.parameters:>15,}{part.parameters / number.total:>8.2%}{part.tensors:>9,}"
            f"{part.trainable_parameters:>15,}{part.trainable_tensors:>9,}"
        )
    tensors, trained = (sum(part[i] for part in parts.values()) for i in (1, 3))
    print(f"{'total':<16}{number.total:>15,}{1:>8.2%}{tensors:>9,}{number.trained:>15,}{trained:>9,}")
    print(f"trained share {number.trained / number.total:.2%}\n")
    print(f"memory on each of {args.ranks} GPUs, {cfg.train_dataloader.batch_size} samples, {engine}")
    print("\n".join(f"  {line}" for line in describe_memory(cfg, model, args.ranks, plan)))


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel model-info") -> None:
    args = parse_args(arguments, prog)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: show(args), args.debug)
