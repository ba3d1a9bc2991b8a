"""Rooms and open scenes made up from a seed, with photographs on all surfaces, and their exact distances.

A room has pictures on its walls, or an indoor panorama; an open scene shows a panorama on its ground and on a dome, sky
included. Columns, bars, panels and boxes stand in sight of the origin, looking along +z, and hide what is behind them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.synthetic.box_tracing import FACES, PANORAMA, trace_boxes
from eval.synthetic.panoramas import crop
from eval.synthetic.room_textures import TEXELS, material
from worldgen.geometry.equirect import sample

Kind = Literal["room", "open"]

_SIDE = 128  # texels of a picture
_LEVELS = 6
_PICTURES = 10  # of a scene
_CROP_DEG = (40.0, 90.0)  # of a panorama that a picture shows
_MATERIALS = 0.25  # share of pictures that are no photographs
_ROOM_M = (3.0, 7.0)  # widths and depths
_HEIGHT_M = (2.4, 3.4)
_EYES_M = (1.2, 1.7)  # above the floor
_DOME_M = (10.0, 30.0)
_OBJECTS = (3, 8)
_NEAR_M = (0.8, 2.0)
_FAR_M = 9.0
_NEAR = 2  # objects at least that are near
_ASIDE_DEG = 34.0  # how far from +z they stand


@dataclass(frozen=True, eq=False)
class ProceduralWorld:
    """Fulfils `rendering.Truth`; `box_tracing.trace_boxes` says what its arrays hold.

    radius: metres, of the dome, 0 = a room; panorama: [3, H, W], shown by the faces that have no picture.
    """

    solids: np.ndarray
    radius: float
    pictures: np.ndarray
    texel_m: np.ndarray
    shades: np.ndarray
    levels: np.ndarray
    starts: np.ndarray
    panorama: Tensor

    def trace(self, origin: Tensor, rays: Tensor, pixel_rad: float) -> tuple[Tensor, Tensor]:
        """From origin [3] along unit rays [h, w, 3]: colours [h, w, 3] and distances [h, w], metres."""
        flat = rays.reshape(-1, 3)
        rgb, faces = np.zeros((len(flat), 3), np.float32), np.zeros(len(flat), np.int32)
        distance = torch.from_numpy(  # for an origin with strides, numba would compile it anew: 10 s
            trace_boxes(
                origin.contiguous().numpy(), flat.contiguous().numpy(), self.solids, np.float32(self.radius),
                self.pictures, self.texel_m, self.shades, self.levels, self.starts, _SIDE, np.float32(pixel_rad),
                rgb, faces,
            )
        )  # fmt: skip
        shown = torch.from_numpy(self.pictures[faces] == PANORAMA)
        colours = torch.from_numpy(rgb)
        if shown.any():
            xyz = origin + flat[shown] * distance[shown, None]
            colours[shown] = sample(self.panorama, xyz[None], "bicubic")[:, 0].T.clamp(0, 1)
        return colours.reshape(rays.shape), distance.reshape(rays.shape[:-1])

    def distance(self, origin: Tensor, rays: Tensor) -> Tensor:
        """The distances alone, [h, w]."""
        return self.trace(origin, rays, 1.0)[1]

    def clearance(self, xyz: Tensor) -> Tensor:
        """How far points [..., 3] lie from the surface at least, metres [...]; negative within a box or outside."""
        shell = torch.from_numpy(self.solids[0])
        gap = shell[3:6] - (xyz - shell[:3]).abs()
        nearest = torch.minimum(gap[..., 1], self.radius - xyz.norm(dim=-1)) if self.radius else gap.amin(-1)
        for solid in torch.from_numpy(self.solids[1:]):
            x, y, z = (xyz - solid[:3]).unbind(-1)
            turned = torch.stack([solid[6] * x - solid[7] * z, y, solid[7] * x + solid[6] * z], dim=-1)
            beyond = turned.abs() - solid[3:6]
            outside = beyond.clamp(min=0).norm(dim=-1) + beyond.amax(-1).clamp(max=0)
            nearest = torch.minimum(nearest, outside)
        return nearest


def procedural_world(
    kind: Kind, generator: np.random.Generator, panoramas: Mapping[str, Tensor], materials: Sequence[str]
) -> ProceduralWorld:
    """One world; its pictures are crops of the panoramas [3, H, W], and of materials (`room_textures.MATERIALS`)."""
    radius = generator.uniform(*_DOME_M) if kind == "open" else 0.0
    shell = _open_shell(generator, radius) if kind == "open" else _room_shell(generator)
    reach = min(_FAR_M, 0.6 * radius if radius else 0.9 * float(shell[2] + shell[5]))
    count = int(generator.integers(_OBJECTS[0], _OBJECTS[1] + 1))
    objects = [_object(generator, shell, number < _NEAR, reach) for number in range(count)]
    solids = np.array([shell, *objects], np.float32)
    pictures, texel_m = _hung(generator, solids, with_panorama=bool(radius) or generator.random() < 0.5)
    names = sorted(panoramas)
    panorama = panoramas[names[generator.integers(len(names))]]
    turned = panorama.roll(int(generator.integers(panorama.shape[2])), dims=2)
    levels, starts = _pyramid(_made_pictures(generator, panoramas, materials))
    shades = _shades(generator, solids, pictures)
    return ProceduralWorld(solids, radius, pictures, texel_m, shades, levels, starts, turned)


def _room_shell(generator: np.random.Generator) -> list[float]:
    """The origin stands in it at the eyes' height, farther from the wall ahead than from that behind."""
    width, depth, height = generator.uniform(*_ROOM_M), generator.uniform(*_ROOM_M), generator.uniform(*_HEIGHT_M)
    left, behind = generator.uniform(0.35, 0.65) * width, max(0.9, generator.uniform(0.15, 0.3) * depth)
    above = height - generator.uniform(*_EYES_M)
    middle = [width / 2 - left, height / 2 - above, depth / 2 - behind]
    return [*middle, width / 2, height / 2, depth / 2, 1.0, 0.0]


