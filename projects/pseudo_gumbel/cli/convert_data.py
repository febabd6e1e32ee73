"""Convert masks of other tools and sets to own data (docs/data/own.md); resumes when started again."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from pseudo_gumbel.cli.options import add_debug, make_parser, whole

EXAMPLES = """\
The pictures stay where they are; ROOT/data.jsonl names them relative to ROOT.

examples:
  a folder of pictures and LabelMe json files   pseudo-gumbel convert-data labelme /data/mine
  one COCO set                                  pseudo-gumbel convert-data coco /data/annotations/instances_train.json
  masks that CVAT painted with a brush          pseudo-gumbel convert-data coco /data/cvat --include-crowd
  PASCAL VOC                                    pseudo-gumbel convert-data voc /data/VOCdevkit/VOC2012
  images/ and labels/ of YOLO's segmentation    pseudo-gumbel convert-data yolo /data/mine
  its validation split                          pseudo-gumbel convert-data yolo /data/mine --split val --out val.jsonl
  images/ and masks/ by number or colour        pseudo-gumbel convert-data id-masks /data/mine
  JPEGImages/ and Annotations/ of clips         pseudo-gumbel convert-data davis /data/DAVIS --frame-gap 4
  NAME.json of SAM's masks beside NAME.jpg      pseudo-gumbel convert-data sam /data/mine
  Sa2VA's own fine-tuning data                  pseudo-gumbel convert-data sa2va /data/mine/annotations.json
  PhraseCut                                     pseudo-gumbel convert-data phrasecut /data/PhraseCut/refer_train.json
"""


_OF_FOLDERS, _OF_FILES = ("labelme", "voc", "yolo", "id-masks", "davis", "sam"), ("coco", "sa2va", "phrasecut")
_SPLIT = ("yolo", "id-masks", "davis")


def parse_args(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = make_parser(prog, __doc__, EXAMPLES)
    parser.add_argument("layout", choices=[*_OF_FOLDERS, *_OF_FILES])
    parser.add_argument("root", type=Path, help=f"folder of the data; for {', '.join(_OF_FILES)}, the json will do too")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: data.jsonl in the root")
    parser.add_argument(
        "--include-crowd",
        action="store_true",
        help="coco only: take annotations with iscrowd too; CVAT marks every brush mask as a crowd",
    )
    parser.add_argument(
        "--split",
        metavar="NAME",
        help=f"{', '.join(_SPLIT)} only: files in folders of that name (default: all but those for validation or test)",
    )
    parser.add_argument(
        "--frame-gap", type=whole(1), metavar="N", help="davis only: annotated frames between both sides (default: 5)"
    )
    add_debug(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel convert-data") -> None:
    args = parse_args(arguments, prog)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: convert(args), args.debug)


def convert(args: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import track

    from sa2va_native.datasets.converters.coco import CocoConverter
    from sa2va_native.datasets.converters.convert import Converter, require_new, write_own_data
    from sa2va_native.datasets.converters.davis import DavisConverter
    from sa2va_native.datasets.converters.id_masks import IdMaskConverter
    from sa2va_native.datasets.converters.json_lists import PhraseCutConverter, Sa2vaConverter
    from sa2va_native.datasets.converters.labelme import LabelmeConverter
    from sa2va_native.datasets.converters.sam_everything import SamConverter
    from sa2va_native.datasets.converters.voc import VocConverter
    from sa2va_native.datasets.converters.yolo import YoloConverter
    from sa2va_native.errors import ConfigError, DataError
    from sa2va_native.files.atomic import make_room

    if not args.root.exists():
        raise DataError(f"{args.root}: no such file or folder. Give the root of the data.")
    if args.include_crowd and args.layout != "coco":
        raise ConfigError(f"--include-crowd is for coco; {args.layout} has no crowds. Leave it out.")
    if args.split and args.layout not in _SPLIT:
        raise ConfigError(f"--split is for {', '.join(_SPLIT)}. Give {args.layout} the path of one split.")
    if args.frame_gap and args.layout != "davis":
        raise ConfigError(f"--frame-gap is for davis; {args.layout} has no clips. Leave it out.")
    if args.layout in _OF_FOLDERS and not args.root.is_dir():
        raise DataError(f"{args.root}: not a folder. Give the folder of the data.")
    if (known := args.out or (args.root / "data.jsonl" if args.root.is_dir() else None)) is not None:
        require_new(known)  # before a large json is read
    converters: dict[str, Callable[[], Converter]] = {
        "labelme": lambda: LabelmeConverter(args.root),
        "coco": lambda: CocoConverter(args.root, args.include_crowd),
        "voc": lambda: VocConverter(args.root),
        "yolo": lambda: YoloConverter(args.root, args.split),
        "id-masks": lambda: IdMaskConverter(args.root, args.split),
        "davis": lambda: DavisConverter(args.root, args.split, args.frame_gap or 5),
        "sam": lambda: SamConverter(args.root),
        "sa2va": lambda: Sa2vaConverter(args.root),
        "phrasecut": lambda: PhraseCutConverter(args.root),
    }
    converter = converters[args.layout]()
    out: Path = known or converter.root / "data.jsonl"
    make_room(out, "--out")
    total = write_own_data(converter, out, lambda names: track(names, "converting", console=Console(stderr=True)))
    print(f"{out}: {total.records:,} objects")
    for note, count in total.notes.items():
        print(f"note: {count:,} x {note}")
    if out.parent.resolve() != converter.root.resolve():
        print(f"The adapter needs image_root={str(converter.root)!r}.")
    if total.bad:
        print(f"{total.bad:,} left out; each is named in {total.report}.")
