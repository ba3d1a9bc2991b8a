"""What may be done to a render before it is compared with a view that cannot be trusted to the pixel.

The views of the panorama agree with each other and are compared as they are. They hold the world in place, and its
colours; generated views may be bent and tinted. Where there are no views of the one kind beside the other (posed photos
of somebody's own), all are corrected, and the corrections are held to a mean of nothing instead: else the world could
drift as far as they follow it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from train.splat.settings import CorrectionSettings
from worldgen.splat.bilateral import BilateralGrids
from worldgen.splat.distortion import DistortionField


class Corrections(nn.Module):
    """A distortion field, bilateral grids, both or neither, with an optimiser for each.

    generated: of each view, whether it is. numbers: {view: which of the corrected images it is}.
    """

    def __init__(self, settings: CorrectionSettings, generated: Sequence[bool], seed: int) -> None:
        super().__init__()
        self.settings = settings
        corrected = [view for view, made in enumerate(generated) if made] or list(range(len(generated)))
        self.numbers = {view: number for number, view in enumerate(corrected)}
        count, free = len(corrected), len(corrected) == len(generated)
        warps, tints = settings.distortion, settings.bilateral
        self.field = DistortionField(count, warps.grid, seed, zero_mean=free) if warps else None
        self.grids = BilateralGrids(count, tints.luma, tints.nodes, tints.nodes, zero_mean=free) if tints else None

    def forward(self, rgb: Tensor, view: int) -> Tensor:
        """rgb [3, H, W], as the view with this number is to be compared with."""
        if (number := self.numbers.get(view)) is None:
            return rgb
        if self.grids is not None:
            rgb = self.grids(rgb, number)
        return rgb if self.field is None else self.field(rgb, number)

    def penalty(self, view: int) -> Tensor | float:
        """What is added to the loss of this view."""
        tints = self.settings.bilateral
        if self.grids is None or tints is None or view not in self.numbers:
            return 0.0
        return tints.smoothness * self.grids.smoothness(self.numbers[view])

    def optimisers(self) -> list[torch.optim.Optimizer]:
        """Adam for each part that is there, at its own rate."""
        parts = [(self.field, self.settings.distortion), (self.grids, self.settings.bilateral)]
        return [
            torch.optim.Adam(part.parameters(), lr=settings.rate, eps=1e-15, fused=True)
            for part, settings in parts
            if part is not None and settings is not None
        ]
