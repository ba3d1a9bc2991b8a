"""Hallucinations: what completed views show that their points, or the views beside them, do not."""

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.geometry.cameras import project, unproject
from worldgen.geometry.fill import erode
from worldgen.geometry.points import render_points
from worldgen.types import Camera, PointCloud, View

UNSEEN, CONTRADICTED = 0.5, 1.0  # verdicts on a painted pixel, beside 0, supported
_MARGIN_PX = 2  # known pixels this close to a hole are the completer's to blend
_SLACK = 0.1  # of a distance: another view that finds a surface so much nearer looks at something else
_LEEWAY_PX = 2  # where the other view may show the same thing, for depths are not exact
_ALIKE = 0.08  # mean absolute difference of a colour, 0 to 1, up to which two views show the same thing


def disagreement(completed: Tensor, render: View, inpainted: Tensor) -> tuple[Tensor, Tensor]:
    """Where a completed view [3, h, w] says another thing than the points that it was to complete.

    render: of those points; inpainted: bool [h, w]. Returns the mean absolute difference [h, w], 0 where nothing is
    known, and bool [h, w], where something is.
    """
    known = erode(render.known & ~inpainted, _MARGIN_PX)
    return torch.where(known, (completed - render.rgb).abs().mean(dim=0), 0), known


class Witnesses:
    """Completed views with the distances at which the finished cloud lies in them: each may support the others."""

    def __init__(self, views: list[View]) -> None:
        """views: with distances, as `witness` makes them."""
        self._views = views
        self._bounds = [_bounds(view.rgb) for view in views]

    def verdicts(self, number: int, camera: Camera, picture: Tensor, inpainted: Tensor, cloud: PointCloud) -> Tensor:
        """[h, w]: what the others say of what completed view `number` shows in its holes: 0 where one shows the same at
        that place (and outside the holes), UNSEEN where nobody else sees it, CONTRADICTED where all that do show
        something else.

        camera: of any size; picture: [3, h, w]; inpainted: bool [h, w], the holes; cloud: the finished one. A pixel
        where it has no point is UNSEEN: nothing is there for others to see.
        """
        render = render_points(cloud, camera)
        asked = inpainted & render.known
        xyz, colours = unproject(camera, render.measured)[asked], picture[:, asked]
        seen, agreed = torch.zeros(2, len(xyz), dtype=torch.bool)
        for other, (view, bounds) in enumerate(zip(self._views, self._bounds, strict=True)):
            if other != number:
                looks, alike = _looks(view, bounds, xyz, colours)
                seen, agreed = seen | looks, agreed | alike
        verdicts = torch.where(inpainted, UNSEEN, 0.0)
        verdicts[asked] = torch.where(agreed, 0.0, torch.where(seen, CONTRADICTED, UNSEEN))
        return verdicts


def witness(camera: Camera, picture: Tensor, cloud: PointCloud, size: int) -> View:
    """A completed view [3, h, w], reduced to `size` pixels a side, with the finished cloud's distances."""
    small = camera.resized(size, size)
    rgb = F.interpolate(picture[None], (size, size), mode="area")[0]
    render = render_points(cloud, small)
    return View(small, rgb, render.known, render.distance)


def _bounds(rgb: Tensor) -> Tensor:
    """[6, h, w]: the least and the greatest colour within the leeway of each pixel of [3, h, w]."""
    return torch.cat([-_greatest(-rgb), _greatest(rgb)])


def _greatest(rgb: Tensor) -> Tensor:
    """[3, h, w], the greatest value within the leeway of each pixel: along rows, then along columns."""
    around, leeway = 2 * _LEEWAY_PX + 1, _LEEWAY_PX
    along = F.max_pool2d(rgb[None], (1, around), stride=1, padding=(0, leeway))
    return F.max_pool2d(along, (around, 1), stride=1, padding=(leeway, 0))[0]


def _looks(view: View, bounds: Tensor, xyz: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
    """bool [N] each: whether a view sees points [N, 3] (world, metres), and shows them in about the colours [3, N]."""
    pixels, zdepth = project(view.camera, xyz)
    column, row = pixels.floor().clamp(-1, 1e6).long().unbind(-1)
    seen = (zdepth > 0) & (column >= 0) & (column < view.camera.width) & (row >= 0) & (row < view.camera.height)
    row, column = row.clamp(0, view.camera.height - 1), column.clamp(0, view.camera.width - 1)
    distance = (xyz - view.camera.position).norm(dim=-1)
    seen &= view.known[row, column] & (view.measured[row, column] > (1 - _SLACK) * distance)
    least, greatest = bounds[:, row, column].split(3)
    beyond = (least - colours).clamp(min=0) + (colours - greatest).clamp(min=0)
    return seen, seen & (beyond.mean(dim=0) <= _ALIKE)
