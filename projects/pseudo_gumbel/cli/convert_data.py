"""Convert LabelMe, COCO or PASCAL VOC masks to own data (docs/data/own.md); resumes when started again."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from pseudo_gumbel.cli.options import add_debug, make_parser

EXAMPLES = """\
The pictures stay where they are; ROOT/data.jsonl names them relative to ROOT.

examples:
  a folder of pictures and LabelMe json files   pseudo-gumbel convert-data labelme /data/mine
  one COCO set                                  pseudo-gumbel convert-data coco /data/annotations/instances_train.json
  masks that CVAT painted with a brush          pseudo-gumbel convert-data coco /data/cvat --include-crowd
  PASCAL VOC                                    pseudo-gumbel convert-data voc /data/VOCdevkit/VOC2012
"""


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel convert-data") -> None:
    parser = make_parser(prog, __doc__, EXAMPLES)
    parser.add_argument("layout", choices=["labelme", "coco", "voc"])
    parser.add_argument("root", type=Path, help="folder of the data; for coco, the json will do too")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: data.jsonl in the root")
    parser.add_argument(
        "--include-crowd",
        action="store_true",
        help="coco only: take annotations with iscrowd too; CVAT marks every brush mask as a crowd",
    )
    add_debug(parser)
    args = parser.parse_args(arguments)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: convert(args), args.debug)


def convert(args: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import track

    from sa2va_native.datasets.converters.coco import CocoConverter
    from sa2va_native.datasets.converters.convert import Converter, require_new, write_own_data
    from sa2va_native.datasets.converters.labelme import LabelmeConverter
    from sa2va_native.datasets.converters.voc import VocConverter
    from sa2va_native.errors import ConfigError, DataError
    from sa2va_native.files.atomic import make_room

    if not args.root.exists():
        raise DataError(f"{args.root}: no such file or folder. Give the root of the data.")
    if args.include_crowd and args.layout != "coco":
        raise ConfigError(f"--include-crowd is for coco; {args.layout} has no crowds. Leave it out.")
    if args.layout != "coco" and not args.root.is_dir():
        raise DataError(f"{args.root}: not a folder. Give the folder of the data.")
    if (known := args.out or (args.root / "data.jsonl" if args.root.is_dir() else None)) is not None:
        require_new(known)  # before a large json is read
    converters: dict[str, Callable[[], Converter]] = {
        "labelme": lambda: LabelmeConverter(args.root),
        "coco": lambda: CocoConverter(args.root, args.include_crowd),
        "voc": lambda: VocConverter(args.root),
    }
    converter = converters[args.layout]()
    out: Path = known or converter.root / "data.jsonl"
    make_room(out, "--out")
    total = write_own_data(converter, out, lambda names: track(names, "converting", console=Console(stderr=True)))
    print(f"{out}: {total.records:,} objects")
    if out.parent.resolve() != converter.root.resolve():
        print(f"The adapter needs image_root={str(converter.root)!r}.")
    if total.bad:
        print(f"{total.bad:,} left out; each is named in {total.report}.")
