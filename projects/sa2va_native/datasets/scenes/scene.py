"""Generated scenes: a few coloured shapes on a varied background, with exact masks, in one or two frames.

Scene ``i`` depends only on ``(seed, split, i)``, not on other scenes, the order in which they are made, or the
process that makes them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from sa2va_native.datasets.scenes.backgrounds import BACKGROUNDS, draw_background
from sa2va_native.datasets.scenes.language import (
    COLOURS,
    HELD_OUT_PAIRS,
    SHAPES,
    SIZES,
    TEXTURES,
    describe,
    referring_expressions,
)
from sa2va_native.errors import ConfigError, did_you_mean

#: ``labelled``, ``test`` and ``val`` never show a held-out pair, ``mask_only`` and ``pretrain`` show all pairs, and
#: the targets of ``test_heldout`` and ``val_heldout`` are held-out pairs. A split's place is part of its scenes' keys,
#: so new splits come last.
SPLITS = ("labelled", "mask_only", "test", "test_heldout", "pretrain", "val", "val_heldout")
_WITHOUT_HELD_OUT = ("labelled", "test", "val")
_HELD_OUT_TARGETS = ("test_heldout", "val_heldout")

RGB = {
    "red": (218, 38, 40),
    "orange": (246, 138, 24),
    "yellow": (248, 220, 48),
    "green": (44, 160, 62),
    "cyan": (64, 208, 222),
    "blue": (40, 80, 212),
    "purple": (128, 52, 178),
    "pink": (248, 132, 192),
}
#: Area of the whole object as a share of the picture, and the smallest visible part. The latter is checked on a
#: rough drawing, so it is a little above what is promised: 50 %, and 1.5 % or 4 % of the picture.
AREA = {"small": (0.019, 0.028), "large": (0.055, 0.09)}
MIN_VISIBLE_AREA = {"small": 0.0165, "large": 0.043}
MIN_VISIBLE_SHARE = 0.55
SUPERSAMPLING = 4


@dataclass(frozen=True)
class SceneObject:
    """``x``, ``y``: centre in picture sides; ``area``: share of the picture; ``angle``: radians."""

    colour: str
    shape: str
    size: str
    texture: str
    x: float
    y: float
    area: float
    angle: float
    rgb: tuple[int, int, int]

    @property
    def attributes(self) -> dict[str, str]:
        return {"size": self.size, "texture": self.texture, "colour": self.colour, "shape": self.shape}

    @property
    def held_out(self) -> bool:
        return (self.colour, self.shape) in HELD_OUT_PAIRS

    @property
    def caption(self) -> str:
        return describe(self)


@dataclass(frozen=True)
class Frame:
    """One picture, uint8 RGB (side, side, 3), and each object's visible part, bool (objects, side, side)."""

    image: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True)
class Scene:
    """The plan of a scene. Objects are in painting order, the last one in front."""

    key: tuple[int, int, int]
    side: int
    background: str
    objects: tuple[SceneObject, ...]
    moved: tuple[SceneObject, ...]  #: the same objects in the second frame
    pan: tuple[int, int]  #: shift of the background in the second frame, px
    expressions: tuple[tuple[str, ...], ...]  #: for each object, true in the first frame

    @property
    def targets(self) -> list[int]:
        """The objects that the split annotates: in the ``_heldout`` splits those of held-out pairs, otherwise all."""
        all_objects = range(len(self.objects))
        if SPLITS[self.key[1]] not in _HELD_OUT_TARGETS:
            return list(all_objects)
        return [i for i in all_objects if self.objects[i].held_out]

    def render(self, frame: int = 1) -> Frame:
        """Draw frame 1 or 2."""
        margin = max(1, round(self.side * 0.05))
        rng = np.random.default_rng((*self.key, 1))
        canvas = draw_background(self.background, self.side + 2 * margin, rng)
        dx, dy = self.pan if frame == 2 else (0, 0)
        canvas = canvas[margin + dy : margin + dy + self.side, margin + dx : margin + dx + self.side].copy()
        return _paint(canvas, self.objects if frame == 1 else self.moved)


