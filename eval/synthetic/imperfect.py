"""Exact distances made imperfect, as those are that a network estimates from a single picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.synthetic.perturb import fine_warp
from train.data.measured_views import MeasuredScene
from worldgen.errors import expect
from worldgen.geometry.cameras import distance_to_zdepth, zdepth_to_distance
from worldgen.types import Camera, View

# At strength 1 the mean relative error is about 0.1. The small network that the embedded profile runs has 0.14 on real
# stereo pictures, its scale set by their median; the paper's are better.
_SCALE = 0.08  # deviation of the log of a view's scale
_SMOOTH = 0.07  # deviation of the log of the error that varies over the picture,
_NODES = 5  # which has so many nodes from border to border
_BLUR_PX = (0.4, 1.2)  # deviation of the blur, of a picture of 128 pixels: an edge is 1 to 3 pixels wide
_BLUR_SIZE = 128


@dataclass(frozen=True)
class ImperfectScene:
    """Fulfils MeasuredScene: another one, whose views each have an error of their own in their distances.

    A factor for the whole view, one that varies smoothly, and edges that are blurred, so that points fly between the
    two surfaces. The seed and a view's number decide. strength: of all three; 0 = none.
    """

    scene: MeasuredScene
    strength: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        expect("data.scenes.error", self.strength, 0 <= self.strength <= 5, "0 to 5")

    @property
    def name(self) -> str:
        return self.scene.name

    @property
    def prompt(self) -> str:
        return self.scene.prompt

    @property
    def one_place(self) -> bool:
        return self.scene.one_place

    def cameras(self) -> Sequence[Camera]:
        """Of the scene, exact."""
        return self.scene.cameras()

    def place(self, number: int) -> str:
        return self.scene.place(number)

    def view(self, number: int, size: int) -> View:
        """The scene's own picture, with imperfect distances."""
        exact = self.scene.view(number, size)
        if self.strength == 0:
            return exact
        generator = np.random.default_rng([self.seed, number])
        blur_px, factor = generator.uniform(*_BLUR_PX), _SCALE * generator.standard_normal()
        nodes = torch.from_numpy(_SMOOTH * generator.standard_normal((1, _NODES, _NODES))).float()
        blurred = _blurred(exact, self.strength * blur_px * size / _BLUR_SIZE)
        error = (self.strength * (factor + fine_warp(nodes, size, size)[0])).exp()
        return replace(exact, distance=blurred * error)


def _blurred(view: View, deviation_px: float) -> Tensor:
    """Distances [H, W] of which the inverse zdepth is blurred: on planes that changes nothing."""
    camera = view.camera
    zdepth = distance_to_zdepth(camera, view.measured)
    inverse = torch.where(view.known, 1 / zdepth.clamp(min=1e-6), torch.zeros(()))
    share = _gaussian(view.known.float(), deviation_px)
    mean = _gaussian(inverse, deviation_px) / share.clamp(min=1e-6)
    return zdepth_to_distance(camera, torch.where(view.known, 1 / mean.clamp(min=1e-6), torch.zeros(())))


def _gaussian(values: Tensor, deviation_px: float) -> Tensor:
    """[H, W], blurred; what is beyond the border counts as its nearest pixel."""
    reach = max(1, math.ceil(3 * deviation_px))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / deviation_px).square())
    weights = weights / weights.sum()
    padded = F.pad(values[None, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, weights[None, None, None]), weights[None, None, :, None])[0, 0]
