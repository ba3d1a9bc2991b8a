"""A scene that tells which way is which: from the origin a red cube stands to the right, a green one above, a blue one
ahead, each 2 m away and 0.8 m wide."""

import numpy as np
import torch

from worldgen.splat.harmonics import SH_C0
from worldgen.types import Gaussians

DISTANCE_M, SIDE_M = 2.0, 0.8
_ACROSS = 9
WHERE = {"red": (1, 0, 0), "green": (0, -1, 0), "blue": (0, 0, 1)}  # x right, y down, z forward
COLOURS = {"red": (0.9, 0.1, 0.1), "green": (0.1, 0.9, 0.1), "blue": (0.1, 0.1, 0.9)}


def cubes(in_view: bool = False) -> Gaussians:
    """Opaque round splats, 729 a cube. in_view: all three 2 m ahead, the red one a metre to the right, the green one a
    metre up, as one look shows them."""
    aside = torch.tensor([0.5, 0.5, 1.0]) if in_view else torch.ones(3)
    ahead = torch.tensor([[0, 0, 1.0], [0, 0, 1], [0, 0, 0]]) if in_view else torch.zeros(3, 3)
    places = torch.tensor(list(WHERE.values())) * aside + ahead
    side = torch.linspace(-SIDE_M / 2, SIDE_M / 2, _ACROSS)
    grid = torch.stack(torch.meshgrid(side, side, side, indexing="ij"), dim=-1).reshape(-1, 3)
    means = torch.cat([grid + DISTANCE_M * place for place in places])
    rgb = torch.tensor(list(COLOURS.values())).repeat_interleave(len(grid), dim=0)
    count = len(means)
    return Gaussians(
        means,
        torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        torch.full((count, 3), 0.6 * SIDE_M / _ACROSS).log(),
        torch.full((count,), 6.0),
        ((rgb - 0.5) / SH_C0)[:, None],
    )


def expect_cubes(means: np.ndarray, sh0: np.ndarray, right: str = "x", up: str = "-y", ahead: str = "z") -> None:
    """Asserts that splats [N, 3] with constant harmonics [N, 3] are the cubes, in a frame of those axes, in metres."""
    rgb = 0.5 + SH_C0 * np.asarray(sh0)
    axes = [_along(np.asarray(means), axis) for axis in (right, up, ahead)]
    for channel, place in enumerate(((1, 0, 0), (0, 1, 0), (0, 0, 1))):
        of_colour = rgb.argmax(axis=1) == channel
        assert of_colour.sum() == _ACROSS**3
        for values, wanted in zip(axes, place, strict=True):
            centre = (values[of_colour].min() + values[of_colour].max()) / 2
            np.testing.assert_allclose(centre, DISTANCE_M * wanted, atol=0.01)
            np.testing.assert_allclose(np.ptp(values[of_colour]), SIDE_M, atol=0.01)


def _along(means: np.ndarray, axis: str) -> np.ndarray:
    """Coordinates along a signed axis such as -y."""
    return (-1 if axis[0] == "-" else 1) * means[:, "xyz".index(axis[-1])]
