"""A plausible sky or ground where a photo shows none: a smooth field of colour with the photo's own texture."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.geometry.equirect import directions, sample
from worldgen.geometry.fill import blur, enlarge
from worldgen.types import View

_AS_LOW, _AS_HIGH = 0.08, 0.1  # sine of latitude over which what is known counts less: grass may be but a strip
_FIT_WIDTH = 256  # the colour field is smooth: a coarse panorama is enough to fit it
# How skies are at the zenith: eight real outdoor panoramas, white at the horizon to deep blue, have nearly one
# brightness there.
_ZENITH_LUMA, _ZENITH_KEEPS = 0.53, 0.2
_REDDER, _BLUER = 1.4, 0.6  # exponents of how much darker red and blue get there
_HIGHEST_DEG = 12.0  # of what is known: the brighter half of it is lit from above
_EXTRAPOLATION = 0.2  # sine of latitude beyond the photo's border up to which a trend goes on
_FINER = 0.75  # exponent of the frequency: what is far away in a photo, and blurred, is coarser there than nearby
_LEAST_CYCLES = 4  # across a texture: what is coarser would be blotches, the same all over the ground
_MAD_TO_SIGMA = 1.4826  # of a normal distribution
_BORDER = 2  # pixels that bicubic sampling looks beyond a texture's end
_INLIER = 0.06  # colour difference at which a pixel stops counting as sky or ground


def colour_field(rgb: Tensor, known: Tensor, down: bool, is_sky: bool) -> Tensor:
    """A smooth sky (or ground, if `down`) over a whole panorama [3, H, W], after what `rgb` shows of it where `known`.

    Linear in the direction, fitted robustly to the known pixels nearest the pole, so that what stands against the sky
    or on the ground counts little; never darker or brighter than what was seen. is_sky: what is
    smooth, bright and blue counts more, and it darkens towards the zenith.
    """
    height, width = known.shape
    size = (_FIT_WIDTH // 2, _FIT_WIDTH)
    share = F.interpolate(known[None, None].float(), size, mode="area")[0, 0]
    colour = F.interpolate((rgb * known)[None], size, mode="area")[0] / share.clamp(min=1e-6)
    rays = directions(*size)
    depth = rays[..., 1] if down else -rays[..., 1]
    seen = (share > 0.5) & (depth > 0.05)
    if not bool(seen.any()):
        return torch.full_like(rgb, 0.5)
    last = torch.where(seen, depth, -1.0).amax(0, keepdim=True)  # of each column
    near_pole = torch.exp(-(last - depth).clamp(min=0) / (_AS_LOW if down else _AS_HIGH))
    weight = (near_pole * torch.sqrt(1 - depth**2))[seen]
    terms = _terms(rays, depth, float(last[last > 0].median()))
    seen_terms, seen_colour = terms[seen], colour.permute(1, 2, 0)[seen]
    if is_sky:
        weight = weight * _like_sky(colour, share > 0.99)[seen]
    coefficients = _robust_fit(seen_terms, seen_colour, weight)
    inliers = seen_colour[(seen_terms @ coefficients - seen_colour).square().sum(-1) < (2 * _INLIER) ** 2]
    fitted = (terms @ coefficients).permute(2, 0, 1)
    if len(inliers):
        low, high = inliers.quantile(0.02, 0), inliers.quantile(0.98, 0)
        low = low - (high - low) / 2  # skies darken towards the zenith
        fitted = torch.minimum(torch.maximum(fitted, low[:, None, None]), high[:, None, None])
    if is_sky:
        fitted = _darker_zenith(fitted, depth, float(last[last > 0].median()))
    return enlarge(fitted, height, width)


def lit_from_above(field: Tensor, rgb: Tensor, known: Tensor) -> Tensor:
    """The field [3, H, W] overhead, outdoors where no sky is seen: no darker than skies are, if anything highest up is
    as bright in `rgb`, bool [H, W] `known`. Leaves and roofs are dark at the horizon; the light comes from above them.
    """
    height = known.shape[0]
    row = torch.arange(height)[:, None]
    top = torch.where(known.any(0), known.int().argmax(0), height)
    luma = rgb.mean(0)[known & (row >= top) & (row < top + _HIGHEST_DEG * height / 180)]
    if not len(luma):
        return field
    bright = float(luma[luma >= luma.median()].mean())
    return field + max(0.0, min(bright, _ZENITH_LUMA) - float(field[:, : height // 4].mean()))


def _darker_zenith(sky: Tensor, depth: Tensor, seen: float) -> Tensor:
    """A bright sky [3, H, W] turns darker and bluer above what was `seen` of it (sine of latitude)."""
    luma = sky.mean(0)
    gain = (_ZENITH_KEEPS + (1 - _ZENITH_KEEPS) * _ZENITH_LUMA / luma.clamp(min=0.05)).clamp(max=1)
    height, border = torch.asin(depth.clamp(-1, 1)), math.asin(min(1.0, max(-1.0, seen)))
    left = ((math.pi / 2 - height) / (math.pi / 2 - border)).clamp(0, 1)  # of the way to the zenith
    gain = 1 + (gain - 1) * (1 - left.square())
    return sky * torch.stack([gain**_REDDER, gain, gain**_BLUER])


def _like_sky(colour: Tensor, known: Tensor) -> Tensor:
    """[H, W]: weights of a coarse panorama's pixels, high where it is smooth, and rather bright and blue."""
    luma = colour.mean(0)
    steep = torch.maximum((luma - luma.roll(1, 1)).abs(), (luma - luma.roll(1, 0)).abs()) + (~known).float()
    steep = F.max_pool2d(steep[None, None], 5, stride=1, padding=2)[0, 0]
    smooth = 1 / (1 + (steep / 0.03) ** 2) ** 2
    return smooth * torch.exp(4 * luma + 3 * (colour[2] - colour[0])) + 1e-4


