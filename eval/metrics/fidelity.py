"""How close a picture is to the true picture of the same view: PSNR, SSIM, LPIPS. All three on RGB in [0, 1].

PSNR is torchmetrics' function, SSIM agrees with scikit-image's. LPIPS is pyiqa's network with the weights of our asset
`lpips_alex`, which hold the AlexNet backbone too, so that nothing else is downloaded.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval.metrics.base import Better, Companion, Needs
from worldgen.errors import UserError
from worldgen.models.assets import ASSETS, fetch
from worldgen.models.hub import missing_package, package_versions

_C1, _C2 = 0.01**2, 0.03**2
_WINDOW = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()
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
    packages = ("pyiqa",)

    def unavailable(self) -> str | None:
        reason = super().unavailable()
        if reason is None:
            try:
                fetch("lpips_alex")
            except UserError as error:
                reason = str(error)
        return reason

    def versions(self) -> dict[str, str]:
        return super().versions() | {"lpips_alex": f"sha256 {ASSETS['lpips_alex'].sha256}"}

    def _value(self, picture: Tensor, truth: Tensor) -> Tensor:
        return _lpips_network()(picture, truth)


def _size(picture: Tensor) -> str:
    return f"{picture.shape[2]} x {picture.shape[1]}"


@lru_cache(maxsize=1)
def _lpips_network() -> nn.Module:
    """pyiqa's LPIPS, put together from our file instead of the two that it would download."""
    from pyiqa.archs import lpips_arch

    weights = torch.load(fetch("lpips_alex"), weights_only=True)
    backbone = SimpleNamespace(features=_alexnet_features(weights))
    with patch.object(lpips_arch, "models", SimpleNamespace(alexnet=lambda **_: backbone)):
        network = lpips_arch.LPIPS(net="alex", version=weights["lpips_version"], pretrained=False)
    for layer, values in zip(network.lins, weights["lin"], strict=True):
        layer.model[-1].weight.data.copy_(values)
    return network.requires_grad_(False).eval()


def _alexnet_features(weights: dict[str, Any]) -> nn.Sequential:
    """AlexNet's convolutions in torchvision's order, up to the fifth ReLU: what LPIPS slices."""
    layers: list[nn.Module] = []
    for trunk, pool in zip(weights["trunk"], weights["pool_before"], strict=True):
        outputs, inputs, size, _ = trunk["weight"].shape
        convolution = nn.Conv2d(inputs, outputs, size, trunk["stride"], trunk["padding"])
        convolution.load_state_dict({"weight": trunk["weight"], "bias": trunk["bias"]})
        layers += [nn.MaxPool2d(3, 2)] * pool + [convolution, nn.ReLU()]
    return nn.Sequential(*layers)
