"""Distances as colours that a person can read."""

import torch
from torch import Tensor

_NEAR_TO_FAR = torch.tensor(  # [9, 3], 0 .. 255: matplotlib's "magma" (CC0), reversed, at nine even steps
    [
        [252, 253, 191],
        [254, 194, 135],
        [251, 135, 97],
        [229, 80, 100],
        [182, 54, 121],
        [130, 37, 129],
        [81, 18, 124],
        [28, 16, 68],
        [0, 0, 4],
    ]
)
_SKY = torch.tensor([150, 156, 164])


def colourise(distance: Tensor, sky: Tensor | None = None) -> Tensor:
    """[H, W] metres, > 0 -> uint8 [H, W, 3], log scale, near bright, far dark, sky (bool [H, W]) grey."""
    log = distance.log()
    counted = log if sky is None or sky.all() else log[~sky]
    low, high = counted.min(), counted.max()
    scale = _NEAR_TO_FAR.to(log.device)
    place = ((log - low) / (high - low).clamp(min=1e-6)).clamp(0, 1) * (len(scale) - 1)
    step = place.long().clamp(max=len(scale) - 2)
    share = (place - step)[..., None]
    colour = scale[step] * (1 - share) + scale[step + 1] * share
    if sky is not None:
        colour = torch.where(sky[..., None], _SKY.float().to(log.device), colour)
    return colour.round().to(torch.uint8)