def make_scene(
    seed: int, split: str, index: int, *, side: int = 128, min_objects: int = 3, max_objects: int = 3
) -> Scene:
    """Scene ``index`` of a split.

    Args:
        split: one of ``SPLITS``; decides which (colour, shape) pairs may appear.
        side: height and width in px.
        min_objects, max_objects: 2 to 4.

    Raises:
        ConfigError: unknown split, or an impossible number of objects.
    """
    if split not in SPLITS:
        raise ConfigError(f"scene split '{split}' is unknown. {did_you_mean(split, SPLITS)}")
    if not 2 <= min_objects <= max_objects <= 4:
        raise ConfigError(f"scenes have 2 to 4 objects, got min_objects={min_objects}, max_objects={max_objects}")
    key = (seed, SPLITS.index(split), index)
    rng = np.random.default_rng(key)
    while True:
        count = int(rng.integers(min_objects, max_objects + 1))
        kinds = _draw_kinds(split, count, rng)
        objects = _place(kinds, side, rng)
        if objects is None:
            continue
        expressions = tuple(tuple(referring_expressions(objects, i, rng)) for i in range(count))
        if all(expressions):
            break
    background = BACKGROUNDS[int(rng.choice(len(BACKGROUNDS), p=(0.16, 0.2, 0.18, 0.16, 0.3)))]
    reach = max(1, round(side * 0.05))
    pan = (int(rng.integers(-reach, reach + 1)), int(rng.integers(-reach, reach + 1)))
    return Scene(key, side, background, objects, _move(objects, side, rng), pan, expressions)


def _draw_kinds(split: str, count: int, rng: np.random.Generator) -> list[dict[str, str]]:
    """Attributes of all objects, pairwise different; most objects differ from the first in exactly one attribute."""

    def allowed(kind: dict[str, str]) -> bool:
        return split not in _WITHOUT_HELD_OUT or (kind["colour"], kind["shape"]) not in HELD_OUT_PAIRS

    def draw() -> dict[str, str]:
        return {
            "colour": str(rng.choice(COLOURS)),
            "shape": str(rng.choice(SHAPES)),
            "size": str(rng.choice(SIZES)),
            "texture": str(rng.choice(TEXTURES, p=(0.7, 0.15, 0.15))),
        }

    domains = {"colour": COLOURS, "shape": SHAPES, "size": SIZES, "texture": TEXTURES}
    target = draw()
    while not allowed(target) or (
        split in _HELD_OUT_TARGETS and (target["colour"], target["shape"]) not in HELD_OUT_PAIRS
    ):
        target = draw()
    kinds = [target]
    while len(kinds) < count:
        if rng.random() < 0.6:
            changed = str(rng.choice(list(domains), p=(0.35, 0.35, 0.18, 0.12)))
            kind = {**target, changed: str(rng.choice(domains[changed]))}
        else:
            kind = draw()
        if allowed(kind) and kind not in kinds:
            kinds.append(kind)
    return kinds


def _place(kinds: list[dict[str, str]], side: int, rng: np.random.Generator) -> tuple[SceneObject, ...] | None:
    """Poses at which every object is inside the picture and visible enough; None if 40 attempts fail."""
    for _ in range(40):
        objects = []
        for kind in kinds:
            area = float(rng.uniform(*AREA[kind["size"]]))
            angle = float(rng.uniform(-0.26, 0.26))
            low, high = _room(kind["shape"], area, angle)
            jitter = rng.integers(-12, 13, 3)
            red, green, blue = (int(v) for v in np.clip(np.array(RGB[kind["colour"]]) + jitter, 0, 255))
            x, y = (float(v) for v in rng.uniform(low, high))
            objects.append(SceneObject(**kind, x=x, y=y, area=area, angle=angle, rgb=(red, green, blue)))
        order = rng.permutation(len(objects))  # the painting order must not reveal which object is the target
        shuffled = tuple(objects[i] for i in order)
        if _visible_enough(shuffled, side):
            return shuffled
    return None


