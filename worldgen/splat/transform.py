"""Gaussians in another frame: turned, scaled and moved with all that belongs to them, view-dependent colours too."""

import math
from dataclasses import replace

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from worldgen.splat.rasterize import sh_degree
from worldgen.splat.reference import harmonics
from worldgen.types import Gaussians

_DIRECTIONS = 64  # more than the 7 that a band of degree 3 needs, spread evenly


def transformed(gaussians: Gaussians, rotation: Tensor, scale: float = 1.0) -> Gaussians:
    """What a point x was is then at scale * rotation @ x, and looks the same from there.

    rotation: [3, 3], proper and orthonormal; scale: above 0. Raises ValueError for spherical harmonics that we do not
    render.
    """
    turn = rotation.to(gaussians.means.device, torch.float64)
    x, y, z, w = Rotation.from_matrix(turn.cpu().numpy()).as_quat()
    return replace(
        gaussians,
        means=(scale * gaussians.means.double() @ turn.T).to(gaussians.means),
        quats=quaternion_product(gaussians.quats.new_tensor([w, x, y, z]), gaussians.quats),
        log_scales=gaussians.log_scales + math.log(scale),
        sh=_turned_harmonics(gaussians.sh, turn, sh_degree(gaussians)),
    )


def quaternion_product(left: Tensor, right: Tensor) -> Tensor:
    """Hamilton's product of quaternions wxyz [..., 4]: the rotation `right`, then `left`."""
    a, b, c, d = left.unbind(-1)
    w, x, y, z = right.unbind(-1)
    parts = (
        a * w - b * x - c * y - d * z,
        a * x + b * w + c * z - d * y,
        a * y - b * z + c * w + d * x,
        a * z + b * y - c * x + d * w,
    )
    return torch.stack(parts, dim=-1)


def harmonics_rotation(rotation: Tensor, degree: int) -> Tensor:
    """Wigner's matrix D [2 degree + 1, 2 degree + 1], float64, of one band of the real harmonics Y as 3DGS signs them:
    Y(R^-1 d) @ c = Y(d) @ (D @ c) for every direction d.

    A rotation maps a band onto itself, so that what solves this for enough directions solves it for all.
    """
    first, last = degree**2, (degree + 1) ** 2
    places = torch.arange(_DIRECTIONS, dtype=torch.float64, device=rotation.device) + 0.5
    height, turn = 1 - 2 * places / _DIRECTIONS, math.pi * (1 + 5**0.5) * places  # Fibonacci's sphere
    ring = (1 - height.square()).sqrt()
    directions = torch.stack([ring * turn.cos(), ring * turn.sin(), height], dim=-1)
    at, before = (harmonics(rays, last)[:, first:] for rays in (directions, directions @ rotation.to(torch.float64)))
    return torch.linalg.lstsq(at, before).solution


def _turned_harmonics(sh: Tensor, rotation: Tensor, degree: int) -> Tensor:
    """sh: [N, K, 3]."""
    bands = [
        (harmonics_rotation(rotation, band) @ sh[:, band**2 : (band + 1) ** 2].double()).to(sh)
        for band in range(1, degree + 1)
    ]
    return torch.cat([sh[:, :1], *bands], dim=1)
