"""Real spherical harmonics of degree 0 to 3, with the signs and the order of 3DGS and gsplat, and their rotations."""

import math

import torch
from torch import Tensor

SH_C0 = 0.28209479177387814  # the constant one, 1 / (2 sqrt(pi))
_DIRECTIONS = 64  # more than the 7 that a band of degree 3 needs, spread evenly


def harmonics(directions: Tensor, count: int) -> Tensor:
    """Real spherical harmonics at unit directions [N, 3], signs as in 3DGS: [N, count], count = 1, 4, 9 or 16."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    basis = [
        torch.full_like(x, SH_C0),
        -0.4886025119029199 * y,
        0.4886025119029199 * z,
        -0.4886025119029199 * x,
        1.0925484305920792 * x * y,
        -1.0925484305920792 * y * z,
        0.31539156525252005 * (2 * zz - xx - yy),
        -1.0925484305920792 * x * z,
        0.5462742152960396 * (xx - yy),
        -0.5900435899266435 * y * (3 * xx - yy),
        2.890611442640554 * x * y * z,
        -0.4570457994644658 * y * (4 * zz - xx - yy),
        0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
        -0.4570457994644658 * x * (4 * zz - xx - yy),
        1.445305721320277 * z * (xx - yy),
        -0.5900435899266435 * x * (xx - 3 * yy),
    ]
    return torch.stack(basis[:count], -1)


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
