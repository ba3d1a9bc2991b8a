"""Step 7, completion: what the photo's place does not show, seen from a cube round it, inpainted and lifted (paper 8).

Views that see most holes come first, and every completed view's points are seen by the later ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from operator import add

import torch

from worldgen.embedded.disocclusion import (
    background_side,
    foreground_rim,
    guess_background,
    inverse_zdepth,
    level_planes,
    settle_background,
    split_holes,
)
from worldgen.embedded.scene_layout import Seen, level_heights
from worldgen.errors import UserError
from worldgen.geometry.points import render_points, view_points
from worldgen.models.protocols import DepthEstimator, Inpainter
from worldgen.progress import Track, untracked
from worldgen.recipe.cube import cube_cameras, cube_positions
from worldgen.recipe.hole_scores import HoleScores, reachable
from worldgen.recipe.prompts import prompt_for
from worldgen.types import Camera, CompletedView, PointCloud, Prompts, View

_RIM = 1 / 5  # of the view's width: how much foreground round a hole the inpainter is not shown
_SURE = 0.25  # the scores are coarse and miss narrow holes: this part of `min_hole` is worth a look
_PATIENCE = 20  # after so many views in a row without holes worth a completion there are none left


@dataclass(frozen=True)
class CompleteSettings:
    """How many views are completed, and which.

    budget: views at most; side_m: of the cube whose face centres and corners the cameras stand at; size: pixels of a
    square view; fov_deg: its field of view; min_hole, max_hole: parts of a view, views that see fewer holes are not
    worth a completion, views that see more have nothing to go by; clearance_m: how far cameras stay from surfaces (the
    cube is dented where something stands in it); pinhole_px: gaps up to twice as wide are closed without inpainting;
    relief: how far, in parts of the distance, the depth network may move what was inpainted from the background's
    own continuation; indoors only, 0 = never.
    """

    budget: int = 36
    side_m: float = 2.0
    size: int = 512
    fov_deg: float = 90.0
    min_hole: float = 0.002
    max_hole: float = 0.6
    clearance_m: float = 0.3
    pinhole_px: int = 2
    relief: float = 0.15

    def __post_init__(self) -> None:
        if self.budget < 0:
            raise UserError(f"complete.budget: {self.budget}, wanted 0 or more")
        if not self.side_m > 0:
            raise UserError(f"complete.side_m: {self.side_m:g}, wanted more than 0")
        if not 32 <= self.size <= 4096:
            raise UserError(f"complete.size: {self.size}, wanted 32 to 4096 pixels")
        if not 10 <= self.fov_deg <= 150:
            raise UserError(f"complete.fov_deg: {self.fov_deg:g}, wanted 10 to 150")
        if not 0 <= self.min_hole < self.max_hole <= 1:
            raise UserError(
                f"complete.min_hole, max_hole: {self.min_hole:g}, {self.max_hole:g}, wanted 0 <= min < max <= 1"
            )
        if not self.clearance_m >= 0:
            raise UserError(f"complete.clearance_m: {self.clearance_m:g}, wanted 0 or more")
        if not 0 <= self.pinhole_px <= 16:
            raise UserError(f"complete.pinhole_px: {self.pinhole_px}, wanted 0 to 16")
        if not 0 <= self.relief < 1:
            raise UserError(f"complete.relief: {self.relief:g}, wanted 0 or more and less than 1")


@dataclass(frozen=True, eq=False)
class Completion:
    """views: in the order of their making; cloud: only the points that they added."""

    views: list[CompletedView]
    cloud: PointCloud


def complete(
    cloud: PointCloud,
    prompts: Prompts,
    inpainter: Inpainter,
    depth: DepthEstimator,
    settings: CompleteSettings,
    track: Track = untracked,
    seed: int = 0,
) -> Completion:
    """Fills what `cloud`, seen from the origin, does not show from the cube; see the module's text."""
    positions = reachable(cloud, cube_positions(settings.side_m), settings.clearance_m)
    cameras = cube_cameras(positions, settings.size, settings.fov_deg)
    completer = Completer(prompts, inpainter, depth, settings, level_heights(cloud), Seen(cloud))
    added: list[PointCloud] = [cloud[:0]]
    found = _completed_views(completer, cloud, cameras, added, seed)
    views = list(track(islice(found, settings.budget), settings.budget, "completing views"))
    return Completion(views, reduce(add, added))


def _completed_views(
    completer: "Completer", cloud: PointCloud, cameras: list[Camera], added: list[PointCloud], seed: int
) -> Iterator[CompletedView]:
    """Those with most holes first, until several in a row were not worth it; appends to `added` what each adds."""
    settings, scores = completer.settings, HoleScores(cloud, cameras)
    in_vain, index = 0, 0
    while in_vain < _PATIENCE:
        chosen = scores.best(_SURE * settings.min_hole, settings.max_hole)
        if chosen is None:
            return
        view, points = completer(cloud, cameras[chosen], seed + index)
        scores.done(chosen)
        scores.add(points)
        added.append(points)
        cloud = cloud + points
        if view is None:
            in_vain += 1
            continue
        in_vain, index = 0, index + 1
        yield view


@dataclass(frozen=True)
class Completer:
    """Completes one view; see `complete`. heights: world y of the scene's level planes; seen: from the origin."""

    prompts: Prompts
    inpainter: Inpainter
    depth: DepthEstimator
    settings: CompleteSettings
    heights: Sequence[float]
    seen: Seen

    def __call__(self, cloud: PointCloud, camera: Camera, seed: int) -> tuple[CompletedView | None, PointCloud]:
        """The view and the points that it adds.

        Where its holes are too few for a completion, the points take their background's colours and there is no view;
        where they are too many, there is neither.
        """
        settings = self.settings
        rendered = render_points(cloud, camera)
        holes, _ = split_holes(rendered.known, settings.pinhole_px)
        if holes.float().mean() > settings.max_hole:
            return None, cloud[:0]
        away = background_side(camera, torch.zeros(3))
        level = level_planes(camera, self.heights)
        guess = guess_background(rendered, away, level)
        settled = settle_background(guess, rendered.known, torch.maximum(inverse_zdepth(guess), level))
        unknown = ~rendered.known & settled.known
        settled, new = self.seen.pushed_behind(settled, unknown)
        if (holes & new).float().mean() < settings.min_hole:
            return None, view_points(settled, new)
        rim = foreground_rim(guess, rendered.known, away, level, round(_RIM * camera.width))
        painted = self.inpainter(
            guess.rgb[None], (~holes & ~rim)[None].float(), [prompt_for(camera, self.prompts)], [seed]
        )[0]
        if self.prompts.indoor and settings.relief > 0:
            relief = settle_background(guess, rendered.known, 1 / self.depth(painted, camera).zdepth)
            settled, new = self.seen.pushed_behind(bounded(relief, settled, settings.relief), unknown)
        distance = torch.where(rendered.known, rendered.measured, settled.measured)
        view = View(camera, torch.where(holes, painted, guess.rgb), settled.known, distance)
        return CompletedView(view, holes & new), view_points(view, new)


def bounded(view: View, reference: View, share: float) -> View:
    """`view` with distances at most `share` of the reference's away from them."""
    low, high = reference.measured * (1 - share), reference.measured * (1 + share)
    return View(view.camera, view.rgb, reference.known, view.measured.clamp(low, high))
