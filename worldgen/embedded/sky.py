"""Where an outdoor panorama shows sky: smooth, hanging together with the zenith, following one gentle gradient."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from worldgen.geometry.equirect import directions

_ROWS = 256  # rows of the grid on which the sky is found; its outline is then drawn on the panorama's own pixels
_SMOOTH = 0.025  # colour gradient per grid pixel that a sky may have between two of its parts
_ROUNDS = 5
_NEARBY = 6  # grid pixels from which the sky may go on in the colours that it has there
_GLARE = 0.88  # luma from which on a part of the picture may be sun or bright cloud, not a white house
_GLARE_ODDS = 2.0  # log odds that what outshines the ground and most of the sky is sun or cloud
_LEAST_SHARE = 0.02  # of the upper half, below which no sky is seen


def sky_mask(rgb: Tensor) -> Tensor:
    """rgb [3, H, W] equirectangular, level -> bool [H, W], True where the sky is. Never below the horizon."""
    height, width = rgb.shape[1:]
    small = F.interpolate(rgb[None], (_ROWS, 2 * _ROWS), mode="area")[0].numpy()
    rays = directions(_ROWS, 2 * _ROWS).numpy()
    above = rays[..., 1] < 0
    sky = _smooth_from_zenith(small) & above
    likeness = sky.astype(np.float32)
    for _ in range(_ROUNDS):
        if sky[above].mean() < _LEAST_SHARE:
            return torch.zeros(height, width, dtype=torch.bool)
        likeness = _likeness(small, rays, sky)
        sky = _without_floating(_reaches_top(guided(likeness, _luma(small), 4, 1e-3) > 0.5) & above, above)
        likeness = np.maximum(likeness, sky)
    likely = torch.from_numpy(np.where(above, likeness, 0.0) * ndimage.binary_dilation(sky, iterations=2))
    large = F.interpolate(likely[None, None].float(), (height, width), mode="bilinear", align_corners=False)[0, 0]
    radius = max(2, height // 128)
    fine = guided(large.numpy(), _luma(rgb.numpy()), radius, 3e-4) > 0.5
    return torch.from_numpy(fine & (directions(height, width)[..., 1] < 0).numpy())


def guided(image: np.ndarray, guide: np.ndarray, radius: int, epsilon: float, sides: str = "wrap") -> np.ndarray:
    """The guided filter (He et al., 2010) on [H, W]: smooths `image`, keeps the edges of `guide`. sides: SciPy's mode
    for what lies to the left and right; by default the picture is equirectangular."""

    def mean(values: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(values, 2 * radius + 1, mode=("nearest", sides))

    mean_guide, mean_image = mean(guide), mean(image)
    covariance = mean(guide * image) - mean_guide * mean_image
    slope = covariance / (mean(guide * guide) - mean_guide**2 + epsilon)
    return mean(slope) * guide + mean(mean_image - slope * mean_guide)


def _luma(rgb: np.ndarray) -> np.ndarray:
    return 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]


def _smooth_from_zenith(rgb: np.ndarray) -> np.ndarray:
    gradient = np.zeros(rgb.shape[1:])
    for channel in rgb:
        smooth = ndimage.gaussian_filter(channel, 0.7, mode=("nearest", "wrap"))
        steep = np.hypot(ndimage.sobel(smooth, 0, mode="nearest"), ndimage.sobel(smooth, 1, mode="wrap")) / 8
        gradient = np.maximum(gradient, steep)
    return _reaches_top(ndimage.maximum_filter(gradient, 3, mode=("nearest", "wrap")) < _SMOOTH)


def _reaches_top(mask: np.ndarray) -> np.ndarray:
    """The parts of a mask [H, W] that touch the upper eighth, round the back as well."""
    doubled, _ = ndimage.label(np.concatenate([mask, mask], 1))
    top = np.unique(doubled[: len(mask) // 8])
    reached = np.isin(doubled, top[top > 0])
    return reached[:, : mask.shape[1]] | reached[:, mask.shape[1] :]


def _without_floating(sky: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Adds what hangs in the sky and touches no ground: clouds, the sun, birds."""
    rest, _ = ndimage.label(np.concatenate([~sky, ~sky], 1))
    standing = np.isin(rest, np.unique(rest[np.concatenate([~above, ~above], 1)]))
    half = sky.shape[1]
    return above & ~(standing[:, :half] | standing[:, half:])


def _likeness(rgb: np.ndarray, rays: np.ndarray, sky: np.ndarray) -> np.ndarray:
    """[H, W] in 0..1: how much rather a colour belongs to the sky's gradient than to the rest of the upper half."""
    x, y, z = rays[..., 0], rays[..., 1], rays[..., 2]
    terms = np.stack([np.ones_like(x), x, y, z, x * x, y * y, x * y, y * z, x * z, y**3, y * y * x, y * y * z], -1)
    area = np.sqrt(1 - y**2)
    pixels = rgb.transpose(1, 2, 0)
    normal = (terms[sky] * area[sky, None]).T @ terms[sky] + 1e-2 * np.eye(terms.shape[-1])
    gradient = terms @ np.linalg.solve(normal, (terms[sky] * area[sky, None]).T @ pixels[sky])
    miss = np.square(pixels - gradient).sum(-1)
    weight = ndimage.gaussian_filter(sky.astype(float), _NEARBY, mode=("nearest", "wrap"))
    nearby = ndimage.gaussian_filter(
        pixels * sky[..., None], (_NEARBY, _NEARBY, 0), mode=("nearest", "wrap", "nearest")
    )
    nearby /= np.maximum(weight, 1e-6)[..., None]
    miss = np.where(weight > 0.02, np.minimum(miss, np.square(pixels - nearby).sum(-1)), miss)
    spread = max(float(np.median(miss[sky])) / 2.4, 4e-4)  # median of chi-square with three degrees is 2.4
    log_sky = -0.5 * miss / spread - 1.5 * np.log(spread)
    luma = _luma(rgb)
    outshines = luma > max(float(np.quantile(luma[y > 0.1], 0.99)), float(np.median(luma[sky])), _GLARE)
    rest = ~ndimage.binary_dilation(sky, iterations=2) & (y > -0.9) & (y < 0.25) & ~outshines
    if rest.sum() < 50:
        return (sky | outshines).astype(np.float32)
    log_rest = np.log(colour_density(pixels, pixels[rest]) + 1e-3) + 1.5 * np.log(2 * np.pi)
    odds = np.where(outshines, _GLARE_ODDS, log_sky - log_rest)
    return (1 / (1 + np.exp(-np.clip(odds, -30, 30)))).astype(np.float32)


def colour_density(pixels: np.ndarray, samples: np.ndarray, bins: int = 24) -> np.ndarray:
    """How dense `samples` [N, 3] lie at the colours `pixels` [..., 3], per unit volume of the RGB cube: [...]."""
    places = np.clip((samples * bins).astype(int), 0, bins - 1)
    counts = np.zeros((bins,) * 3)
    np.add.at(counts, tuple(places.T), 1.0)
    counts = ndimage.gaussian_filter(counts, 1.0, mode="nearest") * bins**3 / len(samples)
    coordinates = np.moveaxis(pixels * bins - 0.5, -1, 0)
    return ndimage.map_coordinates(counts, coordinates, order=1, mode="nearest")
