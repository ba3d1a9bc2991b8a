"""Makes up for the softness of what a small network paints and views are resampled to."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldgen.errors import expect
from worldgen.geometry.equirect import pad
from worldgen.geometry.fill import blur

_SIGMA_PX = 0.6  # only the very finest detail: wider, and NIQE rises again
_MARGIN_PX = 4


def sharpen(panorama: Tensor, where: Tensor, amount: float) -> Tensor:
    """A panorama [3, H, W] in [0, 1] with unsharp masking of `amount` where `where`, bool [H, W]."""
    inner = (slice(None), slice(_MARGIN_PX, -_MARGIN_PX), slice(_MARGIN_PX, -_MARGIN_PX))
    round_the_back = pad(panorama, _MARGIN_PX)
    detail = panorama - blur(round_the_back, _SIGMA_PX)[inner]
    return torch.where(where, (panorama + amount * detail).clamp(0, 1), panorama)


@dataclass(frozen=True)
class Sharpen:
    """Fulfils `worldgen.models.protocols.Finish`. amount: of unsharp masking, 0 = none."""

    amount: float = 0.8

    def __post_init__(self) -> None:
        expect("panorama.finish.amount", self.amount, 0 <= self.amount <= 3, "0 to 3")

    def __call__(self, rgb: Tensor, painted: Tensor) -> Tensor:
        """rgb [3, H, W] in [0, 1] -> the same, sharper where `painted`, bool [H, W]."""
        return sharpen(rgb, painted, self.amount)
