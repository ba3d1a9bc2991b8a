"""Scenes with known ground truth, for the ablation of the distortion field: pictures that disagree, of one true world.

What the panorama's place sees is exact; pictures from the cube round it are warped and recoloured, each in its own way,
as generated views are (paper, "Trainable distortion"). What is held out is exact again, from elsewhere.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.synthetic.panoramas import truth_panoramas
from eval.synthetic.perturb import recoloured
from eval.synthetic.rendering import Truth, render, render_panorama
from eval.synthetic.scene_cameras import exact_cameras, generated_cameras, held_out_cameras, planted_offsets
from eval.synthetic.shell import PanoramaShell, shell_of
from eval.synthetic.textured_room import TexturedRoom
from worldgen.errors import UserError, expect, expect_whole_numbers
from worldgen.geometry.cameras import world_rays
from worldgen.geometry.equirect import directions
from worldgen.geometry.points import view_points
from worldgen.models.protocols import PanoramaDepth
from worldgen.models.runtime import Runtime
from worldgen.recipe.lift import LiftSettings, lift
from worldgen.types import Camera, DistanceMap, Panorama, PointCloud, Prompts, Scene, SupervisionView, View

_CLEARANCE_M = 0.1  # cameras keep this far from surfaces
_HIDDEN = 0.02  # relative distance behind what the origin sees, from which on a point is hidden from it
_HIDDEN_STRIDE = 4  # of generated views' pixels that add hidden points
_DEPTH_ROWS = 512  # of the panorama on which distances are estimated


@dataclass(frozen=True)
class TruthScene(ABC):
    """What both kinds of scene have in common.

    size: pixels of a square view, 90 degrees wide, held-out ones too; samples: rays per pixel and axis; generated: how
    many perturbed views; side_m: of the cube that they and the held-out views stand in; warp_px: root mean square
    of their warps' lengths; nodes: of a warp per axis; recolour: see `perturb.recoloured`; exact_deg: exact views
    count within half this angle of +z, 360 = everywhere; held_out: how many; cloud_rows: of the panorama that the
    cloud is lifted from.
    """

    kind: ClassVar[str]

    size: int = 288
    samples: int = 2
    generated: int = 32
    side_m: float = 2.0
    warp_px: float = 2.0
    nodes: int = 5
    recolour: float = 0.02
    exact_deg: float = 360.0
    held_out: int = 12
    cloud_rows: int = 256

    def __post_init__(self) -> None:
        expect_whole_numbers("scene", self)
        expect("scene.size", self.size, 32 <= self.size <= 2048, "32 to 2048 pixels")
        expect("scene.samples", self.samples, 1 <= self.samples <= 8, "1 to 8")
        expect("scene.generated", self.generated, self.generated >= 0, "0 or more")
        expect("scene.side_m", self.side_m, 0 < self.side_m <= 4, "more than 0, at most 4 metres")
        expect("scene.warp_px", self.warp_px, 0 <= self.warp_px <= self.size / 8, "0 to an eighth of scene.size")
        expect("scene.nodes", self.nodes, 2 <= self.nodes <= 32, "2 to 32")
        expect("scene.recolour", self.recolour, 0 <= self.recolour <= 0.5, "0 to 0.5")
        expect("scene.exact_deg", self.exact_deg, 0 < self.exact_deg <= 360, "more than 0, at most 360 degrees")
        expect("scene.held_out", self.held_out, self.held_out >= 0, "0 or more")
        expect("scene.cloud_rows", self.cloud_rows, 16 <= self.cloud_rows <= 1024, "16 to 1024")

    @abstractmethod
    def truth(self) -> Truth: ...

    @abstractmethod
    def sky(self, height: int) -> Tensor:
        """Where the origin sees sky: bool [height, 2 height]."""

    def __call__(self, seed: int) -> Scene:
        """The seed decides warps, colours, and where views look and the held-out ones stand; the world stays the same.

        Views: the exact ones first. Raises UserError where the cube does not fit in.
        """
        truth = self.truth()
        cameras, tests = generated_cameras(self, seed), held_out_cameras(self, seed)
        self._expect_room(truth, [*cameras, *tests])
        exact = self._exact_views(truth)
        generated = [self._generated_view(truth, camera, seed, len(exact) + i) for i, camera in enumerate(cameras)]
        cloud = sum((_hidden_points(truth, view) for view in generated), start=self._cloud(truth))
        held_out = tuple(_view(camera, render(truth, camera, self.samples)) for camera in tests)
        return Scene(f"{self.kind}-{self.warp_px:g}px", cloud, (*exact, *generated), held_out)

    def _exact_views(self, truth: Truth) -> list[SupervisionView]:
        found = []
        for camera, weight in exact_cameras(self):
            found.append(SupervisionView(camera, render(truth, camera, self.samples), weight, generated=False))
        return found

    def _generated_view(self, truth: Truth, camera: Camera, seed: int, number: int) -> SupervisionView:
        offsets = planted_offsets(self, seed, number, self.samples * self.size) if self.warp_px else None
        rgb = recoloured(render(truth, camera, self.samples, offsets), seed, number, self.recolour)
        return SupervisionView(camera, rgb, torch.ones(self.size, self.size), generated=True)

    def _cloud(self, truth: Truth) -> PointCloud:
        rows = self.cloud_rows
        distance = truth.distance(torch.zeros(3), directions(rows, 2 * rows))
        rgb = render_panorama(truth, rows, self.samples)
        return lift(rgb, DistanceMap(distance, self.sky(rows)), LiftSettings())

    def _expect_room(self, truth: Truth, cameras: Sequence[Camera]) -> None:
        places = torch.stack([torch.zeros(3), *(camera.position for camera in cameras)])
        tightest = float(truth.clearance(places).amin())
        wanted = f"a cube that stays {_CLEARANCE_M} m from every surface, here it comes to {tightest:.2f} m"
        expect("scene.side_m", self.side_m, tightest >= _CLEARANCE_M, wanted)


@dataclass(frozen=True)
class RoomScene(TruthScene):
    """A furnished room, ray-traced: sharp edges, letters, and things that hide others from the origin."""

    kind: ClassVar[str] = "room"

    def truth(self) -> Truth:
        return TexturedRoom()

    def sky(self, height: int) -> Tensor:
        return torch.zeros(height, 2 * height, dtype=torch.bool)


@dataclass(frozen=True)
class PanoramaScene(TruthScene):
    """A real panorama, draped over smoothed distances that an estimator gives it.

    Nothing in it is hidden from the origin, so the exact views look only to the front: what lies behind is known from
    perturbed views alone. depth: the estimator; panorama: a name that `python -m eval.synthetic.panoramas` lists;
    far_m: radius of the sky's shell and of all that is farther; steepest: slope of depth edges, log distance per
    radian; round_deg: by which they are rounded; surface_rows: of the grid of distances.
    """

    kind: ClassVar[str] = "panorama"

    depth: PanoramaDepth = field(kw_only=True)
    exact_deg: float = 180.0
    panorama: str = "san_giuseppe_bridge"
    far_m: float = 30.0
    steepest: float = 3.0
    round_deg: float = 1.5
    surface_rows: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        expect("scene.far_m", self.far_m, self.far_m > self.side_m, "more than scene.side_m")
        expect("scene.steepest", self.steepest, 0.5 <= self.steepest <= 20, "0.5 to 20")
        expect("scene.round_deg", self.round_deg, 0 < self.round_deg <= 10, "more than 0, at most 10 degrees")
        expect("scene.surface_rows", self.surface_rows, 32 <= self.surface_rows <= 512, "32 to 512")

    def truth(self) -> PanoramaShell:
        return self._shell

    def sky(self, height: int) -> Tensor:
        """The panorama's own sky, as far as it lies on the shell."""
        _, distances = self._measured
        sky = F.interpolate(distances.sky[None, None].float(), (height, 2 * height), mode="area")[0, 0] > 0.5
        reach = self.truth().distance(torch.zeros(3), directions(height, 2 * height))
        return sky & (reach > 0.8 * self.far_m)

    @cached_property
    def _shell(self) -> PanoramaShell:
        picture, distances = self._measured
        rows = self.surface_rows
        reach = F.interpolate(distances.distance[None, None], (rows, 2 * rows), mode="area")[0, 0]
        return shell_of(picture, reach.clamp(max=self.far_m), self.steepest, self.round_deg)

    @cached_property
    def _measured(self) -> tuple[Tensor, DistanceMap]:
        """The picture [3, H, W] and its distances on a coarser grid."""
        picture = _picture(self.panorama)
        small = F.interpolate(picture[None], (_DEPTH_ROWS, 2 * _DEPTH_ROWS), mode="area")[0]
        nowhere = torch.zeros(small.shape[1:], dtype=torch.bool)
        outdoors = Prompts("", "", "", indoor=False, source=__name__)
        self.depth.load(Runtime())
        try:
            return picture, self.depth(Panorama(small, nowhere), outdoors)
        finally:
            self.depth.release()


def _view(camera: Camera, rgb: Tensor) -> View:
    return View(camera, rgb, torch.ones(rgb.shape[1:], dtype=torch.bool))


def _hidden_points(truth: Truth, view: SupervisionView) -> PointCloud:
    """What a generated view shows that the origin does not see, in the view's own colours."""
    small = max(1, view.camera.width // _HIDDEN_STRIDE)
    camera = view.camera.resized(small, small)
    distance = truth.distance(camera.position, world_rays(camera))
    xyz = camera.position + world_rays(camera) * distance[..., None]
    reach = xyz.norm(dim=-1)
    hidden = truth.distance(torch.zeros(3), xyz / reach[..., None]) < (1 - _HIDDEN) * reach
    rgb = F.interpolate(view.rgb[None], (small, small), mode="area")[0]
    return view_points(View(camera, rgb, hidden, distance), hidden)


@lru_cache(maxsize=2)
def _picture(name: str) -> Tensor:
    """A panorama [3, H, W]. Raises UserError where there is none of that name."""
    names = []
    for found, picture in truth_panoramas():
        if found == name:
            return picture
        names.append(found)
    raise UserError(f"scene.panorama: {name}, wanted one of {', '.join(names)}")
