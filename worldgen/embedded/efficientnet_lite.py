"""EfficientNet-Lite0 (Apache-2.0): which of ImageNet's 1000 classes a picture shows, within 20 ms on a processor.

Tan & Le, ICML 2019, Table 1 (B0), in the form for phones: ReLU6, no squeeze-and-excitation. The weights are
TensorFlow's, converted by others; modules are called as their file calls them.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 224
"""Pixels of the square pictures that it was trained on."""

_STAGES = (  # repeats, kernel, stride of the first, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD, _CLASSES = 32, 1280, 1000


class EfficientNetLite0(nn.Module):
    """Only to be asked, not trained: the original's stochastic depth and dropout are left out."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _Conv(3, _STEM, 3, stride=2), _norm(_STEM)
        blocks, inputs = [], _STEM
        for repeats, kernel, stride, expansion, channels in _STAGES:
            for number in range(repeats):
                blocks.append(_Block(inputs, channels, kernel, stride if number == 0 else 1, expansion))
                inputs = channels
        self._blocks = nn.Sequential(*blocks)
        self._conv_head, self._bn1 = _Conv(inputs, _HEAD, 1), _norm(_HEAD)
        self._fc = nn.Linear(_HEAD, _CLASSES)

    def forward(self, rgb: Tensor) -> Tensor:
        """rgb [B, 3, H, W] in [0, 1], at its best H = W = SIZE -> logits [B, 1000]."""
        x = F.relu6(self._bn1(self._conv_head(self._blocks(self._stem(rgb)))))
        return self._fc(x.mean((2, 3)))

    def maps(self, rgb: Tensor, after: Sequence[int]) -> list[Tensor]:
        """rgb [B, 3, H, W] in [0, 1] -> what the blocks of those numbers, 0 to 15, say of each place: [B, C, h, w]."""
        x, said = self._stem(rgb), []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in after:
                said.append(x)
            if number == max(after):
                break
        return said

    def _stem(self, rgb: Tensor) -> Tensor:
        return F.relu6(self._bn0(self._conv_stem((255 * rgb - 127) / 128)))


def load_network(path: Path) -> EfficientNetLite0:
    """The network with a file's weights, on the CPU, in float32. Raises RuntimeError for another network's file."""
    with torch.device("meta"):
        network = EfficientNetLite0()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)


class _Block(nn.Module):
    """Widens, filters each channel by itself, narrows; adds what came in where that has the same shape."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.widens, self.adds = expansion > 1, stride == 1 and inputs == outputs
        if self.widens:
            self._expand_conv, self._bn0 = _Conv(inputs, wide, 1), _norm(wide)
        self._depthwise_conv, self._bn1 = _Conv(wide, wide, kernel, stride, groups=wide), _norm(wide)
        self._project_conv, self._bn2 = _Conv(wide, outputs, 1), _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride], rounded up."""
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class _Conv(nn.Conv2d):
    """Without bias, padded as TensorFlow pads ("SAME"): an odd pixel goes to the right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride], rounded up."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        right, below = (_missing(size, kernel, stride) for size in (x.shape[-1], x.shape[-2]))
        return super().forward(F.pad(x, (right // 2, right - right // 2, below // 2, below - below // 2)))


def _missing(size: int, kernel: int, stride: int) -> int:
    """Pixels that `size` lacks for one answer at every `stride`-th of them."""
    answers = -(-size // stride)
    return max(0, (answers - 1) * stride + kernel - size)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
