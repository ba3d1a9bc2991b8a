"""Step 7, completion: what the photo's place does not show, seen from a cube round it, inpainted and lifted (paper 8).

Views that see most holes come first, and every completed view's points are seen by the later ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldgen.errors import UserError
from worldgen.geometry.disocclusion import (
    background_side,
    foreground_rim,
    guess_background,
    level_planes,
    settle_background,
    split_holes,
)
from worldgen.geometry.points import render_points, view_points
from worldgen.models.protocols import DepthEstimator, Inpainter
from worldgen.progress import Track, untracked
from worldgen.recipe.cube import cube_cameras, cube_positions
from worldgen.recipe.holes import HoleScores, level_heights, reachable
from worldgen.types import Camera, PointCloud, Prompts, View

_RIM = 1 / 5  # of the view's width: how much foreground round a hole the inpainter is not shown


@dataclass(frozen=True)
class CompleteSettings:
    """How many views are completed, and which.

    budget: views at most; side_m: of the cube whose face centres and corners the cameras stand at; size: pixels of a
    square view; fov_deg: its field of view; min_hole, max_hole: parts of a view, views that see fewer holes are not
    worth a completion, views that see more have nothing to go by; clearance_m: how far cameras stay from surfaces (the
    cube is dented where something stands in it); pinhole_px: gaps up to twice as wide are closed without inpainting.
    """

    budget: int = 36
    side_m: float = 2.0
    size: int = 512
    fov_deg: float = 90.0
    min_hole: float = 0.005
    max_hole: float = 0.6
    clearance_m: float = 0.3
    pinhole_px: int = 2

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


@dataclass(frozen=True, eq=False)
class CompletedView:
    """view: all known, with distances; inpainted: bool [H, W], the pixels that are new."""

    view: View
    inpainted: Tensor


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
    scores = HoleScores(cloud, cameras)
    heights = level_heights(cloud)
    original = len(cloud)
    views: list[CompletedView] = []
    for index in track(range(settings.budget), settings.budget, "completing views"):
        done = None
        while done is None and (chosen := scores.best(settings.min_hole, settings.max_hole)) is not None:
            scores.done(chosen)
            done = complete_view(cloud, cameras[chosen], heights, prompts, inpainter, depth, settings, seed + index)
        if done is None:
            break
        points = view_points(done.view, done.inpainted)
        scores.add(points)
        cloud = cloud + points
        views.append(done)
    return Completion(views, cloud[original:])


def complete_view(
    cloud: PointCloud,
    camera: Camera,
    heights: Sequence[float],
    prompts: Prompts,
    inpainter: Inpainter,
    depth: DepthEstimator,
    settings: CompleteSettings,
    seed: int,
) -> CompletedView | None:
    """What `camera` sees, holes filled; None if they turn out to be too few or too many for `settings`.

    heights: of the scene's level planes, from `level_heights`.
    """
    rendered = render_points(cloud, camera)
    holes, _ = split_holes(rendered.known, settings.pinhole_px)
    if not settings.min_hole <= holes.float().mean() <= settings.max_hole:
        return None
    away = background_side(camera, torch.zeros(3))
    level = level_planes(camera, heights)
    guess = guess_background(rendered, away, level)
    shown = ~holes & ~foreground_rim(guess, rendered.known, away, round(_RIM * camera.width))
    painted = inpainter(guess.rgb, shown, prompt_for(camera, prompts), seed)
    settled = settle_background(guess, rendered.known, level)
    rgb = torch.where(holes, painted, guess.rgb)
    return CompletedView(View(camera, rgb, settled.known, settled.distance), holes & settled.known)


def prompt_for(camera: Camera, prompts: Prompts) -> str:
    """Sky and ground have their own words, from 30 degrees above and below the horizon on."""
    down = float(camera.c2w[1, 2])
    if abs(down) < 0.5:
        return prompts.atmosphere
    return prompts.ground if down > 0 else prompts.sky
