"""What the metrics with a large network share: their settings, and pictures of eight bits."""

import torch
from torch import Tensor

from worldgen.models.runtime import Runtime

EXTRA = "eval"  # of ours, which brings their packages


class OnDevice:
    """A metric with a network of its own. runtime: where that runs; its precision is the metric's own."""

    runtime = Runtime()

    @property
    def device(self) -> torch.device:
        """Raises UserError where it is not here."""
        return self.runtime.torch_device


def eight_bits(picture: Tensor) -> Tensor:
    """[3, H, W] in [0, 1] -> uint8, rounded as a PNG would be: these networks were trained on such files."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)
