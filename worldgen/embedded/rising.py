"""What stands taller than a photo reaches goes on upwards and fades: trunks and walls do not end in mid-air.

A column of a level panorama is an upright line of the world. So where no sky is seen and a photo is still full of
detail at its upper border, as forests are and clouds are not, what lies just below that border comes again above it,
column by column and as upright as it is, until it has faded into the plain colour overhead, which has grain. Before a
sky, what is taller than the photo ends.
"""

import math
from dataclasses import dataclass

import torch
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from torch import Tensor

from worldgen.embedded.texture import spread_texture
from worldgen.geometry.blending import smoothstep
from worldgen.geometry.equirect import directions
from worldgen.geometry.fill import blur

_EDGE_DEG, _FADED_DEG = 1.0, 25.0  # so much below the border is what goes on up where it is plain, until there
_BAND_DEG, _BAND_SHARE = 14.0, 0.6  # below the border, which comes again; at most so much of what is above the horizon
_OVER = 0.35  # of the band fades into the last one
_TALL_DEG = 60.0  # above the border, where what stands there has faded
_LEVEL_DEG = 4.0  # the border is smoothed by that sigma along the horizon
_DETAIL_DEG, _DETAIL_ROWS_DEG = 1.0, 6.0  # what is finer is detail; looked for in so much below the border
_CLOUDS, _LEAVES = 0.045, 0.075  # contrast of that detail: clouds have less than the one, leaves more than the other
_SPREAD_DEG = 15.0  # over which neighbouring columns share it: one tree before the sky may end
_MOST = 0.6  # of the border has to be like leaves: where but some is, there are trees before a sky
_GRAIN_DEG, _GRAIN_PX, _CALM = 0.15, 96, 0.006  # sigma, size and standard deviation of the grain overhead


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


def overhead(
    rgb: Tensor, known: Tensor, fading: Tensor, field: Tensor, is_sky: bool, indoor: bool, seed: int
) -> Overhead:
    """What lies above what `rgb` [3, H, W] shows where `known`, bool [H, W].

    fading: bool [W], columns of colours alone, which go on as such; field: [3, H, W], the plain colour; is_sky: it is
    a sky's, and has no grain. Before a sky, and in rooms, for whose ceiling is near, nothing else goes on.
    """
    half = known.shape[0] // 2
    seen = known[:half]
    top = torch.where(seen.any(0), seen.int().argmax(0), 10 * half)
    border = _Border(rgb[:, :half] * seen, seen, top, known.shape[0] / 180)
    detailed = torch.zeros(known.shape[1]) if is_sky or indoor else _full_of_detail(border)
    # Copies' borders end in steps, which would go on up.
    level = border.softened(top.clamp(max=half).float(), _LEVEL_DEG)
    above_deg = (level - torch.arange(half)[:, None]).clamp(min=0) / border.degree
    band_deg = min(_BAND_DEG, _BAND_SHARE * float(half - level.median()) / border.degree)
    again, there = _again(border, above_deg, max(band_deg, 1 / border.degree))
    share = detailed * there * (1 - smoothstep(above_deg / _TALL_DEG))
    edge = border.mean_below(border.shown, _EDGE_DEG)[:, None]
    plain = torch.lerp(field[:, :half], edge, 1 - smoothstep(above_deg / _FADED_DEG))
    rising = torch.where(fading, plain, torch.lerp(field[:, :half], again, share))
    return Overhead(rising if is_sky else rising + _CALM * _grain(border, seed), torch.where(fading, 1.0, detailed))


def _full_of_detail(border: _Border) -> Tensor:
    """[W] in 0..1: how much is like leaves, and not like clouds, below the border; nothing where most of it is not."""
    sigma = _DETAIL_DEG * border.degree
    share = blur(border.seen[None].float(), sigma).clamp(min=1e-6)  # what is not seen must not count as black
    detail = (border.shown - blur(border.shown, sigma) / share) * border.seen
    energy = border.mean_below(detail.square().mean(0, keepdim=True), _DETAIL_ROWS_DEG)[0]
    contrast = border.softened(energy, _SPREAD_DEG).sqrt()
    detailed = smoothstep((contrast - _CLOUDS) / (_LEAVES - _CLOUDS))
    shows = border.seen.any(0)
    return detailed * bool((detailed[shows] > 0.5).float().mean() > _MOST)


def _again(border: _Border, above_deg: Tensor, band_deg: float) -> tuple[Tensor, Tensor]:
    """The band below the border, upright, again and again above it, each time faded into the last: [3, R, W].

    Also [R, W], 0 where it has holes.
    """
    image = torch.cat([border.shown, border.seen[None].float()])

    def below(deg: Tensor) -> Tensor:
        row = border.top + (deg.clamp(min=0) * border.degree).round().long()
        return image[:, row.clamp(max=len(border.seen) - 1), torch.arange(border.seen.shape[1])]

    over_deg = _OVER * band_deg
    period_deg = band_deg - over_deg
    phase = above_deg % period_deg
    last = below(torch.where(above_deg < period_deg, 0.0, over_deg - phase))  # at first what ends is the photo itself
    again = torch.lerp(last, below(band_deg - phase), smoothstep(phase / over_deg))
    return again[:3], again[3]


def _grain(border: _Border, seed: int) -> Tensor:
    """[3, R, W] of mean 0 and contrast 1, grey and equally coarse everywhere round the zenith."""
    half, width = border.seen.shape
    noise = torch.randn(_GRAIN_PX, _GRAIN_PX, generator=torch.Generator().manual_seed(seed)).numpy()
    texture = torch.from_numpy(gaussian_filter(noise, _GRAIN_DEG * border.degree, mode="wrap")).expand(3, -1, -1)
    x, y, z = directions(2 * half, width)[:half].unbind(-1)
    from_zenith = torch.acos((-y).clamp(-1, 1)) * border.degree * 180 / math.pi / torch.hypot(x, z).clamp(min=1e-6)
    return spread_texture(texture / texture.std().clamp(min=1e-6), x * from_zenith, z * from_zenith, seed)
