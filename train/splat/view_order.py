"""Which view a step looks at, and which part of it."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from worldgen.types import SupervisionView

_CROP_MARGIN_PX = 16  # what a warp may read beyond the supervised part of a view
_SMALLEST_PX = 64  # of a halved view's shorter side: smaller ones tell too little
_LEAST_WEIGHT = 1e-6


def crop(view: SupervisionView) -> SupervisionView:
    """The part of a view that counts, with a margin; what lies outside need not be rendered.

    Weights are scaled so that the mean over the part is what the mean over the whole view was. A view in which nothing
    counts stays as it is.
    """
    rows, columns = (torch.nonzero(view.weight.amax(dim=axis) > 0)[:, 0] for axis in (1, 0))
    if not len(rows):
        return view
    (height, width), margin = view.weight.shape, _CROP_MARGIN_PX
    top, bottom = max(0, int(rows[0]) - margin), min(height, int(rows[-1]) + 1 + margin)
    left, right = max(0, int(columns[0]) - margin), min(width, int(columns[-1]) + 1 + margin)
    part = slice(top, bottom), slice(left, right)
    camera = replace(
        view.camera,
        width=right - left,
        height=bottom - top,
        cx=view.camera.cx - left,
        cy=view.camera.cy - top,
    )
    share = (bottom - top) * (right - left) / (height * width)
    rgb, weight = view.rgb[:, *part].contiguous(), (view.weight[part] * share).contiguous()
    alpha = None if view.alpha is None else view.alpha[part].contiguous()
    return SupervisionView(camera, rgb, weight, view.generated, alpha)


def halved(view: SupervisionView) -> SupervisionView:
    """The same view at half the size, colours as means over what counts there; small views stay as they are."""
    if min(view.weight.shape) < 2 * _SMALLEST_PX:
        return view
    height, width = (side // 2 for side in view.weight.shape)
    parts = [view.rgb, *([] if view.alpha is None else [view.alpha[None]])]
    layers = torch.cat([*(part * view.weight for part in parts), view.weight[None]])
    layers = F.interpolate(layers[None], (height, width), mode="area")[0]
    weight = layers[-1]
    means = torch.where(weight > 0, layers[:-1] / weight.clamp(min=_LEAST_WEIGHT), 0.0).clamp(0, 1)
    alpha = None if view.alpha is None else means[3].contiguous()
    camera = view.camera.resized(width, height)
    return SupervisionView(camera, means[:3].contiguous(), weight.contiguous(), view.generated, alpha)


def coarse_level(step: int, steps: int, levels: int, until: float) -> int:
    """How often the views of a step, of `steps` from 0, are halved: `levels` times at first, then once less after each
    equal part of the share `until` of the steps, and not at all beyond it."""
    beyond = step >= until * steps
    return 0 if beyond else levels - int(levels * step / (until * steps))


def view_order(generated: Sequence[bool], steps: int, seed: int) -> list[int]:
    """Which view each step looks at: rounds in random order, every view of a kind as often as any other.

    A round holds each generated view once, and each panorama view so often that they are at least half of it: the
    panorama is what the world must look like, and only it is supervised in full.
    """
    made, panorama = (np.flatnonzero(np.array(generated) == kind) for kind in (True, False))
    repeats = max(1, math.ceil(len(made) / len(panorama))) if len(panorama) else 0
    whole_round = np.concatenate([made, np.repeat(panorama, repeats)])
    generator = np.random.default_rng(seed)
    rounds = [generator.permutation(whole_round) for _ in range(math.ceil(steps / len(whole_round)))]
    return np.concatenate([*rounds, whole_round[:0]])[:steps].tolist()
