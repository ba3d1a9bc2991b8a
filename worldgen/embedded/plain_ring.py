"""All round the horizon nothing but a room's colours, or open land: for photos of things that come once."""

import math

import torch
from torch import Tensor

from worldgen.embedded.quilting import Ring
from worldgen.geometry.blending import smoothstep
from worldgen.geometry.fill import blur

_SIDE = 0.2  # of the photo's width, at each side, is what surrounds the thing
_NEAR_DEG, _FAR_DEG = 1.5, 8.0  # colours are smoothed up and down so far, or every detail would go round the world
_REACH_DEG = 20.0  # from the photo's side, where it still has some detail, to where it has none
_LAND_DEG = 12.0  # the same, to where there is open land alone


def plain_ring(rgb: Tensor, photo: Tensor, land: Tensor | None) -> Ring:
    """Continues the photo, bool [H, W] on a panorama [3, H, W], round the horizon; the photo's pixels stay.

    land: [3, H, W], sky over ground, which begins soon beside the photo; None: in a room every row goes from the colour
    at the photo's right over to that at its left. Rows that the photo's sides do not reach are left out.
    """
    height, width = photo.shape
    columns = photo.any(0).nonzero()[:, 0]
    first, last = int(columns[0]), int(columns[-1])
    side = max(1, round(_SIDE * (last - first + 1)))
    left, right = slice(first, first + side), slice(last + 1 - side, last + 1)
    reached = photo[:, left].all(1) & photo[:, right].all(1)
    found = reached.nonzero()[:, 0]
    if not len(found):
        return Ring(rgb * photo, torch.where(photo, 0, -1))
    rows = slice(int(found[0]), int(found[-1]) + 1)
    degree, gap = height / 180, (first - last) % width
    beyond = (torch.arange(width) - last) % width  # columns, from the right side on
    share = (1 - torch.cos(math.pi * (beyond / max(1, gap)).clamp(max=1))) / 2
    at_right, at_left = (rgb[:, rows, part].median(2, keepdim=True).values for part in (right, left))
    near, smooth = (
        torch.lerp(blur(at_right, sigma_deg * degree), blur(at_left, sigma_deg * degree), share)
        for sigma_deg in (_NEAR_DEG, _FAR_DEG)
    )
    farther, reach_deg = (smooth, _REACH_DEG) if land is None else (land[:, rows], _LAND_DEG)
    far = torch.minimum(beyond, gap - beyond) / (reach_deg * degree)
    around = rgb * photo
    around[:, rows] = torch.lerp(near, farther, smoothstep(far))
    made = torch.zeros_like(photo)
    made[rows] = True
    return Ring(torch.where(photo, rgb, around * made), torch.where(photo, 0, torch.where(made, 1, -1)))
