"""How close a picture is to the true picture of the same view: PSNR, SSIM, LPIPS. All three on RGB in [0, 1].

PSNR is torchmetrics' function, SSIM agrees with scikit-image's, LPIPS with pyiqa's published values. Its weights are
the asset `lpips_alex`, which holds the AlexNet backbone too, so that nothing else is downloaded.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.metrics.base import Better, Companion, Needs
from worldgen.errors import UserError
from worldgen.models.assets import ASSETS, fetch
from worldgen.models.hub import missing_package, package_versions

_C1, _C2 = 0.01**2, 0.03**2
_WINDOW = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()
_LPIPS = "1"  # raised when a value of LPIPS changes
_IMAGENET_SHIFT, _IMAGENET_SCALE = (
    (-0.030, -0.088, -0.188),
    (0.458, 0.448, 0.450),
)  # of pictures in -1..1, as LPIPS has it
_SMALLEST_PX = {"ssim": 11, "lpips": 32}  # one window; what is left after AlexNet's strides


def psnr(image: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB between two images of one size; infinite where they are equal."""
    mean_square = float((image - truth).square().mean())
    return math.inf if mean_square == 0 else -10 * math.log10(mean_square)


class _AgainstTruth(ABC):
    """What the three share: one value for each pair of pictures of one size."""

    name: str
    better: Better
    needs: Needs = "truth"
    across_processes = True
    packages: tuple[str, ...] = ("torchmetrics",)

    def unavailable(self) -> str | None:
        return missing_package(*self.packages)

    def versions(self) -> dict[str, str]:
        return package_versions(*self.packages)

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Tensor], companions: Sequence[Companion]) -> list[float]:
        """Raises UserError where a picture and its truth differ in size, or are too small."""
        pairs = [self._pair(picture, truth) for picture, truth in zip(pictures, companions, strict=True)]
        return [float(self._value(picture[None], truth[None])) for picture, truth in pairs]

    def _pair(self, picture: Tensor, truth: Companion) -> tuple[Tensor, Tensor]:
        assert isinstance(truth, Tensor), f"{self.name} needs the true picture"
        if picture.shape != truth.shape:
            raise UserError(
                f"{self.name}: the picture has {_size(picture)} pixels, the true picture {_size(truth)}; "
                "wanted one size"
            )
        smallest = _SMALLEST_PX.get(self.name, 1)
        if min(picture.shape[1:]) < smallest:
            raise UserError(f"{self.name}: the picture has {_size(picture)} pixels, wanted at least {smallest} a side")
        return picture.float().clamp(0, 1), truth.float().clamp(0, 1)

    @abstractmethod
    def _value(self, picture: Tensor, truth: Tensor) -> Tensor:
        """Both [1, 3, H, W] in [0, 1] -> [1] or a scalar."""


class Psnr(_AgainstTruth):
    """10 log10(1 / mean squared error over pixels and channels), in dB; infinite where the pictures are equal."""

    name, better = "psnr", "higher"

    def _value(self, picture: Tensor, truth: Tensor) -> Tensor:
        from torchmetrics.functional.image import peak_signal_noise_ratio

        return peak_signal_noise_ratio(picture, truth, data_range=1.0)


class Ssim(_AgainstTruth):
    """Wang et al. 2004, mean over pixels and the three channels, no downsampling first: at most 1, where equal.

    Gaussian window of 11 x 11 and sigma 1.5, K1 = 0.01, K2 = 0.03, population covariance, windows inside the picture.
    """

    name, better = "ssim", "higher"
    packages = ("torch",)

    def _value(self, picture: Tensor, truth: Tensor) -> Tensor:
        # torchmetrics' own takes 20 times as long for a picture of 1024 x 1024, and averages over windows that reach
        # beyond the edges, which Wang et al. leave out.
        x, y = picture.double(), truth.double()
        mean_x, mean_y, square_x, square_y, product = _windows(torch.cat([x, y, x * x, y * y, x * y], dim=1)).chunk(
            5, 1
        )
        cross, energy = mean_x * mean_y, mean_x.square() + mean_y.square()
        covariance, variances = product - cross, square_x + square_y - energy
        similar = (2 * cross + _C1) * (2 * covariance + _C2) / ((energy + _C1) * (variances + _C2))
        return similar.mean()


def _windows(planes: Tensor) -> Tensor:
    """[1, C, H, W] to [1, C, H - 10, W - 10]: Gaussian means over the windows that lie inside."""
    count = planes.shape[1]
    rows, columns = (_WINDOW.view(shape).expand(count, 1, -1, -1) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))
    return F.conv2d(F.conv2d(planes, rows, groups=count), columns, groups=count)


class Lpips(_AgainstTruth):
    """Zhang et al. 2018, version 0.1 on AlexNet: 0 where the pictures are equal, about 0.7 where nothing is alike."""

    name, better = "lpips", "lower"
    packages = ()

    def unavailable(self) -> str | None:
        try:
            fetch("lpips_alex")
        except UserError as error:
            return str(error)
        return None

    def versions(self) -> dict[str, str]:
        return {"worldgen": _LPIPS, "lpips_alex": f"sha256 {ASSETS['lpips_alex'].sha256}"}

    def _value(self, picture: Tensor, truth: Tensor) -> Tensor:
        """Eq. 1 of Zhang et al.: over the layers, mean squared differences of unit features, weighted by channel."""
        weights = _lpips_weights()
        layers = zip(_alexnet_features(picture, weights), _alexnet_features(truth, weights), strict=True)
        differences = [(F.normalize(x, eps=1e-10) - F.normalize(y, eps=1e-10)).square() for x, y in layers]
        shares = [F.conv2d(difference, lin).mean() for difference, lin in zip(differences, weights["lin"], strict=True)]
        return torch.stack(shares).sum()


def _alexnet_features(rgb: Tensor, weights: dict[str, Any]) -> list[Tensor]:
    """[1, 3, H, W] in [0, 1] -> what each of AlexNet's five ReLUs lets through, [1, C, h, w]."""
    shift, scale = (rgb.new_tensor(values)[:, None, None] for values in (_IMAGENET_SHIFT, _IMAGENET_SCALE))
    found, layer = [], (2 * rgb - 1 - shift) / scale
    for trunk, pooled in zip(weights["trunk"], weights["pool_before"], strict=True):
        layer = F.max_pool2d(layer, 3, 2) if pooled else layer
        layer = F.conv2d(layer, trunk["weight"], trunk["bias"], trunk["stride"], trunk["padding"]).relu()
        found.append(layer)
    return found


@lru_cache(maxsize=1)
def _lpips_weights() -> dict[str, Any]:
    """trunk: AlexNet's convolutions; pool_before: whether each is pooled first; lin: each layer's channel weights."""
    return torch.load(fetch("lpips_alex"), weights_only=True)


def _size(picture: Tensor) -> str:
    return f"{picture.shape[2]} x {picture.shape[1]}"
