"""The pictures that a fit compares with, as its steps look at them: cropped to what counts, and halved at first."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from worldgen.types import Camera, SupervisionView

_CROP_MARGIN_PX = 16  # what a warp may read beyond the supervised part of a view
_SMALLEST_PX = 64  # of a halved view's shorter side: smaller ones tell too little
_LEAST_WEIGHT = 1e-6
_PREPARED_PIXELS = 64 << 20  # 16 bytes each, and a third more for the levels: 1.4 GB


@dataclass(frozen=True, eq=False)
class ViewFacts:
    """What of a fit's views is needed all the time. cameras, generated: of each view; counts: whether anything in any
    picture does; cropped: the parts of the views that count, where all together are small, else None."""

    cameras: list[Camera]
    generated: list[bool]
    counts: bool
    cropped: list[SupervisionView] | None

    @property
    def middle(self) -> torch.Tensor:
        """[3], the mean of the cameras' places, metres."""
        return torch.stack([camera.position for camera in self.cameras]).mean(dim=0)


def survey(views: Sequence[SupervisionView]) -> ViewFacts:
    """Looks at each view once. What counts of views that are in memory anyway, in a list or tuple, is kept, and so is
    that of any other sequence, one that reads them from disk, as long as all together are small."""
    cameras, generated, counts, pixels = [], [], False, 0
    cropped: list[SupervisionView] | None = []
    for view in views:
        cameras.append(view.camera)
        generated.append(view.generated)
        counts = counts or bool(view.weight.any())
        part = crop(view)
        pixels += part.weight.numel()
        if pixels > _PREPARED_PIXELS and not isinstance(views, list | tuple):
            cropped = None
        elif cropped is not None:
            cropped.append(part)
    return ViewFacts(cameras, generated, counts, cropped)


@dataclass(frozen=True, eq=False)
class LevelView:
    """view: what is compared; width, height: of the picture that it was cropped from, in pixels of this level."""

    view: SupervisionView
    width: float
    height: float


class ViewLevels:
    """Views by number and level: 0 = as large as they are, 1 = halved once, and so on to `levels`.

    Those of which `survey` kept what counts are prepared once; else each is made when a step looks at it, and let go.
    """

    def __init__(self, views: Sequence[SupervisionView], levels: int, facts: ViewFacts) -> None:
        self._views, self._device = views, torch.device("cpu")
        ready = None if facts.cropped is None else zip(facts.cropped, facts.cameras, strict=True)
        self._ready = None if ready is None else [_levels(part, camera, levels) for part, camera in ready]

    def at(self, number: int, level: int) -> LevelView:
        """A view on the device that `to` chose."""
        if self._ready is not None:
            return self._ready[number][level]
        whole = self._views[number]
        return _moved(_levels(crop(whole), whole.camera, level)[level], self._device)

    def to(self, device: torch.device) -> None:
        """Takes prepared views to a GPU once, instead of one every step; those made later go there as they are made."""
        self._device = device
        if self._ready is not None:
            self._ready = [[_moved(one, device) for one in levels] for levels in self._ready]


def _levels(cropped: SupervisionView, camera: Camera, most: int) -> list[LevelView]:
    """A view on each level from 0 to `most`; camera: that of the whole view."""
    views = [cropped]
    for _ in range(most):
        views.append(halved(views[-1]))
    part = cropped.camera
    return [
        LevelView(view, camera.width * view.camera.width / part.width, camera.height * view.camera.height / part.height)
        for view in views
    ]


def _moved(one: LevelView, device: torch.device) -> LevelView:
    return one if device.type == "cpu" else replace(one, view=one.view.to(device))


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
