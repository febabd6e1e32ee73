"""How to fix a bad sample: one line for each kind of reason."""

from __future__ import annotations

import re
from typing import NamedTuple


class Advice(NamedTuple):
    """A kind of fault."""

    pattern: str  #: matches the reason of a ``BadSample``
    title: str
    remedy: str


ADVICE = (
    Advice(r"^missing", "missing file", "add the file, or remove the record"),
    Advice(
        r"leads out of|loop of symbolic",
        "path outside its folder",
        "write the path relative to the folder of the pictures; if links leave it, give their folder as image_root",
    ),
    Advice(
        r"is not the path of a file|not a usable path|neither file_name nor coco_url",
        "no usable path",
        "write the path of a file as a string, in COCO's images as file_name",
    ),
    Advice(r"name is not UTF-8", "name that is not UTF-8", "rename the file"),
    Advice(r"^unreadable \(", "unreadable file", "copy or download it again, and check that you may read it"),
    Advice(
        r"^unreadable picture",
        "unreadable picture",
        "copy or download the file again; known formats are JPEG, PNG, WebP, BMP, GIF, PPM, TIFF and JPEG 2000",
    ),
    Advice(
        r"^unreadable video .*frame \d+ of a video",
        "video shorter than its annotation",
        "use the video that was annotated: it has four frames for each annotated one",
    ),
    Advice(r"^unreadable video", "unreadable video", "copy or download it again; known formats are those of FFmpeg"),
    Advice(
        r"^unreadable npz",
        "broken pair file",
        "write or copy it again, with numeric arrays frame1, mask1, frame2 and mask2; objects are not unpickled",
    ),
    Advice(
        r"^(frame|mask) (of shape|of type|with values)",
        "array that is not a picture or mask",
        "frames are (height, width, 3), masks (height, width), with values from 0 to 1 or from 0 to 255",
    ),
    Advice(
        r"uncompressed tar|^unreadable shard|^truncated: ",
        "broken shard",
        "download or write it again; unpack a .tar.gz to a .tar",
    ),
    Advice(
        r"among its members",
        "incomplete sample in a shard",
        "put the picture and the json of one name into one shard, or remove the member",
    ),
    Advice(
        r"^no csv|fields, and",
        "broken line in a csv",
        "correct it: as many fields as columns, closed quotes, UTF-8; or download the csv again",
    ),
    Advice(
        r"^not an annotation of SA-V",
        "broken masklet json",
        "download it again; it needs video_height, video_width and masklet",
    ),
    Advice(
        r"needs? a number|limits of area|could not convert",
        "missing number for a limit",
        "add the number, or remove the limit from the adapter",
    ),
    Advice(
        r"is above \d+ px", "too many pixels", "shrink the picture and its mask, or raise max_pixels of the adapter"
    ),
    Advice(r"^picture of mode", "picture with an unknown range", "save it with 8 or 16 bits per channel"),
    Advice(
        r"annotated as",
        "picture whose size differs from the annotation",
        "use the picture that was annotated, or draw the mask again; a resized picture needs a resized mask; the size "
        "of an RLE is [height, width]",
    ),
    Advice(
        r"^mask of size",
        "mask whose size differs from its picture",
        "use the mask that was drawn on this picture, or save both at the same size",
    ),
    Advice(
        r"^RLE of size",
        "RLE whose size differs from the picture",
        "encode the mask at the picture's size; size is [height, width]",
    ),
    Advice(r"^RLE counts|expected an RLE", "broken RLE", "encode the mask again, e.g. with pycocotools.mask.encode"),
    Advice(
        r"^polygon of",
        "polygon with too few points",
        "a polygon is [x0, y0, x1, y1, x2, y2, ...]: draw it again, or remove it",
    ),
    Advice(
        r"coordinate|outline of|pieces, above",
        "polygon with impossible coordinates",
        "coordinates are pixels of the picture",
    ),
    Advice(
        r"^mask entirely outside",
        "mask outside its picture",
        "coordinates are in pixels, x before y, not fractions of the picture",
    ),
    Advice(
        r"^empty mask",
        "empty mask",
        "draw the mask, or remove the record; coordinates are in pixels, not fractions of the picture",
    ),
    Advice(
        r"^no 'mask', only a",
        "box without a mask",
        "draw the mask, or let SAM 2 make it of the box; null as mask, without bbox, says that nothing is meant",
    ),
    Advice(r"^no segmentation|^no 'mask|neither a list", "no mask", "give polygons, an RLE or the path of a PNG"),
    Advice(
        r"^mask with \d+ values",
        "mask file with several values",
        "save it as a PNG with two values, without smoothing, never as JPEG; save each object to its own file",
    ),
    Advice(r"^unknown key", "misspelt key", "keys are image, mask, text, image2, mask2 and id"),
    Advice(r"^text |^empty text|^no text", "unusable text", "write a sentence or a paragraph, or omit the text"),
    Advice(r"^attributes", "unusable attributes", 'attributes are names and values, e.g. {"colour": "red"}'),
    Advice(r"^labels", "labels with several channels", "save palette indices or grey values, one channel"),
    Advice(r"^no '", "missing key", "add it, or remove the record"),
    Advice(
        r"expected (an object|a JSON object|a caption)", "record that is not an object", "write it as names and values"
    ),
    Advice(
        r"^not JSON; truncated|^no list 'annotations'",
        "broken json of a picture",
        "download it again; it is an object with a list 'annotations'",
    ),
    Advice(
        r"changed since", "changed since it was indexed", "delete the index (.index in the root); it is built again"
    ),
    Advice(r"not JSON", "line that is not JSON", "correct the line: one JSON object per line"),
    Advice(
        r"is given to|several targets or none",
        "ambiguous id",
        "give each entry a unique id; a ref means one object, by one ann_id",
    ),
    Advice(
        r"is no list; |^no_target is|is an object of image",
        "ref that contradicts itself",
        "correct its ann_id (a list; [-1] without a target), image_id or no_target",
    ),
    Advice(
        r"^no list of frames|^frames of several|^not one mask or null|^(anno_id|obj_id|type_id) .* expected",
        "broken entry of a clip",
        "download it again: frames of one size, ids of masks, one RLE or null a frame for each, ReVOS's type_id",
    ),
    Advice(r"^no target", "expression without a target", "use the set in a source of kind 'refer'"),
    Advice(r"is not in|not among", "reference to a missing entry", "add the missing entry, or remove the record"),
)


def advice_for(reason: str) -> Advice:
    """The advice for the reason of a ``BadSample``; the title of an unknown reason is the reason without numbers."""
    of_mask = re.sub(r"^frame \d+: ", "", reason)
    for advice in ADVICE:
        if re.search(advice.pattern, of_mask):
            return advice
    return Advice("", re.sub(r"'[^']*'|[-+]?\d[\d.e+]*", "…", reason)[:80], "see the reason")
