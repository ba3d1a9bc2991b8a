"""What the metrics with a large network share: their settings, and pictures of eight bits."""

import torch
from torch import Tensor

from worldgen.errors import UserError

EXTRA = "eval"  # of ours, which brings their packages


def device_named(name: str, key: str) -> torch.device:
    """auto = a GPU where there is one. Raises UserError for a device that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"{key}.device: {name!r}, wanted auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{key}.device: {name!r}, but no GPU is here; wanted auto or cpu")
    return device


def eight_bits(picture: Tensor) -> Tensor:
    """[3, H, W] in [0, 1] -> uint8, rounded as a PNG would be: these networks were trained on such files."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)
