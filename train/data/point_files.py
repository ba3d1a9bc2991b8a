"""Points as files hold them, on their way to a cloud that a fit can start from."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldgen.errors import UserError
from worldgen.io.packed import on_disk
from worldgen.io.ply import read_vertices

_NORMAL = "nx", "ny", "nz"
_GREY = 0.5
_COLOURS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_MOST_BROKEN = 0.5  # share of the points

_log = logging.getLogger("worldgen")


@dataclass(frozen=True, eq=False)
class Points:
    """xyz: [N, 3], float64 in the files' world, float32 in the fit's; rgb: [N, 3] in [0, 1]; normals: [N, 3], of any
    length, or None. where: who holds them."""

    where: str
    xyz: Tensor
    rgb: Tensor
    normals: Tensor | None = None


def read_points(path: Path) -> Points:
    """The vertices of a .ply: x y z, and where there are any red green blue and nx ny nz; without broken ones.

    Colours are bytes, 16-bit, or floats in [0, 1]; mid-grey where there are none. Raises UserError for other files.
    """
    with on_disk(path) as file:
        vertices = read_vertices(file)
    names = vertices.dtype.names or ()
    if not {"x", "y", "z"} <= set(names):
        raise UserError(f"{path}: its vertices have {', '.join(names)}, wanted x, y and z")
    colours = next((group for group in _COLOURS if set(group) <= set(names)), None)
    xyz = _columns(vertices, ("x", "y", "z"))
    rgb = torch.full(xyz.shape, _GREY)
    if colours is not None:
        kind = vertices.dtype[colours[0]]
        full = 1.0 if kind.kind == "f" else 65535.0 if kind.itemsize == 2 else 255.0
        rgb = (_columns(vertices, colours) / full).clamp(0, 1).float()
    normals = _columns(vertices, _NORMAL).float() if set(_NORMAL) <= set(names) else None
    return without_broken(Points(str(path), xyz, rgb, normals))


def without_broken(points: Points) -> Points:
    """Without those whose place or colour is not finite, which a line counts; normals that are not become zeros.

    Raises UserError where there are no points, and where more than half are broken.
    """
    if not len(points.xyz):
        raise UserError(f"{points.where}: no points, wanted at least one")
    normals = points.normals
    if normals is not None:
        normals = torch.where(torch.isfinite(normals).all(dim=1, keepdim=True), normals, 0.0)
    sound = torch.isfinite(points.xyz.float()).all(dim=1) & torch.isfinite(points.rgb).all(dim=1)
    broken = len(sound) - int(sound.sum())
    if broken > _MOST_BROKEN * len(sound):
        raise UserError(f"{points.where}: {broken} of its {len(sound)} points are not finite, wanted half at most")
    if broken:
        _log.warning("%s: %d of its %d points are not finite and are left out", points.where, broken, len(sound))
    return replace(
        points, xyz=points.xyz[sound], rgb=points.rgb[sound], normals=None if normals is None else normals[sound]
    )


def _columns(vertices: NDArray, names: Sequence[str]) -> Tensor:
    """[N, len(names)] float64."""
    return torch.from_numpy(np.stack([vertices[name].astype(np.float64) for name in names], axis=1))
