"""How generated views disagree: each by a smooth warp of its own, and by a slight change of colour.

Both come from a seed and the view's number alone, so that what was planted can be compared with what a fit finds.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_RULER = 64  # cells per axis over which a warp's strength is measured


def smooth_warp(seed: int, number: int, nodes: int, strength: float) -> Tensor:
    """A random warp [2, nodes, nodes], x and y in normalised units (-1 .. 1 spans the picture), from border to border.

    strength: the root mean square of its length over the picture, exactly, in the same units.
    """
    warp = torch.randn(2, nodes, nodes, generator=_generator(seed, number, 0))
    lengths = fine_warp(warp, _RULER, _RULER).square().sum(0)
    return warp * (strength / lengths.mean().sqrt())


def fine_warp(warp: Tensor, height: int, width: int) -> Tensor:
    """A warp [2, n, n] at the centres of height x width cells of the picture, bicubic; [2, height, width]."""
    x = (torch.arange(width) + 0.5) / width * 2 - 1
    y = (torch.arange(height) + 0.5) / height * 2 - 1
    at = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    return F.grid_sample(warp[None], at[None], "bicubic", "border", align_corners=True)[0]


def recoloured(rgb: Tensor, seed: int, number: int, strength: float) -> Tensor:
    """rgb [3, H, W] with the exposure, tint, black level and gamma of another take.

    strength: the deviation of each channel's gain and of the gamma's logarithm; half of it that of the black level.
    """
    gain, offset, gamma = torch.randn(3, 3, 1, 1, generator=_generator(seed, number, 1)) * strength
    return ((1 + gain) * rgb ** gamma[0].exp() + offset / 2).clamp(0, 1)


def _generator(seed: int, number: int, purpose: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * 1_000_003 + number) * 2 + purpose)
