"""How much a pixel of a perspective view counts when views are blended."""

import torch
from torch import Tensor


def smoothstep(x: Tensor) -> Tensor:
    """0 up to 0, 1 from 1, smooth between."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def edge_feather(height: int, width: int, feather_px: float) -> Tensor:
    """[height, width]: 1 inside, falling smoothly to 0 at the image border over `feather_px` pixels."""
    y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    to_edge = torch.minimum(torch.minimum(y, height - y)[:, None], torch.minimum(x, width - x)[None])
    return smoothstep(to_edge / max(feather_px, 1e-6))
