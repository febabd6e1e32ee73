"""Draw samples of a data set as training sees them: picture and mask, region cells, text."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pseudo_gumbel.cli.options import add_debug, add_index_dir, make_parser

if TYPE_CHECKING:
    from sa2va_native.datasets.mixture import Adapter
    from sa2va_native.structures import Sample

EXAMPLES = """\
examples:
  what a config trains on, a sheet per source pseudo-gumbel browse-data pseudo_gumbel_tiny --out sheet.png
  own masks, or a COCO or REFER folder        pseudo-gumbel browse-data /data/mine --out sheet.png --samples 8
"""


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel browse-data") -> None:
    parser = make_parser(prog, __doc__, EXAMPLES)
    parser.add_argument("what", metavar="CONFIG|PATH", help="a config, or data as for check-data")
    parser.add_argument(
        "--out", type=Path, required=True, help="picture to write; for several sources sheet_1.png, ..."
    )
    parser.add_argument("--samples", type=int, default=5, help="random samples per source (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="chooses the samples (default: %(default)s)")
    add_index_dir(parser)
    add_debug(parser)
    args = parser.parse_args(arguments)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: browse(args), args.debug)


def browse(args: argparse.Namespace) -> None:
    from mmengine.registry import DATASETS

    from sa2va_native.engine.config.sources import region_of, sources_of
    from sa2va_native.errors import ConfigError
    from sa2va_native.evaluation.sample_sheet import draw_samples
    from sa2va_native.files.atomic import make_room

    if args.samples < 1:
        raise ConfigError(f"--samples must be at least 1, got {args.samples}")
    suffix = args.out.suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg", ".webp"):
        raise ConfigError(f"--out {args.out} is a picture to write: end it with .png, .jpg or .webp.")
    make_room(args.out, "--out")
    sources, region = sources_of(args.what, args.index_dir), region_of(args.what)
    for number, (name, config) in enumerate(sources, 1):
        dataset: Any = DATASETS.build(config)
        samples = draw(dataset, args.samples, args.seed)
        title = f"{name}: {type(dataset).__name__}, {len(dataset):,} samples"
        sheet = draw_samples(samples, title, region.grid_size, region.pooling or "any", region.min_share)
        out = args.out if len(sources) == 1 else args.out.with_stem(f"{args.out.stem}_{number}")
        sheet.quantize(256).save(out, optimize=True) if suffix == ".png" else sheet.save(out)
        print(f"{out}: {title}")


def draw(dataset: Adapter, count: int, seed: int) -> list[Sample]:
    """``count`` samples in an order that the seed chooses; bad ones are reported and skipped.

    Raises:
        DataError: none can be used.
    """
    from sa2va_native.datasets.samplers import order_of
    from sa2va_native.errors import BadSample, DataError
    from sa2va_native.structures import largest_frame

    samples: list[Sample] = []
    for index in order_of(len(dataset), (seed,)):
        try:
            samples.append(largest_frame(dataset[int(index)]))
        except BadSample as bad:
            print(f"skipped: {bad}", file=sys.stderr)
        if len(samples) == count:
            break
    if not samples:
        raise DataError(f"none of {len(dataset)} samples can be used. Run pseudo-gumbel check-data on the data.")
    return samples
