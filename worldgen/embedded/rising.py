"""What stands taller than a photo reaches goes on upwards and fades: trunks and walls do not end in mid-air.

A column of a level panorama is an upright line of the world. So where no sky is seen and a photo is still full of
detail at its upper border, as forests are and clouds are not, the colours there go on up their own columns, ever
softer, into the plain colour overhead, with grain. Before a sky, what is taller than the photo ends.
"""

import math
from dataclasses import dataclass

import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from worldgen.embedded.texture import grain, spread_texture
from worldgen.geometry.blending import smoothstep
from worldgen.geometry.equirect import directions
from worldgen.geometry.fill import blur

_EDGE_DEG = 1.0  # of what is known, below its upper border, whose colours go on
_REACH_DEG = 32.0  # above it, where they have faded
_LEVEL_DEG = 4.0  # the border is smoothed by that sigma along the horizon
_SOFTER = ((2.0, 0.6), (8.0, 2.5), (24.0, 9.0))  # so many degrees above the border they are smoothed by that sigma
_DETAIL_DEG, _DETAIL_ROWS_DEG = 1.0, 6.0  # what is finer is detail; looked for in so much below the border
_CLOUDS, _LEAVES = 0.045, 0.075  # contrast of that detail: clouds have less than the one, leaves more than the other
_SPREAD_DEG = 15.0  # over which neighbouring columns share it: one tree before the sky may end
_GRAIN_DEG, _COARSEST_DEG = 14.0, 4.0  # side of the square below the border whose grain it is; what is coarser is none
_MOST_CONTRAST, _CALM = 0.03, 0.006  # standard deviation of grain just above what goes on, and of all far above


@dataclass(frozen=True, eq=False)
class Overhead:
    """rgb: [3, H / 2, W], the upper half of a panorama; standing: [W] in 0..1, where something goes on into it."""

    rgb: Tensor
    standing: Tensor


@dataclass(frozen=True, eq=False)
class _Border:
    """The upper half of what is known. shown: [3, R, W], 0 where not seen, bool [R, W]; top: [W], its first row in each
    column, far below where there is none; degree: pixels."""

    shown: Tensor
    seen: Tensor
    top: Tensor
    degree: float

    def mean_below(self, image: Tensor, height_deg: float) -> Tensor:
        """[C, W]: the mean of an image [C, R, W], 0 where not seen, over so much below the border."""
        row = torch.arange(len(self.seen))[:, None]
        band = self.seen & (row >= self.top) & (row < self.top + max(1, round(height_deg * self.degree)))
        return (image * band).sum(1) / band.sum(0).clamp(min=1)

    def softened(self, line: Tensor, sigma_deg: float) -> Tensor:
        """A line [..., W] all round the horizon."""
        return torch.from_numpy(gaussian_filter1d(line.numpy(), sigma_deg * self.degree, mode="wrap"))


def overhead(rgb: Tensor, known: Tensor, fading: Tensor, field: Tensor, is_sky: bool, seed: int) -> Overhead:
    """What lies above what `rgb` [3, H, W] shows where `known`, bool [H, W].

    fading: bool [W], columns that go on whether they have detail or not; field: [3, H, W], the plain colour; is_sky: it
    is a sky's, and has no grain.
    """
    half = known.shape[0] // 2
    seen = known[:half]
    top = torch.where(seen.any(0), seen.int().argmax(0), 10 * half)
    border = _Border(rgb[:, :half] * seen, seen, top, known.shape[0] / 180)
    fine = _detail(border, _DETAIL_DEG)
    energy = border.mean_below(fine.square().mean(0, keepdim=True), _DETAIL_ROWS_DEG)[0]
    contrast = border.softened(energy, _SPREAD_DEG).sqrt()
    detailed = smoothstep((contrast - _CLOUDS) / (_LEAVES - _CLOUDS))
    standing = torch.where(fading, 1.0, torch.zeros_like(detailed) if is_sky else detailed)
    level = border.softened(
        top.clamp(max=half).float(), _LEVEL_DEG
    )  # copies' borders end in steps, which would go on up
    above_deg = (level - torch.arange(half)[:, None]).clamp(min=0) / border.degree
    left = standing * (1 - smoothstep(above_deg / _REACH_DEG))
    plain = torch.lerp(field[:, :half], _going_on(border, above_deg), left)
    calm = 0.0 if is_sky else _CALM
    most = calm if bool(fading.any()) else max(calm, _MOST_CONTRAST)  # leaves of one thing alone are not all round
    strength = torch.lerp(torch.tensor(calm), contrast.clamp(calm, most), left)
    grained = plain + strength * _grain(border, seed) if bool(strength.any()) else plain  # a sky has none
    return Overhead(grained, standing)


def _detail(border: _Border, sigma_deg: float) -> Tensor:
    """[3, R, W]: what is finer than that, 0 where nothing is seen."""
    sigma = sigma_deg * border.degree
    share = blur(border.seen[None].float(), sigma).clamp(min=1e-6)  # what is not seen must not count as black
    return (border.shown - blur(border.shown, sigma) / share) * border.seen


def _going_on(border: _Border, above_deg: Tensor) -> Tensor:
    """[3, R, W]: the colours at the border, up their columns; what is bright there is a gap, and closes."""
    edge = border.mean_below(border.shown, _EDGE_DEG)
    usual = border.softened(edge, _SOFTER[-1][1]).mean(0)
    closed = edge * (usual / edge.mean(0).clamp(min=1e-6)).clamp(max=1)
    colours = edge[:, None].expand(-1, len(border.seen), -1)
    for at_deg, sigma_deg in _SOFTER:
        softer = border.softened(closed, sigma_deg)[:, None]
        colours = torch.lerp(colours, softer, smoothstep(above_deg / at_deg))
    return colours


def _grain(border: _Border, seed: int) -> Tensor:
    """[3, R, W] of mean 0 and contrast 1, as coarse as the busiest square of detail at the border."""
    half, width = border.seen.shape
    side = round(_GRAIN_DEG * border.degree)
    texture = grain(_busiest(border, _detail(border, _COARSEST_DEG), side), seed, 1.0)
    x, y, z = directions(2 * half, width)[:half].unbind(-1)
    from_zenith = torch.acos((-y).clamp(-1, 1)) * border.degree * 180 / math.pi / torch.hypot(x, z).clamp(min=1e-6)
    return spread_texture(texture / texture.std().clamp(min=1e-6), x * from_zenith, z * from_zenith, seed)


def _busiest(border: _Border, fine: Tensor, side: int) -> Tensor:
    """[3, side, side] of detail, as near to the border as it is seen in whole; nothing where there is no such place."""
    best, found = 0.0, torch.zeros(3, side, side)
    for left in range(0, border.seen.shape[1] - side + 1, max(1, side // 4)):
        columns = slice(left, left + side)
        rows = slice(int(border.top[columns].max()), int(border.top[columns].max()) + side)
        square = fine[:, rows, columns]
        if square.shape == found.shape and bool(border.seen[rows, columns].all()) and float(square.std()) > best:
            best, found = float(square.std()), square
    return found
