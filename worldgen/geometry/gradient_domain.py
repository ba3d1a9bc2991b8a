"""A panorama's values from its pixels' differences: what is blended so shows no slope that only the blending made.

The weighted mean of views that disagree slopes where their weights change. Differences of neighbouring pixels do not
depend on what a view is off by: their mean is the mean of the views' own slopes. The values that have these
differences are found by least squares (Perez et al., SIGGRAPH 2003; screened as in Bhat et al., ECCV 2008), on the
equirectangular grid, across its left and right edge and over its poles, by one Fourier transform each way.
"""

import math

import torch
from torch import Tensor


class Differences:
    """The weighted means of several estimates' differences; of the estimates none is kept."""

    def __init__(self, height: int, width: int) -> None:
        self._across, self._across_weight = torch.zeros(height, width), torch.zeros(height, width)
        self._down, self._down_weight = torch.zeros(height + 1, width), torch.zeros(height + 1, width)

    def add(self, values: Tensor, weight: Tensor) -> None:
        """An estimate [H, W], and what each pixel of it counts, [H, W] >= 0; a difference as much as its lesser one."""
        self._into(self._across, self._across_weight, values.roll(-1, 1) - values, weight.minimum(weight.roll(-1, 1)))
        tall, tall_weight = _over_poles(values), _over_poles(weight)
        self._into(self._down, self._down_weight, tall.diff(dim=0), tall_weight[1:].minimum(tall_weight[:-1]))

    @staticmethod
    def _into(total: Tensor, counted: Tensor, difference: Tensor, weight: Tensor) -> None:
        total.addcmul_(difference, weight)
        counted.add_(weight)

    def settle(self, values: Tensor, detail_px: float) -> Tensor:
        """The values [H, W], finite, with these differences in all that is finer than about `detail_px`.

        Coarser waves stay as they are in `values`; so do differences that no estimate has.
        """
        across = _lacking(self._across, self._across_weight, values.roll(-1, 1) - values)
        down = _lacking(self._down, self._down_weight, _over_poles(values).diff(dim=0))
        return values + _solve(across, down, (2 * math.pi / detail_px) ** 2)


def _solve(across: Tensor, down: Tensor, screen: float) -> Tensor:
    """What [H, W] has these differences, [H, W] across and [H + 1, W] down (over both poles, too), and, by `screen`, is
    small: by least squares."""
    height, width = across.shape
    # The sphere twice, the second time upside down and turned by half: a torus, on which waves solve it.
    target = torch.empty(2 * height, width)
    target[:height] = across.roll(1, 1) - across + down[:-1] - down[1:]
    target[height:] = target[:height].flip(0).roll(width // 2, 1)
    waves = torch.fft.rfft2(target)
    x = 2 - 2 * torch.cos(2 * math.pi * torch.fft.rfftfreq(width))
    y = 2 - 2 * torch.cos(2 * math.pi * torch.fft.fftfreq(2 * height))
    waves[0, 0] = 0  # differences say nothing of the level; what rounding left of it would be divided by the screen
    waves /= y[:, None] + x + screen
    return torch.fft.irfft2(waves, s=(2 * height, width))[:height].contiguous()


def _over_poles(values: Tensor) -> Tensor:
    """[H, W] to [H + 2, W]: the rows beyond the poles are the first and the last one, half a turn away."""
    half = values.shape[1] // 2
    return torch.cat([values[:1].roll(half, 1), values, values[-1:].roll(half, 1)])


def _lacking(total: Tensor, weight: Tensor, has: Tensor) -> Tensor:
    """By how much the mean differences are more than those that are there; 0 where nobody has any."""
    return torch.where(weight > 0, total / weight.clamp(min=1e-12) - has, 0.0)
