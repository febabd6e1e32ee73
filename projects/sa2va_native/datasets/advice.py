"""How to mend a bad sample: one line for each kind of reason."""

from __future__ import annotations

import re
from typing import NamedTuple


class Advice(NamedTuple):
    """A kind of fault."""

    pattern: str  #: of the reason of a ``BadSample``
    title: str
    remedy: str


ADVICE = (
    Advice(r"^missing", "missing file", "put the file there, or take the record out"),
    Advice(
        r"leads out of|loop of symbolic",
        "path outside its folder",
        "write the path relative to the folder of the pictures; give the folder that links point to as image_root",
    ),
    Advice(r"is no (usable )?path|no usable path", "no usable path", "write the path of a file as text"),
    Advice(r"name is not UTF-8", "name that is not UTF-8", "rename the file"),
    Advice(r"^unreadable \(", "unreadable file", "copy or download it again, and see that you may read it"),
    Advice(
        r"^unreadable picture",
        "unreadable picture",
        "copy or download the file again; formats are JPEG, PNG, WebP, BMP, GIF, PPM, TIFF and JPEG 2000",
    ),
    Advice(
        r"^unreadable video .*frame \d+ of a video",
        "video shorter than its annotation",
        "give the video that was annotated: four frames of it for each annotated one",
    ),
    Advice(r"^unreadable video", "unreadable video", "copy or download it again; formats are those of FFmpeg"),
    Advice(
        r"^unreadable npz",
        "broken pair file",
        "make or copy it again, with arrays of numbers frame1, mask1, frame2 and mask2; objects are not unpickled",
    ),
    Advice(
        r"^(frame|mask) (of shape|of type|with values)",
        "array that is no picture or mask",
        "frames are (height, width, 3), masks (height, width), of values from 0 to 1 or from 0 to 255",
    ),
    Advice(
        r"uncompressed tar|^unreadable shard|^cut off: ",
        "broken shard",
        "download or write it again; of a .tar.gz, make a .tar",
    ),
    Advice(
        r"among its members",
        "half a sample of a shard",
        "write the picture and the json of one name into one shard, or take the member out",
    ),
    Advice(
        r"^no csv|fields, and",
        "broken line of a csv",
        "write it again: as many fields as columns, quotes closed, UTF-8; or download the csv again",
    ),
    Advice(
        r"^no annotation of SA-V",
        "broken masklet json",
        "download it again; it needs video_height, video_width and masklet",
    ),
    Advice(
        r"needs? a number|limits of area|could not convert",
        "no number for a limit",
        "write the number, or take the limit off the adapter",
    ),
    Advice(
        r"is above \d+ px", "too many pixels", "shrink the picture and its mask, or raise max_pixels of the adapter"
    ),
    Advice(r"^picture of mode", "picture with an unknown range", "save it with 8 or 16 bits a channel"),
    Advice(
        r"annotated as",
        "picture of another size than annotated",
        "give the picture that was annotated, or draw the mask again; a resized picture needs a resized mask; the size "
        "of an RLE is [height, width]",
    ),
    Advice(
        r"^mask of size",
        "mask of another size than its picture",
        "give the mask that was drawn on this picture, or save both at one size",
    ),
    Advice(
        r"^RLE of size",
        "RLE of another size than the picture",
        "encode the mask at the picture's size; size is [height, width]",
    ),
    Advice(r"^RLE counts|expected an RLE", "broken RLE", "encode the mask again, e.g. with pycocotools.mask.encode"),
    Advice(
        r"^polygon of",
        "polygon of too few points",
        "a polygon is [x0, y0, x1, y1, x2, y2, ...]: draw it again, or take it out",
    ),
    Advice(r"coordinate|outline of", "polygon with senseless coordinates", "coordinates are pixels of the picture"),
    Advice(
        r"^mask wholly outside",
        "mask outside its picture",
        "coordinates are pixels of the picture, x before y, not shares of it",
    ),
    Advice(
        r"^empty mask",
        "empty mask",
        "draw the mask, or take the record out; coordinates are pixels of the picture, not shares of it",
    ),
    Advice(r"^no segmentation|^no 'mask|neither a list", "no mask", "give polygons, an RLE or the path of a PNG"),
    Advice(
        r"^mask with \d+ values",
        "mask file of several values",
        "save it as PNG of two values, without smoothing, never as JPEG; several objects are one file each",
    ),
    Advice(r"^unknown key", "misspelt key", "keys are image, mask, text, image2, mask2 and id"),
    Advice(r"^text |^empty text|^no text", "unusable text", "write a sentence or a paragraph, or leave the text out"),
    Advice(r"^attributes", "unusable attributes", 'attributes are names and values, e.g. {"colour": "red"}'),
    Advice(r"^labels", "labels of several channels", "save palette indices or grey values, one channel"),
    Advice(r"^no '", "missing key", "write it, or take the record out"),
    Advice(r"expected (an object|a JSON object|a caption)", "record that is no object", "write it as names and values"),
    Advice(
        r"^not JSON; cut off|^no list 'annotations'",
        "broken json of a picture",
        "download it again; it is an object with a list 'annotations'",
    ),
    Advice(r"changed since", "changed since it was indexed", "delete the index (.index in the root): it is made again"),
    Advice(r"not JSON", "line that is no JSON", "write the line again; one JSON object a line"),
    Advice(r"is given to", "ambiguous id", "give each entry an id of its own"),
    Advice(r"is not in|not among", "reference to nothing", "add the entry that is referred to, or take the record out"),
)


def advice_for(reason: str) -> Advice:
    """The advice for the reason of a ``BadSample``; for one that is not foreseen, its own words without numbers."""
    of_mask = re.sub(r"^frame \d+: ", "", reason)
    for advice in ADVICE:
        if re.search(advice.pattern, of_mask):
            return advice
    return Advice("", re.sub(r"'[^']*'|[-+]?\d[\d.e+]*", "…", reason)[:80], "see the reason")
