"""OpenCV's lenses written down again, by its documentation and in plain numpy, and a room as they show it."""

from dataclasses import astuple
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tests.scenes import BoxRoom
from worldgen.io.undistort import Distortion
from worldgen.types import Camera

ROOM = BoxRoom(pillars=())


def distorted(x: NDArray, y: NDArray, lens: Distortion) -> tuple[NDArray, NDArray]:
    """Where a lens shows what a pinhole shows at (x, y), at depth 1."""
    k = [*lens.coefficients, *[0.0] * 8]
    r = np.hypot(x, y)
    if lens.fisheye:
        theta = np.arctan(r)
        bent = theta + k[0] * theta**3 + k[1] * theta**5 + k[2] * theta**7 + k[3] * theta**9
        factor = np.where(r > 1e-12, bent / np.maximum(r, 1e-12), 1.0)
        return x * factor, y * factor
    k1, k2, p1, p2, k3, k4, k5, k6 = k[:8]
    factor = (1 + k1 * r**2 + k2 * r**4 + k3 * r**6) / (1 + k4 * r**2 + k5 * r**4 + k6 * r**6)
    return (
        x * factor + 2 * p1 * x * y + p2 * (r**2 + 2 * x**2),
        y * factor + p1 * (r**2 + 2 * y**2) + 2 * p2 * x * y,
    )


def straight(x: NDArray, y: NDArray, lens: Distortion) -> tuple[NDArray, NDArray]:
    """The inverse, by Newton's method on a numeric derivative."""
    u, v, step = x.copy(), y.copy(), 1e-6
    for _ in range(12):
        a, b = distorted(u, v, lens)
        ax, bx = distorted(u + step, v, lens)
        ay, by = distorted(u, v + step, lens)
        j = [(ax - a) / step, (ay - a) / step, (bx - b) / step, (by - b) / step]
        determinant = j[0] * j[3] - j[1] * j[2]
        u, v = u - (j[3] * (a - x) - j[1] * (b - y)) / determinant, v - (j[0] * (b - y) - j[2] * (a - x)) / determinant
    assert np.allclose(distorted(u, v, lens), (x, y), atol=1e-9)
    return u, v


def rays_of(camera: Camera) -> tuple[NDArray, NDArray]:
    """x / z and y / z of each pixel's centre, as far as there is no distortion."""
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    return tuple(np.meshgrid(x, y))


def room_by(camera: Camera, x: NDArray, y: NDArray) -> NDArray:
    """[H, W, 3] of the rays through (x, y, 1)."""
    local = torch.from_numpy(np.stack([x, y, np.ones_like(x)], axis=-1)).float()
    return ROOM.trace(camera.position, F.normalize(local, dim=-1) @ camera.c2w[:3, :3].T)[0].numpy()


def photo_by(camera: Camera, lens: Distortion) -> NDArray:
    """[H, W, 3] of the room through a lens."""
    return room_by(camera, *_rays_through(astuple(camera)[1:], lens))


@lru_cache
def _rays_through(intrinsics: tuple, lens: Distortion) -> tuple[NDArray, NDArray]:
    return straight(*rays_of(Camera(torch.eye(4), *intrinsics)), lens)
