"""Networks that see what lies across the left and right edge of a picture, as a panorama's neighbours do.

What convolutional networks know of places comes from their zeros beyond the border. Without those at the left and
right, a picture that is turned comes back turned, and its edges meet. FLUX's transformers are told places, by numbers
that do not go round: they are shown the columns at the edges twice, with which DiT360 (arXiv 2510.11712) was trained.
"""

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@contextmanager
def wrapped(*networks: nn.Module) -> Iterator[None]:
    """Within it, all convolutions of the networks see the right edge's pixels left of the left edge, and the other way
    round; above and below they see what they always do. FLUX's transformers see those columns' tokens."""
    with ExitStack() as undo:
        for network in networks:
            if takes_places(network):
                undo.callback(network.register_forward_pre_hook(_with_neighbours, with_kwargs=True).remove)
                undo.callback(network.register_forward_hook(_without_neighbours, with_kwargs=True).remove)
            for module in network.modules():
                if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros" and module.padding[1]:
                    undo.callback(module.__dict__.pop, "_conv_forward")
                    module.__dict__["_conv_forward"] = partial(_convolved, module)
                elif _pads_itself(module):
                    undo.callback(module.register_forward_pre_hook(_with_one_more_column).remove)
        yield


def takes_places(network: nn.Module) -> bool:
    """Whether it is told where each token stands, its row and its column, as FLUX's transformers are."""
    return "img_ids" in inspect.signature(type(network).forward).parameters


def _with_neighbours(_: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Tokens [B, rows x columns, C] and their places [rows x columns, 3], with the last column once more before the
    first and the first once more behind the last, each in the place that it has."""
    places = given["img_ids"]
    grid = torch.arange(len(places), device=places.device).view(-1, _in_a_row(places))
    around = torch.cat([grid[:, -1:], grid, grid[:, :1]], dim=1).flatten()
    return args, given | {"hidden_states": given["hidden_states"][:, around], "img_ids": places[around]}


def _without_neighbours(_: nn.Module, __: tuple[Any, ...], given: dict[str, Any], answer: Any) -> Any:
    """The network's answer [B, rows x (columns + 2), C] to those tokens, less the neighbours'. The two of a place are
    the same in all they meet, so what it says of them is the same, and no step needs the one that is left out."""
    tokens, *others = answer
    own = tokens.unflatten(1, (-1, _in_a_row(given["img_ids"])))[:, :, 1:-1].flatten(1, 2)
    return (own, *others)


def _in_a_row(places: Tensor) -> int:
    """How many tokens: as many as stand in the first. The highest column would be wrong beyond 256 in 16 bits."""
    return int((places[:, 1] == 0).sum())


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
