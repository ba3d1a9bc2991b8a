"""Is a seam visible? The picture's gradient across a line, over the gradient next to that line (1 = no seam).

At the back it is the ratio of mean gradients. Along the border of a view it is the ratio of geometric means: a border
is a straight line of the scene, and where it happens to run along the edge of a house or a door, plain means find
"seams" of 3 to 6 in photographed panoramas; geometric ones stay below 1.5 there and still find a step of 3/255.
"""

import torch
from torch import Tensor

from worldgen.geometry.equirect import from_perspective
from worldgen.types import Camera

_STEP_FLOOR = 1 / 510  # half of what 8 bits can tell apart, so that flat sky has a logarithm
_NEAR, _FAR = 3, 10  # pixels from the line, on both sides, that the gradient is compared with


def wrap_seam(panorama: Tensor) -> float:
    """Seam ratio of the left and right edge of a panorama [3, H, W]."""
    steps = _step_right(panorama).mean(dim=0)
    beside = torch.cat([steps[_NEAR - 1 : _FAR], steps[-_FAR - 1 : -_NEAR]])
    return float(steps[-1] / beside.mean().clamp(min=1e-6))


def view_seam(panorama: Tensor, camera: Camera) -> float:
    """Seam ratio along the border of what `camera` sees of a panorama [3, H, W]."""
    height, width = panorama.shape[-2:]
    _, inside = from_perspective(torch.zeros(1, camera.height, camera.width), camera, height, width)
    return border_seam(panorama, inside)


def border_seam(panorama: Tensor, inside: Tensor) -> float:
    """Seam ratio along the border of a region, bool [H, W], of a panorama [3, H, W]. 1 where it has no border."""
    right = inside ^ inside.roll(-1, dims=1)
    down = inside ^ inside.roll(-1, dims=0)
    down[-1] = False
    if not bool(right.any() | down.any()):
        return 1.0
    steps_right, steps_down = _step_right(panorama), _step_down(panorama)
    across = torch.cat([steps_right[right], steps_down[down]])
    shifts = [side * k for k in range(_NEAR, _FAR + 1) for side in (-1, 1)]
    beside = torch.cat(
        [steps_right[right.roll(k, dims=1)] for k in shifts] + [steps_down[down.roll(k, dims=0)] for k in shifts]
    )
    return float(((across + _STEP_FLOOR).log().mean() - (beside + _STEP_FLOOR).log().mean()).exp())


def _step_right(panorama: Tensor) -> Tensor:
    """[H, W]: mean absolute difference of each pixel to its right neighbour, round the back."""
    return (panorama.roll(-1, dims=2) - panorama).abs().mean(dim=0)


def _step_down(panorama: Tensor) -> Tensor:
    """[H, W]: the same to the neighbour below; the last row has none and is 0."""
    steps = torch.zeros_like(panorama[0])
    steps[:-1] = (panorama[:, 1:] - panorama[:, :-1]).abs().mean(dim=0)
    return steps
