"""What lies behind: holes of a rendered cloud, continued from the side that stands farther back.

When a camera leaves the place from which a scene was seen, nearer things uncover what they hid. Along the image line
through that place's own projection, such a hole has the thing on the one side and what it hid on the other, so the
hole continues the other side: level ground and ceiling as the planes that they are, what stands on them as it stands.
Depth is handled as inverse zdepth, which is affine in the pixel on every plane. Seen from inside, the nearest of the
scene's planes, so the largest inverse zdepth, is the one that shows.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from worldgen.geometry.cameras import distance_to_zdepth, pixel_rays, world_rays, zdepth_to_distance
from worldgen.types import Camera, View

_DIRECTIONS = 24
_LEAST_COSINE = 0.2  # directions at a wider angle to the background's side count only where no other finds anything
_FARTHEST_RATIO = 0.1
_BEFORE = 1.15  # ratio of inverse zdepths from which on one thing stands before another
_LEVEL = 1.1  # ratio of inverse zdepths up to which a pixel belongs to the ground or ceiling behind it
_FOOT = 1.03  # the same, where the question is how far down a thing reaches
_TORN = 0.95  # ratio of neighbours' inverse zdepths below which they are not one surface
_BASE_PX = 6  # over twice as many pixels a background's slope is taken
_BENT = 0.01  # how far, relatively, the three pixels may be off a plane
_SLOPE_LIMIT = 1.5  # a background's inverse zdepth is continued to at most this ratio
_SWEEPS = 120
_OVERRELAXATION = 1.9
_ANGLES = np.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)
_STEPS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1).astype(np.float32)


def background_side(camera: Camera, seen_from: Tensor) -> Tensor:
    """[H, W, 2], unit pixel directions away from the image of `seen_from`; 0 where it gives none.

    A point that comes nearer along its ray from `seen_from` moves the other way, so this way lies what it uncovers.
    """
    local = (seen_from - camera.position) @ camera.c2w[:3, :3]
    rays = pixel_rays(camera)
    towards = local[:2] - rays[..., :2] / rays[..., 2:] * local[2]
    length = towards.norm(dim=-1, keepdim=True)
    return torch.where(length > 1e-4, -towards / length.clamp(min=1e-4), torch.zeros_like(towards))


def level_planes(camera: Camera, heights: Sequence[float]) -> Tensor:
    """Inverse zdepth [H, W] of the nearest of some level planes, at world y = `heights`; 0 where none is seen."""
    rays = world_rays(camera)
    drop = rays[..., 1] / (rays @ camera.c2w[:3, 2])
    nearest = torch.zeros_like(drop)
    for height in heights:
        below = height - float(camera.position[1])
        if below != 0:
            nearest = torch.maximum(nearest, drop / below)
    return nearest


def guess_background(view: View, away: Tensor, level: Tensor) -> View:
    """Unknown pixels get a mean of what lies on their background's side: a first guess, streaky but sharp.

    view: with distances; away: from `background_side`; level: from `level_planes`. Pixels that find nothing stay
    unknown.
    """
    inverse = inverse_zdepth(view)
    rgb, guess = _guess(view.rgb.contiguous().numpy(), inverse.numpy(), away.numpy(), level.numpy(), _STEPS)
    return with_inverse_zdepth(View(view.camera, torch.from_numpy(rgb), view.known), torch.from_numpy(guess))


def foreground_rim(guess: View, known: Tensor, away: Tensor, level: Tensor, reach_px: int) -> Tensor:
    """bool [H, W]: known pixels of what stands before a hole, up to `reach_px` from the hole.

    guess, away, level: as above. An inpainter that sees these pixels would continue them into the hole, where what
    they hid belongs.
    """
    rim = _rim(inverse_zdepth(guess).numpy(), known.numpy(), away.numpy(), level.numpy(), reach_px)
    return torch.from_numpy(rim)


def settle_background(guess: View, known: Tensor, expected: Tensor) -> View:
    """The unknown pixels of `guess` at the depths `expected`, bent smoothly to meet the background at their border.

    expected: inverse zdepth [H, W], of the background everywhere. Solves Laplace's equation for the logarithm of the
    ratio to it, free where a foreground (known pixels before `guess`) begins or the picture ends.
    """
    inverse = inverse_zdepth(guess)
    bend = torch.where(known, inverse / expected.clamp(min=1e-9), torch.ones_like(inverse)).clamp(min=1e-3).log()
    rows, columns = torch.nonzero(~known & guess.known, as_tuple=True)
    _relax(bend.numpy(), inverse.numpy(), known.numpy(), rows.numpy(), columns.numpy())
    return with_inverse_zdepth(guess, torch.where(known, inverse, expected * bend.exp() * guess.known))


def inverse_zdepth(view: View) -> Tensor:
    """[H, W], 1/metres, 0 where unknown."""
    zdepth = distance_to_zdepth(view.camera, view.measured)
    return torch.where(view.known, 1 / zdepth.clamp(min=1e-6), torch.zeros_like(zdepth))


def with_inverse_zdepth(view: View, inverse: Tensor) -> View:
    """`view` at other depths [H, W], 1/metres; unknown where 0."""
    known = inverse > 0
    zdepth = torch.where(known, 1 / inverse.clamp(min=1e-9), torch.zeros_like(inverse))
    return View(view.camera, view.rgb, known, zdepth_to_distance(view.camera, zdepth))


@njit(parallel=True, cache=True, error_model="numpy")
def _guess(rgb, inverse, away, level, steps):
    """rgb [3, H, W] and inverse zdepth [H, W], unknown pixels (inverse 0) from what the directions `steps` meet.

    Close pixels count more (1 / distance^2), those on the background's side, and among them those farther back. Where
    ground or ceiling prevails among them, the pixel lies on it; never behind it, nor behind all that is known.
    """
    height, width = inverse.shape
    backdrop = np.float32(1e9)
    for row in range(height):
        for column in range(width):
            if inverse[row, column] > 0:
                backdrop = min(backdrop, inverse[row, column])
    rgb_out, out = rgb.copy(), inverse.copy()
    for row in prange(height):
        found_y, found_x = np.empty(len(steps), np.int64), np.empty(len(steps), np.int64)
        weights, continued = np.empty(len(steps), np.float32), np.empty(len(steps), np.float32)
        for column in range(width):
            if inverse[row, column] > 0:
                continue
            found = 0
            any_behind = False
            farthest = np.float32(1e9)
            for k in range(len(steps)):
                y, x, length = _first_known(inverse, row, column, steps[k, 1], steps[k, 0])
                if length == 0:
                    continue
                cosine = steps[k, 0] * away[row, column, 0] + steps[k, 1] * away[row, column, 1]
                behind = cosine > _LEAST_COSINE
                if behind and not any_behind:
                    any_behind, found, farthest = True, 0, np.float32(1e9)
                if any_behind and not behind:
                    continue
                found_y[found], found_x[found] = y, x
                continued[found] = _continued(inverse, y, x, steps[k, 1], steps[k, 0], length)
                weights[found] = (cosine * cosine if behind else np.float32(1)) / (length * length)
                farthest = min(farthest, inverse[y, x])
                found += 1
            if found == 0:
                continue
            red, green, blue, total, upright, upright_total = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for k in range(found):
                y, x = found_y[k], found_x[k]
                ratio = max(farthest / inverse[y, x], np.float32(_FARTHEST_RATIO))
                weight = weights[k] * ratio * ratio
                red += weight * rgb[0, y, x]
                green += weight * rgb[1, y, x]
                blue += weight * rgb[2, y, x]
                total += weight
                if inverse[y, x] > _LEVEL * level[y, x]:
                    upright += weight * continued[k]
                    upright_total += weight
            rgb_out[0, row, column], rgb_out[1, row, column] = red / total, green / total
            rgb_out[2, row, column] = blue / total
            out[row, column] = max(level[row, column], backdrop)
            if upright_total > 0.5 * total or (level[row, column] <= backdrop and upright_total > 0):
                out[row, column] = max(out[row, column], upright / upright_total)
    return rgb_out, out


@njit
def _first_known(inverse, row, column, dy, dx):
    """The first known pixel along a direction and how far it is; length 0 where the picture ends before."""
    height, width = inverse.shape
    length = 0
    while True:
        length += 1
        y, x = int(np.floor(row + dy * length + 0.5)), int(np.floor(column + dx * length + 0.5))
        if y < 0 or y >= height or x < 0 or x >= width:
            return 0, 0, 0
        if inverse[y, x] > 0:
            return y, x, length


@njit
def _continued(inverse, y, x, dy, dx, length):
    """Inverse zdepth `length` pixels before (y, x), continued from what lies behind it where that is one plane."""
    height, width = inverse.shape
    here = inverse[y, x]
    y1, x1 = int(np.floor(y + dy * _BASE_PX + 0.5)), int(np.floor(x + dx * _BASE_PX + 0.5))
    y2, x2 = int(np.floor(y + 2 * dy * _BASE_PX + 0.5)), int(np.floor(x + 2 * dx * _BASE_PX + 0.5))
    if y2 < 0 or y2 >= height or x2 < 0 or x2 >= width:
        return here
    middle, far = inverse[y1, x1], inverse[y2, x2]
    if abs(here + far - 2 * middle) > _BENT * here:
        return here
    slope = (here - far) / (2 * _BASE_PX)
    return min(max(here + slope * length, here / _SLOPE_LIMIT), here * _SLOPE_LIMIT)


@njit(cache=True, error_model="numpy")
def _rim(inverse, known, away, level, reach):
    """Known pixels nearer than the hole next to them on their background's side, and what hangs together with them."""
    height, width = inverse.shape
    steps = np.full((height, width), -1, np.int32)
    queue = np.empty((height * width, 2), np.int32)
    end = 0
    for row in range(height):
        for column in range(width):
            dx, dy = away[row, column]
            y, x = int(np.floor(row + dy + 0.5)), int(np.floor(column + dx + 0.5))
            if not known[row, column] or y < 0 or y >= height or x < 0 or x >= width or known[y, x]:
                continue
            if inverse[row, column] > _BEFORE * inverse[y, x]:
                steps[row, column] = 0
                queue[end, 0], queue[end, 1] = row, column
                end += 1
    start = 0
    while start < end:
        row, column = queue[start]
        start += 1
        if steps[row, column] == reach:
            continue
        for side in range(4):
            y, x = row + (0, 0, 1, -1)[side], column + (1, -1, 0, 0)[side]
            if y < 0 or y >= height or x < 0 or x >= width or not known[y, x] or steps[y, x] >= 0:
                continue
            ratio = inverse[y, x] / inverse[row, column]
            if _TORN < ratio < 1 / _TORN and inverse[y, x] > _FOOT * level[y, x]:
                steps[y, x] = steps[row, column] + 1
                queue[end, 0], queue[end, 1] = y, x
                end += 1
    return steps >= 0


@njit(cache=True, error_model="numpy")
def _relax(bend, inverse, known, rows, columns):
    """Successive over-relaxation of `bend` at the pixels (rows, columns), in place.

    Known pixels before the guess are foreground and do not count.
    """
    height, width = bend.shape
    for _ in range(_SWEEPS):
        for i in range(len(rows)):
            row, column = rows[i], columns[i]
            limit = _BEFORE * inverse[row, column]
            total, count = np.float32(0), 0
            for side in range(4):
                y, x = row + (0, 0, 1, -1)[side], column + (1, -1, 0, 0)[side]
                if y < 0 or y >= height or x < 0 or x >= width or inverse[y, x] == 0:
                    continue
                if known[y, x] and inverse[y, x] > limit:
                    continue
                total += bend[y, x]
                count += 1
            if count > 0:
                bend[row, column] += np.float32(_OVERRELAXATION) * (total / count - bend[row, column])
