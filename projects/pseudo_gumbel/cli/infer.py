"""Ask a model: masks of expressions, and captions of regions, in your own pictures and clips."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pseudo_gumbel.cli.options import add_cfg_options, add_debug, add_weights, make_parser, whole
from sa2va_native.errors import InputError

EXAMPLES = """\
Each expression gets a mask, each region a caption. --out gets them as pictures, and as JSON in answers.json.

examples:
  where is it?                    pseudo-gumbel infer street.jpg "the red circle" "the small star"
  what is it?                     pseudo-gumbel infer street.jpg --mask region.png
  ... by a box or a click         pseudo-gumbel infer street.jpg --box 40,10,90,60 --point 120,80
  ... and back to a mask          pseudo-gumbel infer street.jpg --mask region.png --cycle
  every picture of a folder       pseudo-gumbel infer pictures/ "the red circle"
  a clip                          pseudo-gumbel infer clip.mp4 "the red circle"
  a clip as a folder of frames    pseudo-gumbel infer frames/ --clip "the red circle"
  your run                        pseudo-gumbel infer street.jpg "the bus" --model work_dirs/run
  an exported or published model  pseudo-gumbel infer street.jpg "the bus" --model weights/Sa2VA-4B
  a config with other weights     pseudo-gumbel infer street.jpg "the bus" --model sa2va_4b --weights Sa2VA-4B
