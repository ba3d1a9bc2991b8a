"""An autoencoder that begins as something sensible: three of its latents are the mean colours of 8 x 8 pixels, and its
decoder enlarges them. From random weights, colours take thousands of steps to come through.

The signal goes through the first three channels of every linear layer. Group norm and SiLU at both ends let it pass as
it is: silu(x) - silu(-x) = x, and two large constants in each group, +K and -K, fix the group's mean and scale.
"""

from typing import Any

import torch
from torch import nn

_COLOURS = 3
_K = 4.0  # colours are -1 .. 1
_LOG_VARIANCE = -8.0  # of its answers: noise as large as latents would drown them


@torch.no_grad()
def begun_as_thumbnails(vae: Any, groups: int) -> Any:
    """diffusers' AutoencoderKL, changed in place; its residual blocks add nothing, their widths grow from level to
    level, and its groups have 4 channels at least."""
    for attention in (*vae.encoder.mid_block.attentions, *vae.decoder.mid_block.attentions):
        nn.init.zeros_(attention.to_out[0].weight)
        nn.init.zeros_(attention.to_out[0].bias)
    _carry(vae.encoder.conv_in)
    blocks = vae.encoder.down_blocks
    for block in blocks:
        for layer in _shortcuts(block):
            _carry(layer)
        for sampler in block.downsamplers or ():
            _carry(sampler.conv, torch.tensor([0.5, 0.5, 0.0]))
    _part(_shortcuts(blocks[-1])[0], groups)
    _join(vae.encoder.conv_out, groups)
    for layer in (vae.quant_conv, vae.post_quant_conv):
        _carry(layer)
    channels = vae.config.latent_channels
    vae.quant_conv.weight[channels:] = 0
    vae.quant_conv.bias[channels:] = _LOG_VARIANCE
    _carry(vae.decoder.conv_in)
    blocks = vae.decoder.up_blocks
    for block in blocks:
        for layer in _shortcuts(block):
            _carry(layer)
        for sampler in block.upsamplers or ():
            _carry(sampler.conv, torch.tensor([0.25, 0.5, 0.25]))
    _part(_shortcuts(blocks[-1])[0], groups)
    _join(vae.decoder.conv_out, groups)
    return vae


def _shortcuts(block: Any) -> list[nn.Conv2d]:
    """The 1x1 convolutions beside residual blocks that change the width."""
    return [resnet.conv_shortcut for resnet in block.resnets if resnet.conv_shortcut is not None]


def _carry(layer: nn.Conv2d, taps: torch.Tensor | None = None) -> None:
    """The three colours go on as they are, or as these taps in each direction weigh them."""
    assert layer.bias is not None
    side = layer.kernel_size[0]
    if taps is None:
        taps = torch.zeros(side)
        taps[side // 2] = 1
    layer.weight[:_COLOURS] = 0
    layer.bias[:_COLOURS] = 0
    for colour in range(_COLOURS):
        layer.weight[colour, colour] = taps[:, None] * taps


def _part(layer: nn.Conv2d, groups: int) -> None:
    """Each colour becomes a group of its own: x, -x, K, -K and nothing else."""
    assert layer.bias is not None
    size = layer.out_channels // groups
    layer.weight[: _COLOURS * size] = 0
    layer.bias[: _COLOURS * size] = 0
    for colour in range(_COLOURS):
        first = colour * size
        layer.weight[first, colour] = 1
        layer.weight[first + 1, colour] = -1
        layer.bias[first + 2], layer.bias[first + 3] = _K, -_K


def _join(layer: nn.Conv2d, groups: int) -> None:
    """The three colours again, of what `_part` made of them, behind group norm and SiLU."""
    assert layer.bias is not None
    size = layer.in_channels // groups
    scale = _K * (2 / size) ** 0.5  # by which the norm divides, but for the colours' own small share
    middle = layer.kernel_size[0] // 2
    layer.weight[:_COLOURS] = 0
    layer.bias[:_COLOURS] = 0
    for colour in range(_COLOURS):
        layer.weight[colour, colour * size, middle, middle] = scale
        layer.weight[colour, colour * size + 1, middle, middle] = -scale