def _open_shell(generator: np.random.Generator, radius: float) -> list[float]:
    """A room whose floor is the ground; the dome stands in for the rest of it."""
    return [0.0, generator.uniform(*_EYES_M) - radius, 0.0, radius, radius, radius, 1.0, 0.0]


def _object(generator: np.random.Generator, shell: Sequence[float], near: bool, reach: float) -> list[float]:
    """Its size is an angle rather than a length, so that near ones leave something to be seen."""
    distance = generator.uniform(*_NEAR_M) if near else generator.uniform(1.5, max(reach, 1.6))
    aside = np.radians(generator.uniform(-_ASIDE_DEG, _ASIDE_DEG))
    floor, ceiling = shell[1] + shell[4], shell[1] - min(shell[4], 2.5)
    x, z = distance * np.sin(aside), distance * np.cos(aside)
    x = np.clip(x, shell[0] - shell[3] + 0.1, shell[0] + shell[3] - 0.1)
    z = min(z, shell[2] + shell[5] - 0.1)
    wide, high, deep, y = _shape(generator, distance, floor, max(ceiling, -2.5))
    turn = generator.uniform(-np.pi / 4, np.pi / 4)
    return [x, y, z, wide / 2, high / 2, deep / 2, np.cos(turn), np.sin(turn)]


