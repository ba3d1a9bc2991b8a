"""MoGe's own networks, a few thousand random numbers small, as files in the layout of its releases."""

from functools import partial
from pathlib import Path
from typing import Any

import torch

_STACK = {"dim_in": [8] * 5, "dim_res_blocks": [8] * 5, "resamplers": ["bilinear"] * 4, "num_res_blocks": 0}
_CONFIGS: dict[int, dict[str, Any]] = {
    1: {
        "encoder": "dinov2_tiny14",
        "intermediate_layers": 2,
        "dim_proj": 16,
        "dim_upsample": [32, 32, 32],
        "last_conv_channels": 8,
        "remap_output": "exp",
        "num_tokens_range": [16, 36],
    },
    2: {
        "encoder": {"backbone": "dinov2_tiny14", "intermediate_layers": 2, "dim_out": 14},
        "neck": _STACK | {"dim_in": [16, 2, 2, 2, 2], "dim_out": None},
        "points_head": _STACK | {"dim_out": [None] * 4 + [3]},
        "mask_head": _STACK | {"dim_out": [None] * 4 + [1]},
        "normal_head": _STACK | {"dim_out": [None] * 4 + [3]},
        "scale_head": {"dims": [32, 8, 1]},
        "remap_output": "exp",
        "num_tokens_range": [16, 36],
    },
}


def name_a_tiny_encoder() -> None:
    """MoGe finds its encoder by name among DINOv2's sizes; the smallest there has 22 million weights."""
    from moge.model.dinov2.hub import backbones
    from moge.model.dinov2.layers import MemEffAttention
    from moge.model.dinov2.layers import NestedTensorBlock as Block
    from moge.model.dinov2.models.vision_transformer import DinoVisionTransformer

    def tiny(pretrained: bool = False, **options: Any) -> Any:
        assert not pretrained, "weights come with the checkpoint"
        sizes = {"img_size": 70, "patch_size": 14, "embed_dim": 32, "depth": 2, "num_heads": 2, "init_values": 1.0}
        block = partial(Block, attn_class=MemEffAttention)
        return DinoVisionTransformer(**sizes, block_fn=block, block_chunks=0, **options)

    backbones.dinov2_tiny14 = tiny


def save_tiny_moge(file: Path, version: int, seed: int = 0, tan_per_unit: float = 0.8) -> Path:
    """A checkpoint of version 1 or 2, whose random depths lie on the rays of one camera: MoGe hands its heads the
    pixels' places, u to the right and v down (the corners are a unit from the centre), and the last layers' weights are
    such that X / Z = tan_per_unit * u. Its mask leaves out the upper part."""
    from importlib import import_module

    name_a_tiny_encoder()
    torch.manual_seed(seed)
    network = import_module(f"moge.model.v{version}").MoGeModel(**_CONFIGS[version])
    with torch.no_grad():
        (_see_by_v1 if version == 1 else _see_by_v2)(network, tan_per_unit)
    torch.save({"model_config": _CONFIGS[version], "model": network.state_dict()}, file)
    return file


def _see_by_v1(network: Any, slope: float) -> None:
    """The last blocks are convolution, ReLU, convolution: positive and negative places go through them side by side."""
    points, mask = network.head.output_block
    for block in (points, mask):
        first = block[0]
        first.weight[:4], first.bias[:4] = 0, 0
        for channel, (place, sign) in enumerate([(-2, 1), (-2, -1), (-1, 1), (-1, -1)]):
            first.weight[channel, place, 1, 1] = sign
    last = points[-1]
    last.weight[:2] = 0
    last.weight[0, :2, 0, 0] = torch.tensor([slope, -slope])
    last.weight[1, 2:4, 0, 0] = torch.tensor([slope, -slope])
    last.weight[2, :4] = 0
    last.bias[:] = torch.tensor([0.0, 0.0, 0.5])
    mask[-1].weight[:] = 0
    mask[-1].weight[0, 2:4, 0, 0] = torch.tensor([4.0, -4.0])
    mask[-1].bias[:] = 1.5


def _see_by_v2(network: Any, slope: float) -> None:
    """Places come in at every level; the finest is the one that counts."""
    entry = network.neck.input_blocks[4]
    entry.weight[:], entry.bias[:] = 0, 0
    entry.weight[0, 0], entry.weight[1, 1] = 1, 1
    _silence(network.neck.resamplers[3], slice(0, 2))
    for head in (network.points_head, network.mask_head):
        _silence(head.resamplers[3], slice(0, 2))
        enter = head.input_blocks[4]
        enter.weight[:2], enter.bias[:2] = 0, 0
        enter.weight[0, 0], enter.weight[1, 1] = 1, 1
    last = network.points_head.output_blocks[4]
    last.weight[:2], last.bias[:] = 0, torch.tensor([0.0, 0.0, 0.5])
    last.weight[0, 0], last.weight[1, 1] = slope, slope
    last.weight[2, :2] = 0
    last = network.mask_head.output_blocks[4]
    last.weight[:], last.bias[:] = 0, 1.0
    last.weight[0, 1] = 4.0


def _silence(resampler: Any, channels: slice) -> None:
    """Nothing comes up from the coarser level in these channels."""
    resampler[-1].weight[channels], resampler[-1].bias[channels] = 0, 0