def _terms(rays: Tensor, depth: Tensor, centre: float) -> Tensor:
    return torch.stack(
        [torch.ones_like(depth), rays[..., 0], rays[..., 2], (depth - centre).clamp(max=_EXTRAPOLATION)], -1
    )


def _robust_fit(terms: Tensor, colour: Tensor, prior: Tensor) -> Tensor:
    """[N, 4], [N, 3], [N] -> [4, 3]: weighted least squares that lets go of what does not fit (Geman-McClure)."""
    ridge = torch.diag(torch.tensor([0.0, 0.01, 0.01, 0.005])) * prior.sum()
    weight = prior
    for width in (8, 6, 4, 3, 2, 1.5, 1, 1, 1, 1):  # from all pixels to the inliers
        normal = (terms * weight[:, None]).T @ terms + ridge + 1e-6 * torch.eye(4)
        coefficients = torch.linalg.solve(normal, (terms * weight[:, None]).T @ colour)
        miss = (terms @ coefficients - colour).square().sum(-1)
        weight = prior / (1 + miss / (width * _INLIER) ** 2).square()
    return coefficients


def plane_texture(photo: View, field: Tensor, pixels_per_height: float) -> Tensor | None:
    """The photo's most typical piece of ground, seen at right angles, without its mean.

    Returns [3, N, N] at `pixels_per_height` pixels per camera height, mean 0, or None where the photo shows no plane.
    `field`: the colour, [3, H, W] panorama, that is typical.
    """
    plane, shown, rays = _unrolled(photo, pixels_per_height)
    typical = sample(field, rays)
    size = round(pixels_per_height * 0.8)
    while size >= 16:
        windows = [
            (row, column)
            for row in range(0, plane.shape[1] - size + 1, size // 4)
            for column in range(0, plane.shape[2] - size + 1, size // 4)
            if bool(shown[row : row + size : 4, column : column + size : 4].all())
        ]
        if windows:
            fine = plane - blur(plane, size / 5)
            part = min(windows, key=lambda at: _untypical(plane, fine, typical, at, size) + 0.01 * at[0] / size)
            return _cut_out(fine, *part, size)
        size = round(size * 0.7)
    return None


def _unrolled(photo: View, density: float) -> tuple[Tensor, Tensor, Tensor]:
    camera = photo.camera
    nearest = camera.fy / (camera.height / 2)  # in camera heights, where the photo ends
    z = nearest + torch.arange(round(2.5 * density)) / density
    x = (torch.arange(round(5 * density)) + 0.5) / density - 2.5
    z, x = torch.meshgrid(z, x, indexing="ij")
    y = torch.ones_like(x)
    u, v = (camera.fx * x / z + camera.cx) / camera.width, (camera.fy * y / z + camera.cy) / camera.height
    shown = (u > 0.01) & (u < 0.99) & (v > 0.01) & (v < 0.99)
    grid = torch.stack([u, v], -1)[None] * 2 - 1
    plane = F.grid_sample(photo.rgb[None], grid, "bicubic", "border", align_corners=False)[0]
    return plane, shown, torch.stack([x, y, z], -1)


def _cut_out(image: Tensor, row: int, column: int, size: int) -> Tensor:
    piece = image[:, row : row + size, column : column + size]
    return piece - piece.mean((1, 2), keepdim=True)


def _untypical(plane: Tensor, fine: Tensor, typical: Tensor, at: tuple[int, int], size: int) -> float:
    """Far from the typical colour, or with single strong edges instead of texture (and, added outside, far away)."""
    row, column = at
    window = (slice(None), slice(row, row + size, 2), slice(column, column + size, 2))
    miss = (plane[window] - typical[window]).square().sum(0).mean()
    energy = fine[window].square().sum(0)
    peaks = energy.square().mean() / (energy.mean().square() + 1e-8)
    return float(miss + 0.001 * peaks)


def grain(texture: Tensor, seed: int, most_contrast: float) -> Tensor:
    """What is left of a texture [3, N, N] when nothing in it can be recognised: colours, coarseness and contrast.

    Noise with the texture's power at every frequency, finer ones favoured, whatever its direction, in each of its
    principal colours (after Galerne, Gousseau and Morel, "Random phase textures", 2011). Periodic, mean 0. Things that
    lie on the ground are few strong pixels, so contrast (standard deviation) is that of the others, and at most
    `most_contrast`.
    """
    size = texture.shape[-1]
    window = torch.hann_window(size, periodic=False)
    flat = (texture * window[:, None] * window).flatten(1)
    _, colours = torch.linalg.eigh(flat @ flat.T)
    power = torch.fft.rfft2((colours.T @ flat).view_as(texture)).abs().square()
    rows, columns = torch.fft.fftfreq(size, 1 / size), torch.fft.rfftfreq(size, 1 / size)
    ring = torch.hypot(rows[:, None], columns).round().long()
    total = torch.zeros(3, int(ring.max()) + 1).index_add_(1, ring.flatten(), power.flatten(1))
    amplitude = (total / ring.flatten().bincount()).sqrt()[:, ring] * ring**_FINER
    amplitude[:, ring < _LEAST_CYCLES] = 0.0
    noise = torch.fft.rfft2(torch.randn(3, size, size, generator=torch.Generator().manual_seed(seed)))
    mixed = (colours @ torch.fft.irfft2(noise * amplitude, s=(size, size)).flatten(1)).view_as(texture)
    usual = _MAD_TO_SIGMA * float((texture - texture.mean((1, 2), keepdim=True)).abs().median())
    return mixed * min(usual, most_contrast) / mixed.std().clamp(min=1e-6)


def spread_texture(texture: Tensor, x: Tensor, y: Tensor, seed: int) -> Tensor:
    """An endless texture like the periodic `texture` [3, N, N] (mean 0) at plane positions x, y [H, W] in its pixels.

    Three randomly shifted copies are blended on a triangle grid, at equal variance (Heitz and Neyret, "By-example
    noise", 2018, without their histogram transform). [3, H, W].
    """
    size = texture.shape[-1]
    cell = size / 2
    skewed_x, skewed_y = (x - y / math.sqrt(3)) / cell, y * 2 / math.sqrt(3) / cell
    base_x, base_y = skewed_x.floor(), skewed_y.floor()
    along, across = skewed_x - base_x, skewed_y - base_y
    lower = (along + across < 1).to(x.dtype)
    upper = 1 - lower
    corners = [
        (base_x + upper, base_y + upper, (1 - along - across).abs()),
        (base_x + upper, base_y + lower, lower * across + upper * (1 - across)),
        (base_x + lower, base_y + upper, lower * along + upper * (1 - along)),
    ]
    around = F.pad(texture[None], (_BORDER,) * 4, mode="circular")
    total, power = torch.zeros(3, *x.shape), torch.zeros_like(x)
    for corner_x, corner_y, weight in corners:
        weight = weight**3
        shift_x, shift_y = _hash(corner_x, corner_y, seed), _hash(corner_y, corner_x, seed + 1)
        grid = torch.stack([_periodic(x / size + shift_x, size), _periodic(y / size + shift_y, size)], -1)
        total += weight * F.grid_sample(around, grid[None], "bicubic", "border", align_corners=False)[0]
        power += weight * weight
    return total / power.sqrt()


def _periodic(position: Tensor, size: int) -> Tensor:
    """Periods of a texture of `size` pixels to a sampling coordinate -1..1 of that texture with a border round it."""
    return ((position % 1) * size + _BORDER) / (size + 2 * _BORDER) * 2 - 1


def _hash(a: Tensor, b: Tensor, seed: int) -> Tensor:
    """Random-looking numbers in 0..1, one per grid corner."""
    value = torch.sin(a * 12.9898 + b * 78.233 + seed * 7.47) * 437.58547
    return value - value.floor()
