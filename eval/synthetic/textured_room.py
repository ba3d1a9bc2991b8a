"""The analytic truth: a furnished room of boxes with pictures of materials on every face, rendered by ray tracing."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.synthetic.boxes import Boxes
from eval.synthetic.room_textures import MATERIALS, TEXELS, TILE_M, material

ROOM = Boxes(
    low=(-3.0, -1.5, -4.0),
    high=(3.5, 1.6, 5.0),
    inside=(
        ((1.4, -1.5, 2.0), (1.9, 1.6, 2.6)),  # pillars
        ((-2.2, -1.5, 1.4), (-1.75, 1.6, 1.85)),
        ((1.35, -1.5, -2.5), (1.85, 1.6, -2.0)),
        ((-0.9, 0.7, 2.5), (0.1, 1.6, 3.4)),  # crates
        ((-0.6, 0.15, 2.7), (-0.1, 0.7, 3.2)),
        ((2.4, 0.5, -0.6), (3.3, 1.6, 0.4)),
        ((-2.2, 0.9, -3.3), (-0.3, 1.6, -2.5)),
        ((-3.0, -0.9, -1.6), (-2.5, 1.6, 0.3)),  # a bookcase
        ((-1.25, 1.59, -1.3), (1.25, 1.6, 1.4)),  # a mosaic in the floor
    ),
)

_FACES = (  # materials of the faces towards x, y and z: low side, high side; of the room, then of each box in it
    ("bricks", "posters", "boards", "planks", "posters", "bricks"),
    *[("stone",) * 6] * 3,
    *[("crate",) * 6] * 4,
    ("books", "books", "crate", "crate", "books", "books"),
    ("mosaic",) * 6,
)
_MIRROR = ((1, -1, 1, 1, -1, 1), (-1, 1, 1, 1, 1, -1))  # so that letters read from left to right; room, boxes
_LAMP = (0.3, -1.1, 0.4)
_AMBIENT = 0.42
_LEVELS = 6  # of the pictures, each half as fine as the one before


class TexturedRoom:
    """Fulfils `rendering.Truth`."""

    def distance(self, origin: Tensor, rays: Tensor) -> Tensor:
        return ROOM.hit(origin, rays)[0]

    def trace(self, origin: Tensor, rays: Tensor, pixel_rad: float) -> tuple[Tensor, Tensor]:
        distance, found = ROOM.hit(origin, rays)
        xyz = origin + rays * distance[..., None]
        face = _face(xyz, found)
        axis = face // 2
        facing = rays.gather(-1, axis[..., None])[..., 0].abs()
        footprint = distance * pixel_rad / facing.clamp(min=0.02).sqrt()
        mirror = torch.tensor(_MIRROR)[(found > 0).long(), face]
        across = torch.where(axis == 0, xyz[..., 2], xyz[..., 0]) * mirror
        down = torch.where(axis == 1, xyz[..., 2], xyz[..., 1])
        shift = 0.37 * found + 0.61 * face  # no two faces show the same part of a picture
        colours = _read(_materials()[found, face], across + shift * (axis != 1), down, footprint)
        return colours * _light(xyz, face)[..., None], distance

    def clearance(self, xyz: Tensor) -> Tensor:
        return ROOM.clearance(xyz)


def _face(xyz: Tensor, found: Tensor) -> Tensor:
    """Which face of the box `found` [...] holds points [..., 3]: twice the axis, plus 1 on its high side."""
    low = torch.tensor([ROOM.low, *(low for low, _ in ROOM.inside)])[found]
    high = torch.tensor([ROOM.high, *(high for _, high in ROOM.inside)])[found]
    return torch.stack([(xyz - low).abs(), (xyz - high).abs()], -1).flatten(-2).argmin(-1)


def _light(xyz: Tensor, face: Tensor) -> Tensor:
    """A lamp below the ceiling, and less of the rest of the light in the room's corners. [...]."""
    towards = torch.tensor(_LAMP) - xyz
    reach = towards.norm(dim=-1)
    slant = towards.gather(-1, (face // 2)[..., None])[..., 0].abs() / reach
    gaps = torch.minimum(xyz - torch.tensor(ROOM.low), torch.tensor(ROOM.high) - xyz).clamp(min=0)
    corner = 1 - 0.35 * torch.exp(-gaps.sum(-1).sub(gaps.amax(-1)) / 0.35)
    return corner * (_AMBIENT + 0.75 * (0.25 + 0.75 * slant) / (1 + 0.06 * reach.square()))


@cache
def _materials() -> Tensor:
    """int64 [boxes, 6]: the number of each face's material."""
    return torch.tensor([[MATERIALS.index(name) for name in faces] for faces in _FACES])


@cache
def _pyramid() -> tuple[Tensor, Tensor]:
    """All pictures at all levels as rows [texels, 3], and where each level begins."""
    level = torch.stack([torch.from_numpy(material(name)) for name in MATERIALS]).movedim(-1, 1)
    rows, starts, start = [], [], 0
    for _ in range(_LEVELS):
        flat = level.movedim(1, -1).reshape(-1, 3)
        rows.append(flat)
        starts.append(start)
        start += len(flat)
        level = F.avg_pool2d(level, 2)
    return torch.cat(rows), torch.tensor(starts)


def _read(picture: Tensor, across: Tensor, down: Tensor, footprint: Tensor) -> Tensor:
    """Colours [..., 3] of pictures at places in metres, bilinear, on the level whose texels are about `footprint`."""
    texels, starts = _pyramid()
    level = (footprint * (TEXELS / TILE_M)).log2().round().clamp(0, _LEVELS - 1).long()
    size = TEXELS >> level
    x, y = (torch.remainder(where / TILE_M, 1) * size - 0.5 for where in (across, down))
    left, top = x.floor(), y.floor()
    right_share, lower_share = (x - left)[..., None], (y - top)[..., None]
    left, top = left.long(), top.long()
    first = starts[level] + picture * size * size
    rows = [first + (row % size) * size for row in (top, top + 1)]
    columns = [column % size for column in (left, left + 1)]
    upper, lower = (
        texels[row + columns[0]] * (1 - right_share) + texels[row + columns[1]] * right_share for row in rows
    )
    return upper * (1 - lower_share) + lower * lower_share
