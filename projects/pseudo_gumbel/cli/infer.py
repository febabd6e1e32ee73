"""Masks of expressions, and captions of masks, in a picture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pseudo_gumbel.cli.options import add_cfg_options, add_config, add_debug, add_weights, make_parser

EXAMPLES = """\
For each expression a mask and an overlay are written to --out; for each mask a caption is printed.

examples:
  where is it?                    pseudo-gumbel infer pseudo_gumbel_tiny street.jpg "the red circle" "the small star"
  what is it?                     pseudo-gumbel infer pseudo_gumbel_tiny street.jpg --mask region.png
  a trained model                 pseudo-gumbel infer CONFIG PICTURE EXPRESSION --checkpoint work_dirs/run
  published weights               pseudo-gumbel infer sa2va_4b PICTURE EXPRESSION --weights Sa2VA-4B
"""


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel infer") -> None:
    parser = make_parser(prog, __doc__, EXAMPLES)
    add_config(parser)
    parser.add_argument("picture", type=Path, metavar="PICTURE")
    parser.add_argument("expressions", nargs="*", metavar="EXPRESSION", help="one object each, e.g. 'the red bus'")
    parser.add_argument(
        "--mask",
        nargs="+",
        type=Path,
        default=[],
        metavar="PNG",
        help="masks of one region each, as large as the picture",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("masks"),
        metavar="DIR",
        help="where masks and overlays go (default: %(default)s)",
    )
    parser.add_argument("--checkpoint", metavar="PATH", help="iter_*.pth, or a work dir for its newest one")
    parser.add_argument("--teacher", action="store_true", help="use the checkpoint's EMA teacher")
    add_weights(parser)
    add_cfg_options(parser)
    add_debug(parser)
    args = parser.parse_args(arguments)
    if not args.expressions and not args.mask:
        parser.error("nothing to do: give an EXPRESSION to find, or a --mask to describe")
    if args.teacher and args.checkpoint is None:
        parser.error("--teacher needs a checkpoint: give --checkpoint")
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: infer(args), args.debug)


def infer(args: argparse.Namespace) -> None:
    from mmengine.registry import MODELS
    from PIL import Image

    from pseudo_gumbel.hooks.ema_teacher_hook import EMATeacherHook
    from sa2va_native.datasets.reading.files import read_mask, read_picture
    from sa2va_native.engine.checkpoints.weights import load_weights, require_path
    from sa2va_native.engine.run import launch
    from sa2va_native.errors import DataError
    from sa2va_native.evaluation.drawing import PREDICTED, outline, tint
    from sa2va_native.inference.sa2va_inference import Sa2VAInference
    from sa2va_native.parallel.process_group import has_cuda

    picture = read_picture(args.picture, "picture")
    regions = [read_mask(path, "mask") for path in args.mask]
    for path, region in zip(args.mask, regions, strict=True):
        if region.shape != picture.shape[:2]:
            raise DataError(
                f"{path}: the mask has {region.shape[1]} x {region.shape[0]} px, but {args.picture} has "
                f"{picture.shape[1]} x {picture.shape[0]}. Give a mask of the picture's size."
            )
    cfg = launch.load_config(args.config, args.cfg_options)
    launch.use_weights(cfg, args.weights)
    model = MODELS.build(cfg.model)
    if args.checkpoint is not None:
        load_weights(model, require_path(args.checkpoint), EMATeacherHook.checkpoint_key if args.teacher else None)
    sa2va = Sa2VAInference(getattr(model, "student", model).to("cuda" if has_cuda() else "cpu"))

    if regions:
        for path, caption in zip(args.mask, sa2va.caption_regions(picture, regions), strict=True):
            print(f"{path}: {caption}")
    if not args.expressions:
        return
    args.out.mkdir(parents=True, exist_ok=True)
    masks = sa2va.segment_image(picture, args.expressions)
    for number, (expression, mask) in enumerate(zip(args.expressions, masks, strict=True), 1):
        if mask is None:
            print(f"{expression}: no mask")
            continue
        file = args.out / f"{args.picture.stem}_{number}.png"
        Image.fromarray(mask).save(file)
        shown = tint(Image.fromarray(picture), 0.4 * mask, PREDICTED)
        outline(shown, mask, PREDICTED, 3).save(file.with_stem(f"{file.stem}_overlay"))
        print(f"{expression}: {file}, {mask.mean():.1%} of the picture")