"""


def parse_args(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = make_parser(prog, __doc__, EXAMPLES)
    parser.add_argument("source", type=Path, metavar="PICTURE", help="a picture, a folder of pictures, or a clip")
    parser.add_argument("expressions", nargs="*", metavar="EXPRESSION", help="one object each, e.g. 'the red bus'")
    regions = parser.add_argument_group("regions to describe, in pixels of the picture (of a clip: of its first frame)")
    regions.add_argument("--mask", nargs="+", type=Path, default=[], metavar="PNG", help="a region each")
    regions.add_argument(
        "--box", nargs="+", type=_numbers(4), default=[], metavar="X0,Y0,X1,Y1", help="SAM 2 finds the region in each"
    )
    regions.add_argument(
        "--point",
        nargs="+",
        type=_numbers(2, 3),
        action="append",
        default=[],
        metavar="X,Y",
        help="points of one region, for SAM 2; X,Y,0 is a point beside it. Again for another region",
    )
    regions.add_argument("--cycle", action="store_true", help="and the mask that each caption leads back to")
    parser.add_argument("--clip", action="store_true", help="the folder holds the frames of one clip")
    parser.add_argument(
        "--every", type=whole(1), default=1, metavar="N", help="take each Nth frame of a clip (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("answers"), metavar="DIR", help="where results go (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the JSON instead of a line for each answer")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="a config, a run's work dir, or an exported or published directory (default: the tiny model)",
    )
    parser.add_argument(
        "--checkpoint", metavar="PATH", help="of a config: iter_*.pth, or a work dir for its newest one"
    )
    parser.add_argument("--teacher", action="store_true", help="use the checkpoint's EMA teacher")
    add_weights(parser)
    add_cfg_options(parser)
    add_debug(parser)
    args = parser.parse_intermixed_args(arguments)
    if not args.expressions and not (args.mask or args.box or args.point):
        parser.error("nothing to do: give an EXPRESSION to find, or a --mask, --box or --point to describe")
    if args.cycle and not (args.mask or args.box or args.point):
        parser.error("--cycle begins with a region: give a --mask, --box or --point")
    return args


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel infer") -> None:
    args = parse_args(arguments, prog)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: infer(args), args.debug)


def infer(args: argparse.Namespace) -> None:
    with contextlib.redirect_stdout(sys.stderr):  # libraries print too, and stdout must hold the answers only
        from sa2va_native.inference import answers, asking, clips
        from sa2va_native.inference.inputs import picture_pixels

        is_clip, files = sources(args)
        asked = asking.questions(args.expressions, args.mask, args.box, args.point)

        def frames_of(file: Path) -> list[Any]:
            return clips.read_clip(file, args.every) if is_clip else [picture_pixels(file)]

        read: dict[Path, list[Any]] = {}
        if len(files) == 1:  # before seconds are spent on the model
            read[files[0]] = frames_of(files[0])
            asking.require_fitting(asked, read[files[0]][0])
        sa2va = load(args)
    args.out.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    for file, name in zip(files, names(files), strict=True):
        try:
            frames = read.pop(file, None) or frames_of(file)
        except InputError as error:  # one bad picture does not lose the others
            print(error, file=sys.stderr)
            records.append({"picture": str(file), "error": str(error)})
            continue
        for number, answer in enumerate(asking.ask(sa2va, frames, asked, args.cycle, is_clip), 1):
            place = args.out, f"{name}_{number}"
            if is_clip:
                rate = clips.frame_rate(file) / args.every
                written = answers.write_clip(frames, answer, *place, rate, video=find_spec("av") is not None)
            else:
                written = answers.write_picture(frames[0], answer, *place)
            records.append({"clip" if is_clip else "picture": str(file), **answer.record(), "files": written})
            if not args.json:
                print(f"{file}: {answer.summary()}; {written['overlay']}")
    content = json.dumps(records, indent=1, ensure_ascii=False) + "\n"
    (args.out / "answers.json").write_text(content, encoding="utf-8")
    if args.json:
        print(content, end="")
    if bad := sum("error" in record for record in records):
        raise InputError(f"{bad} of {len(files)} pictures cannot be read and were not asked about; all others were")


def sources(args: argparse.Namespace) -> tuple[bool, list[Path]]:
    """Whether a clip is asked about, and the pictures, or the clip.

    Raises:
        InputError: a config in place of a picture, a folder without pictures, or regions for all pictures of a folder.
    """
    from sa2va_native.engine.config.find_config import is_config
    from sa2va_native.inference.clips import is_video, pictures_in

    source: Path = args.source
    if is_config(source):
        raise InputError(f"{source} is a config, not a picture: give it with --model {source}")
    is_clip = args.clip or is_video(source)
    if is_clip or not source.is_dir():
        return is_clip, [source]
    if args.mask or args.box or args.point:
        raise InputError(
            f"{source} is a folder, and a --mask, --box or --point belongs to one picture: name that, or add --clip if "
            "the folder holds the frames of a clip"
        )
    return False, pictures_in(source)


def load(args: argparse.Namespace) -> Any:
    """The model; words of the expressions that it does not know are told."""
    from mmengine.logging import MMLogger

    from pseudo_gumbel.load_inference import load_inference
    from sa2va_native.models.unknown_words import unknown_words

    MMLogger.get_current_instance().setLevel("WARNING")
    sa2va = load_inference(args.model, args.checkpoint, args.weights, args.teacher, args.cfg_options)
    for text in args.expressions:
        if words := unknown_words(sa2va.model.tokenizer, text):
            print(f'"{text}": the model does not know {", ".join(words)}', file=sys.stderr)
    return sa2va


def names(files: Sequence[Path]) -> list[str]:
    """What the results of each file are called: its stem, or all of its name where two stems are alike."""
    count = Counter(file.stem for file in files)
    return [file.stem if count[file.stem] == 1 else file.name.replace(".", "_") for file in files]


def _numbers(*counts: int) -> Callable[[str], list[float]]:
    """``type`` of an option that takes numbers with commas between them."""

    def parse(text: str) -> list[float]:
        with contextlib.suppress(ValueError):
            values = [float(part) for part in text.split(",")]
            if len(values) in counts:
                return [int(value) if value.is_integer() else value for value in values]
        raise argparse.ArgumentTypeError(f"{text}: expected {counts[0]} numbers with commas between them")

    return parse
