"""Step 7, completion: what the photo's place does not show, seen from a cube round it, inpainted and lifted (paper 8).

Each round's views are rendered of all points so far, completed, and their new points added, so that later ones see
what earlier ones painted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import torch

from worldgen.errors import expect, expect_whole_numbers
from worldgen.geometry.fill import split_holes
from worldgen.geometry.points import render_points, view_points
from worldgen.models.protocols import CompleteViews, DepthEstimator, ViewCompleter
from worldgen.progress import Track, untracked
from worldgen.recipe.cube import cube_cameras, cube_positions
from worldgen.recipe.hole_scores import HoleScores, reachable
from worldgen.recipe.prompts import prompt_for
from worldgen.recipe.view_alignment import with_distances
from worldgen.types import Camera, CompletedView, IncompleteView, PointCloud, Prompts, View, Visit

_SURE = 0.25  # the scores are coarse and miss narrow holes: this part of `min_hole` is worth a visit
_PATIENCE = 20  # after so many views in a row without holes worth a completion there are none left
_ORDERS = ("most_holes", "all")


@dataclass(frozen=True)
class CompleteSettings:
    """How many views are completed, and which.

    order: most_holes = those that see most holes first, until there is none worth it; all = the cube's 196 (paper),
    place by place. budget: views at most, None = as many as the order has. at_once: views of a round, which do not see
    each other's points. side_m: of the cube whose face centres and corners the cameras stand at; size: pixels of a
    square view; fov_deg: its field of view; min_hole, max_hole: parts of a view, views that see fewer holes are not
    worth a completion, views that see more have nothing to go by; clearance_m: how far cameras stay from surfaces (the
    cube is dented where something stands in it); pinhole_px: gaps up to twice as wide are not worth inpainting.
    """

    order: str = "most_holes"
    budget: int | None = 36
    at_once: int = 1
    side_m: float = 2.0
    size: int = 512
    fov_deg: float = 90.0
    min_hole: float = 0.002
    max_hole: float = 0.6
    clearance_m: float = 0.3
    pinhole_px: int = 2

    def __post_init__(self) -> None:
        expect_whole_numbers("complete", self)
        expect("complete.order", self.order, self.order in _ORDERS, f"one of {', '.join(_ORDERS)}")
        whole = self.budget is None or (isinstance(self.budget, int) and not isinstance(self.budget, bool))
        within = whole and (self.budget is None or self.budget >= 0)
        expect("complete.budget", self.budget, within, "a whole number from 0, or null for all")
        expect("complete.at_once", self.at_once, 1 <= self.at_once <= 196, "1 to 196")
        expect("complete.side_m", self.side_m, self.side_m > 0, "more than 0")
        expect("complete.size", self.size, 32 <= self.size <= 4096, "32 to 4096 pixels")
        expect("complete.fov_deg", self.fov_deg, 10 <= self.fov_deg <= 150, "10 to 150")
        holes = f"{self.min_hole:g}, {self.max_hole:g}"
        expect("complete.min_hole, max_hole", holes, 0 <= self.min_hole < self.max_hole <= 1, "0 <= min < max <= 1")
        expect("complete.clearance_m", self.clearance_m, self.clearance_m >= 0, "0 or more")
        expect("complete.pinhole_px", self.pinhole_px, 0 <= self.pinhole_px <= 16, "0 to 16")


class Visits(Protocol):
    """Keeps visits as they are made, so that a killed completion goes on where it was."""

    def recall(self, number: int) -> Visit | None:
        """The visit of that number, from 0; None where it was not made yet."""
        ...

    def keep(self, number: int, visit: Visit) -> None:
        """Keeps a visit for good. They come in the order of their numbers."""
        ...


@dataclass(frozen=True)
class Completion:
    """views: pictures that were made; visits: cameras that were looked from; points: that all of them added;
    unmeasured: painted pixels that no point came of, because their depth is not known."""

    views: int
    visits: int
    points: int
    unmeasured: int


def complete(
    cloud: PointCloud,
    prompts: Prompts,
    completer: ViewCompleter,
    depth: DepthEstimator,
    settings: CompleteSettings,
    visits: Visits,
    track: Track = untracked,
    seed: int = 0,
) -> Completion:
    """Fills what `cloud`, seen from the origin, does not show from the cube; see the module's text.

    depth: asked where the completer gives no distances. visits: gets all results, and knows those of earlier attempts.
    """
    positions = reachable(cloud, cube_positions(settings.side_m), settings.clearance_m)
    cameras = cube_cameras(positions, settings.size, settings.fov_deg)
    most = len(cameras) if settings.budget is None else min(settings.budget, len(cameras))
    work = _Work(prompts, completer.begin(cloud, prompts), depth, settings, seed)
    tally = _Tally()
    views = islice(_views(work, cloud, cameras, visits, tally), most)
    count = sum(1 for _ in track(views, most, "completing views"))
    return Completion(count, tally.visits, tally.points, tally.unmeasured)


@dataclass
class _Tally:
    visits: int = 0
    points: int = 0
    unmeasured: int = 0

    def add(self, visit: Visit) -> None:
        self.visits += 1
        self.points += len(visit.points)
        self.unmeasured += visit.unmeasured


def _views(
    work: "_Work", cloud: PointCloud, cameras: Sequence[Camera], visits: Visits, tally: _Tally
) -> Iterator[None]:
    """Visits cameras, round by round; yields whenever a view came of one, and holds no picture."""
    scores, clouds, in_vain = HoleScores(cloud, cameras), [cloud], 0
    for chosen in _rounds(work.settings, scores, len(cameras)):
        for visit in _round(work, list(clouds), [cameras[index] for index in chosen], tally.visits, visits):
            tally.add(visit)
            clouds.append(visit.points)
            scores.add(visit.points)
            in_vain = in_vain + 1 if visit.completed is None else 0
            if visit.completed is not None:
                yield
        if work.settings.order == "most_holes" and in_vain >= _PATIENCE:
            return


def _rounds(settings: CompleteSettings, scores: HoleScores, cameras: int) -> Iterator[Sequence[int]]:
    """The numbers of the cameras of one round after the other, as the scores are when it begins."""
    if settings.order == "all":
        numbers = range(cameras)
        yield from (numbers[start : start + settings.at_once] for start in numbers[:: settings.at_once])
        return
    while chosen := scores.pick(settings.at_once, _SURE * settings.min_hole, settings.max_hole):
        yield chosen


def _round(
    work: "_Work", clouds: Sequence[PointCloud], cameras: Sequence[Camera], first: int, visits: Visits
) -> Iterator[Visit]:
    """The visits of one round, numbered from `first`; where one is missing all are made again."""
    numbers = range(first, first + len(cameras))
    kept = [visits.recall(number) for number in numbers]
    if all(visit is not None for visit in kept):
        yield from (visit for visit in kept if visit is not None)
        return
    for number, visit in zip(numbers, work.visits(clouds, cameras, first), strict=True):
        visits.keep(number, visit)
        yield visit


@dataclass(frozen=True)
class _Work:
    """What visits are made with."""

    prompts: Prompts
    complete_views: CompleteViews
    depth: DepthEstimator
    settings: CompleteSettings
    seed: int

    def visits(self, clouds: Sequence[PointCloud], cameras: Sequence[Camera], first: int) -> list[Visit]:
        """Of all cameras; first: the number of the first one, of all that were ever visited."""
        seen = {number: self._seen(clouds, camera) for number, camera in enumerate(cameras)}
        incomplete = {number: one for number, one in seen.items() if one is not None}
        visits = [Visit(PointCloud.empty())] * len(cameras)
        if incomplete:
            asked = [prompt_for(cameras[number], self.prompts) for number in incomplete]
            seeds = [self.seed + first + number for number in incomplete]
            completed = self.complete_views(list(incomplete.values()), asked, seeds)
            for number, one in zip(incomplete, completed, strict=True):
                visits[number] = self._lifted(incomplete[number].view, one)
        return visits

    def _seen(self, clouds: Sequence[PointCloud], camera: Camera) -> IncompleteView | None:
        """None where there is nothing to complete, or too much."""
        render = render_points(clouds, camera)
        holes, _ = split_holes(render.known, self.settings.pinhole_px)
        share = holes.float().mean()
        if share > self.settings.max_hole or bool(render.known.all()):
            return None
        return IncompleteView(render, holes if share >= self.settings.min_hole else torch.zeros_like(holes))

    def _lifted(self, render: View, completed: CompletedView) -> Visit:
        measured = with_distances(completed.view, render, self.depth)
        new = measured.known & ~render.known
        unmeasured = int((completed.view.known & ~measured.known).sum())
        is_view = bool(completed.inpainted.any())
        return Visit(view_points(measured, new), completed if is_view else None, unmeasured)