def _shape(
    generator: np.random.Generator, distance: float, floor: float, ceiling: float
) -> tuple[float, float, float, float]:
    """Width, height and depth of a column, bar, panel or box, and its middle's y, all metres."""
    width = np.radians(generator.uniform(8, 26)) * distance
    match generator.choice(["column", "bar", "panel", "box", "box"]):
        case "column":
            wide = np.radians(generator.uniform(2, 9)) * distance
            return wide, floor - ceiling, wide, (floor + ceiling) / 2
        case "bar":
            thick = np.radians(generator.uniform(1.5, 5)) * distance
            return 2 * width, thick, thick, generator.uniform(-0.45, 0.45) * distance
        case "panel":
            high = width * generator.uniform(0.7, 1.6)
            return width, high, generator.uniform(0.02, 0.08), generator.uniform(-0.35, 0.35) * distance
        case _:
            high = width * generator.uniform(0.7, 1.6)
            stands = generator.random() < 0.6
            middle = floor - high / 2 if stands else generator.uniform(-0.4, 0.4) * distance
            return width, high, width * generator.uniform(0.4, 1.2), middle


def _hung(generator: np.random.Generator, solids: np.ndarray, with_panorama: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which picture each face shows, and how many metres each texel of it has; boxes have two pictures at most."""
    pictures = np.empty((len(solids), FACES), np.int64)
    texel_m = np.empty((len(solids), FACES), np.float32)
    for number, solid in enumerate(solids):
        if number == 0:
            pictures[0] = PANORAMA if with_panorama else generator.integers(_PICTURES, size=FACES)
            texel_m[0] = generator.uniform(1.5, 3.5, FACES) / _SIDE
            continue
        pictures[number] = generator.integers(_PICTURES, size=2).repeat((4, 2))
        texel_m[number] = max(2 * solid[3:6].max() * generator.uniform(0.7, 1.1), 0.25) / _SIDE
    return pictures.ravel(), texel_m.ravel()


def _shades(generator: np.random.Generator, solids: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """How light falls on each face from one direction; pictures of a shell keep most of their own light."""
    light = generator.normal((0, -1, 0))
    light /= np.linalg.norm(light)
    axes = np.stack([-np.eye(3), np.eye(3)], axis=1).reshape(FACES, 3)
    shades = np.empty((len(solids), FACES), np.float32)
    for number, solid in enumerate(solids):
        cos, sin = solid[6], solid[7]
        facing = (axes @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])) @ light
        shades[number] = generator.uniform(0.75, 1.0) * (1 + 0.3 * facing)
    return shades.clip(0.35, 1.1).ravel()


def _made_pictures(generator: np.random.Generator, panoramas: Mapping[str, Tensor], materials: Sequence[str]) -> Tensor:
    """[_PICTURES, 3, _SIDE, _SIDE]."""
    names = sorted(panoramas)
    made = []
    for _ in range(_PICTURES):
        if materials and generator.random() < _MATERIALS:
            made.append(_part(materials[int(generator.integers(len(materials)))], generator))
            continue
        panorama = panoramas[names[generator.integers(len(names))]]
        made.append(crop(panorama, generator.uniform(-180, 180), generator.uniform(*_CROP_DEG), _SIDE, _SIDE))
    return torch.stack(made)


def _part(name: str, generator: np.random.Generator) -> Tensor:
    """Half as wide and as high as the material's whole tile, [3, _SIDE, _SIDE]."""
    whole = _small(name)
    row, column = generator.integers(whole.shape[1], size=2)
    return whole.roll((int(row), int(column)), dims=(1, 2))[:, :_SIDE, :_SIDE]


@cache
def _small(name: str) -> Tensor:
    """A material, [3, 2 _SIDE, 2 _SIDE]."""
    whole = torch.from_numpy(material(name)).movedim(-1, 0)
    return F.avg_pool2d(whole, TEXELS // (2 * _SIDE))


def _pyramid(pictures: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [P, 3, _SIDE, _SIDE] at all levels as rows [texels, 3], and where each level begins."""
    rows, starts, level = [], [0], pictures
    for _ in range(_LEVELS):
        rows.append(level.movedim(1, -1).reshape(-1, 3))
        starts.append(starts[-1] + len(rows[-1]))
        level = F.avg_pool2d(level, 2)
    return torch.cat(rows).contiguous().numpy(), np.array(starts)
