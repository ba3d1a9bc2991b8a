"""What lies behind: holes of a rendered cloud, continued from the side that stands farther back.

When a camera leaves the place from which a scene was seen, nearer things uncover what they hid. Along the image line
through that place's own projection, such a hole has the thing on the one side and what it hid on the other, so the
hole continues the other side: its distances, and the colours that a picture may be filled with.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit, prange
from torch import Tensor

from worldgen.geometry.cameras import distance_to_zdepth, pixel_rays, zdepth_to_distance
from worldgen.geometry.fill import dilate, erode
from worldgen.types import Camera, View

_DIRECTIONS = 24
_LEAST_COSINE = 0.2  # directions at a wider angle to the background's side do not count where any other finds something
_FAREST_RATIO = 0.1
_ANGLES = np.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)
_STEPS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1).astype(np.float32)


def split_holes(known: Tensor, pinhole_px: int) -> tuple[Tensor, Tensor]:
    """The unknown pixels of bool [H, W] as (holes, pinholes): what is at most 2 `pinhole_px` wide is a pinhole."""
    core = erode(~known, pinhole_px)
    holes = dilate(core, pinhole_px + 1) & ~known
    return holes, ~known & ~holes


def continue_background(view: View, seen_from: Tensor) -> View:
    """`view` with all unknown pixels filled from the background's side of their holes; all known.

    seen_from: [3], world, where the cloud was seen from. A view without any known pixel comes back as it is.
    """
    camera = view.camera
    zdepth = distance_to_zdepth(camera, view.distance)
    inverse = torch.where(view.known, 1 / zdepth.clamp(min=1e-6), torch.zeros_like(zdepth))
    away = background_side(camera, seen_from)
    filled = _continue(view.rgb.contiguous().numpy(), inverse.numpy(), away.numpy(), _STEPS)
    rgb, behind = _smooth(torch.from_numpy(filled), ~view.known).split([3, 1])
    rgb = torch.where(view.known, view.rgb, rgb)
    behind = torch.where(view.known, inverse, behind[0])
    distance = zdepth_to_distance(camera, 1 / behind.clamp(min=1e-6))
    return View(camera, rgb, behind > 0, torch.where(view.known, view.distance, distance))


def background_side(camera: Camera, seen_from: Tensor) -> Tensor:
    """[H, W, 2], unit pixel directions away from the image of `seen_from`; 0 where it gives none.

    A point that comes nearer along its ray from `seen_from` moves the other way, so this way lies what it uncovers.
    """
    local = (seen_from - camera.position) @ camera.c2w[:3, :3]
    rays = pixel_rays(camera)
    towards = local[:2] - rays[..., :2] / rays[..., 2:] * local[2]
    length = towards.norm(dim=-1, keepdim=True)
    return torch.where(length > 1e-4, -towards / length.clamp(min=1e-4), torch.zeros_like(towards))


def _smooth(values: Tensor, where: Tensor, radius: int = 3, rounds: int = 2) -> Tensor:
    """[C, H, W] box-blurred, pixels of `where` among themselves."""
    weight = where[None].to(values.dtype)
    for _ in range(rounds):
        both = torch.cat([values * weight, weight])[None]
        mean = F.avg_pool2d(both, 2 * radius + 1, stride=1, padding=radius)[0]
        values = mean[:-1] / mean[-1:].clamp(min=1e-6)
    return values


@njit(parallel=True, cache=True, error_model="numpy")
def _continue(rgb, inverse, away, steps):
    """[4, H, W]: rgb and inverse zdepth of the unknown pixels (inverse 0), each a mean over what the directions meet.

    Near pixels count more (1 / distance^2), those on the background's side, and among them those farther back.
    """
    height, width = inverse.shape
    out = np.zeros((4, height, width), np.float32)
    for row in prange(height):
        found_y, found_x = np.empty(len(steps), np.int64), np.empty(len(steps), np.int64)
        weights = np.empty(len(steps), np.float32)
        for column in range(width):
            if inverse[row, column] > 0:
                continue
            found = 0
            any_behind = False
            for k in range(len(steps)):
                y, x, length = _first_known(inverse, row, column, steps[k, 1], steps[k, 0])
                if length == 0:
                    continue
                cosine = steps[k, 0] * away[row, column, 0] + steps[k, 1] * away[row, column, 1]
                behind = cosine > _LEAST_COSINE
                if behind and not any_behind:
                    any_behind, found = True, 0
                if any_behind and not behind:
                    continue
                found_y[found], found_x[found] = y, x
                weights[found] = (cosine * cosine if behind else 1.0) / (length * length)
                found += 1
            if found == 0:
                continue
            farthest = np.float32(1e9)
            for k in range(found):
                farthest = min(farthest, inverse[found_y[k], found_x[k]])
            total = np.float32(0)
            for k in range(found):
                here = inverse[found_y[k], found_x[k]]
                ratio = max(farthest / here, np.float32(_FAREST_RATIO))
                weight = weights[k] * ratio * ratio
                for channel in range(3):
                    out[channel, row, column] += weight * rgb[channel, found_y[k], found_x[k]]
                out[3, row, column] += weight * here
                total += weight
            out[:, row, column] /= total
    return out


@njit(inline="always")
def _first_known(inverse, row, column, dy, dx):
    """The first known pixel along a direction and how far it is; length 0 where the picture ends before."""
    height, width = inverse.shape
    length = np.float32(0)
    while True:
        length += 1
        y, x = int(np.round(row + dy * length)), int(np.round(column + dx * length))
        if y < 0 or y >= height or x < 0 or x >= width:
            return 0, 0, np.float32(0)
        if inverse[y, x] > 0:
            return y, x, length
