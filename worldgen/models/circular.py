"""Convolutions that go on across the left and right edge of a picture, as a panorama does.

What diffusion networks know of places comes from their convolutions' zeros beyond the border. Without those at the left
and right, a picture that is turned comes back turned, and its edges meet.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


@contextmanager
def wrapped(*networks: nn.Module) -> Iterator[None]:
    """Within it, all convolutions of the networks see the right edge's pixels left of the left edge, and the other way
    round; above and below they see what they always do."""
    with ExitStack() as undo:
        for network in networks:
            for module in network.modules():
                if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros" and module.padding[1]:
                    undo.callback(module.__dict__.pop, "_conv_forward")
                    module.__dict__["_conv_forward"] = partial(_convolved, module)
                elif _pads_itself(module):
                    undo.callback(module.register_forward_pre_hook(_with_one_more_column).remove)
        yield


def _convolved(module: Any, pixels: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """As nn.Conv2d's own, [B, C, H, W]."""
    down, across = module.padding
    pixels = F.pad(pixels, (across, across, 0, 0), mode="circular")
    return F.conv2d(pixels, weight, bias, module.stride, (down, 0), module.dilation, module.groups)


def _pads_itself(module: Any) -> bool:
    """diffusers' autoencoders halve pictures with a row and a column of zeros below and on the right."""
    return type(module).__name__ == "Downsample2D" and module.use_conv and module.padding == 0


def _with_one_more_column(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The first column on the right of the last: the column of zeros then stands where no kernel reaches."""
    pixels, *others = given
    return (F.pad(pixels, (0, 1, 0, 0), mode="circular"), *others)