def _move(objects: tuple[SceneObject, ...], side: int, rng: np.random.Generator) -> tuple[SceneObject, ...]:
    """The objects a moment later: shifted, rotated and scaled a little. Unmoved if 20 attempts hide an object."""
    for _ in range(20):
        moved = []
        for item in objects:
            low_area, high_area = AREA[item.size]
            area = float(np.clip(item.area * rng.uniform(0.8, 1.25), low_area, high_area))
            angle = item.angle + float(rng.uniform(-0.2, 0.2))
            low, high = _room(item.shape, area, angle)
            x, y = (float(v) for v in np.clip(np.array((item.x, item.y)) + rng.uniform(-0.1, 0.1, 2), low, high))
            moved.append(dataclasses.replace(item, x=x, y=y, area=area, angle=angle))
        if _visible_enough(tuple(moved), side):
            return tuple(moved)
    return objects


def _room(shape: str, area: float, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest centre (x, y) at which the whole object is inside the picture."""
    points = _turned(shape, angle)[0] * math.sqrt(area)
    return 0.01 - points.min(axis=0), 0.99 - points.max(axis=0)


def _visible_enough(objects: tuple[SceneObject, ...], side: int) -> bool:
    whole = np.zeros((len(objects), side, side), bool)
    for i, item in enumerate(objects):
        tile, left, top = _tile(item, side, supersampling=1)
        silhouette = np.asarray(tile) > 127
        here, part = _windows(silhouette, left, top, side)
        whole[(i, *here)] = silhouette[part]
    visible = _hide(whole).sum(axis=(1, 2))
    return all(
        seen >= MIN_VISIBLE_SHARE * full and seen >= MIN_VISIBLE_AREA[item.size] * side * side
        for item, seen, full in zip(objects, visible, whole.sum(axis=(1, 2)), strict=True)
    )


def _hide(whole: np.ndarray) -> np.ndarray:
    """bool (objects, H, W): whole objects in painting order -> the visible part of each."""
    covered = np.zeros_like(whole[0])
    visible = np.empty_like(whole)
    for i in range(len(whole) - 1, -1, -1):
        visible[i] = whole[i] & ~covered
        covered |= whole[i]
    return visible


def outline(item: SceneObject, side: int) -> list[np.ndarray]:
    """Outer polygon and, for a ring, its hole: float (points, 2), x and y in px, pixel edges at integers."""
    scale, centre = side * math.sqrt(item.area), side * np.array((item.x, item.y))
    return [polygon * scale + centre for polygon in _turned(item.shape, item.angle)]


def _turned(shape: str, angle: float) -> list[np.ndarray]:
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array(((cos, sin), (-sin, cos)))
    return [polygon @ turn for polygon in _unit_polygons(shape)]


@functools.cache
def _unit_polygons(shape: str) -> tuple[np.ndarray, ...]:
    """Polygons around the origin with a filled area of 1, so that all shapes of one size look equally big."""

    def regular(points: int, radii: tuple[float, ...] = (1.0,), turn: float = -math.pi / 2) -> np.ndarray:
        angles = turn + 2 * math.pi * np.arange(points) / points
        radius = np.resize(radii, points)
        return np.stack((radius * np.cos(angles), radius * np.sin(angles)), axis=1)

    arm = 0.32
    polygons = {
        "circle": (regular(64),),
        "square": (regular(4, turn=-math.pi / 4),),
        "triangle": (regular(3),),
        "star": (regular(10, (1.0, 0.44)),),
        "cross": (
            np.array(
                [
                    *((arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm), (arm, 1)),
                    *((-arm, 1), (-arm, arm), (-1, arm), (-1, -arm), (-arm, -arm), (-arm, -1)),
                ],
            ),
        ),
        "ring": (regular(64), regular(64, (0.5,))),
    }[shape]

    def area(polygon: np.ndarray) -> float:
        x, y = polygon.T
        return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))

    filled = area(polygons[0]) - sum(area(hole) for hole in polygons[1:])
    return tuple(polygon / math.sqrt(filled) for polygon in polygons)


def _tile(item: SceneObject, side: int, supersampling: int) -> tuple[Image.Image, int, int]:
    """The object's silhouette, enlarged, on the smallest possible canvas, and the canvas's position (px)."""
    polygons = outline(item, side)
    left, top = (int(v) - 1 for v in np.floor(polygons[0].min(axis=0)))
    width, height = (int(v) + 1 for v in np.ceil(polygons[0].max(axis=0)) - (left, top))
    tile = Image.new("L", (width * supersampling, height * supersampling))
    pen = ImageDraw.Draw(tile)
    for polygon, value in zip(polygons, (255, 0), strict=False):
        points = (polygon - (left, top)) * supersampling
        pen.polygon([(float(x), float(y)) for x, y in points], fill=value)
    return tile, left, top


def _windows(tile: np.ndarray, left: int, top: int, side: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the picture that a tile covers, and the part of the tile that is inside the picture."""
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + tile.shape[0], side), min(left + tile.shape[1], side)
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


def _paint(canvas: np.ndarray, objects: tuple[SceneObject, ...]) -> Frame:
    """Paint the objects in order, each with three coverages: silhouette, inside, and texture."""
    side = canvas.shape[0]
    whole = np.zeros((len(objects), side, side), bool)
    for i, item in enumerate(objects):
        tile, left, top = _tile(item, side, SUPERSAMPLING)
        inside = _inside(tile, item, side, left, top)
        textured = Image.fromarray(np.where(_texture(item, tile.size, side), np.asarray(inside), np.uint8(0)))
        layers = [np.asarray(layer.reduce(SUPERSAMPLING), np.float32) / 255 for layer in (tile, inside, textured)]
        here, part = _windows(layers[0], left, top, side)
        silhouette, inner, light = (layer[part][..., None] for layer in layers)
        base = np.array(item.rgb, np.float32)
        # a dark rim separates objects of one colour, and bright objects from a bright background
        painted = (silhouette - inner) * 0.55 * base + (inner - light) * base + light * (0.15 * base + 0.85 * 255)
        canvas[here] = canvas[here] * (1 - silhouette) + painted
        whole[(i, *here)] = silhouette[..., 0] > 0.5
    return Frame(canvas.round().clip(0, 255).astype(np.uint8), _hide(whole))


def _inside(tile: Image.Image, item: SceneObject, side: int, left: int, top: int) -> Image.Image:
    """The silhouette without a rim of about a pixel (at side 128)."""
    inside = tile.copy()
    pen = ImageDraw.Draw(inside)
    for polygon in outline(item, side):
        points = [(float(x), float(y)) for x, y in (polygon - (left, top)) * SUPERSAMPLING]
        pen.line([*points, points[0]], fill=0, width=round(side / 128 * 2 * SUPERSAMPLING))
    return inside


def _texture(item: SceneObject, size: tuple[int, int], side: int) -> np.ndarray:
    """Where the enlarged tile has the light second colour: bool (h, w)."""
    width, height = size
    if item.texture == "plain":
        return np.zeros((height, width), bool)
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    unit = side / 128 * SUPERSAMPLING
    turn = math.pi / 4 + item.angle
    along = x * math.cos(turn) + y * math.sin(turn)
    if item.texture == "striped":
        return (along / (7.0 * unit)) % 1 < 0.4
    across = y * math.cos(turn) - x * math.sin(turn)
    cell = 6.5 * unit
    return (along % cell - cell / 2) ** 2 + (across % cell - cell / 2) ** 2 < (0.3 * cell) ** 2
