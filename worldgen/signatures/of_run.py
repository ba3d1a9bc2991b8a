"""What a run folder's own files say against the world in it: a figure for each signature, or why there is none.

Small views, so that a report can afford it: six of the splats, and the completed views that missed most.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.points import render_points
from worldgen.runs.reader import RunReader
from worldgen.runs.steps_table import COMPLETE, LIFT, PANORAMA, SPLAT
from worldgen.signatures.completed_faults import CONTRADICTED, UNSEEN, Witnesses, disagreement, witness
from worldgen.signatures.splat_faults import faults
from worldgen.signatures.style_breaks import KINDS, style_breaks
from worldgen.splat.initialise import thin
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians, PointCloud

STYLE = tuple(f"style_{kind}" for kind in KINDS)
SPLATS = ("floaters", "haze", "ghosts")
COMPLETED = ("hallucinations", "unsupported", "contradicted")
SIZE = 256  # pixels of a view's side
_YAWS_DEG = (0, 60, 120, 180, 240, 300)
_ASIDE_M = 0.5  # to the right of where the splats are best known
_FOV_DEG = 90.0
_MOST_COMPLETED = 8
_MOST_POINTS = 300_000  # of a cloud, for small views


@dataclass(frozen=True, eq=False)
class Seen:
    """plain: [3, h, w], a view; wrong: [3, h, w], amounts in [0, 1] of what is wrong there."""

    plain: Tensor
    wrong: Tensor


@dataclass
class RunSignatures:
    """figures: by signature, of STYLE, SPLATS and COMPLETED; missing: why a signature has none; views: of the splats,
    as `splat_faults.faults` colours them; completed: red disagrees with known points, green is seen in no other view,
    blue is contradicted by all that see it."""

    figures: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    views: list[Seen] = field(default_factory=list)
    completed: list[Seen] = field(default_factory=list)


class _Folder(RunReader):
    """A run folder whose cloud is read once, and thinned to what small views can show."""

    @cached_property
    def thin_cloud(self) -> PointCloud:
        """What the panorama and the completed views show."""
        return thin(self.cloud(), _MOST_POINTS)


def measure(run_dir: Path) -> RunSignatures:
    """All that can be measured of what the folder holds; a file that is broken is a reason, too."""
    folder, found = _Folder(run_dir), RunSignatures()
    for how, names in ((_measure_style, STYLE), (_measure_splats, SPLATS), (_measure_completed, COMPLETED)):
        try:
            how(folder, found)
        except UserError as error:
            found.missing |= {name: str(error) for name in names}
    return found


def _measure_style(folder: _Folder, found: RunSignatures) -> None:
    if not folder.path(PANORAMA, "panorama.png").is_file():
        raise UserError("the run has no panorama yet")
    panorama = folder.panorama()
    if bool(panorama.photo.all()):
        raise UserError("all of the panorama is the photo, so there is no border")
    camera = folder.camera()
    width = max(16, round(panorama.rgb.shape[2] * camera.fov_deg / 360))
    photo = camera.resized(width, max(16, round(width * camera.height / camera.width)))
    found.figures |= {f"style_{kind}": value for kind, value in style_breaks(panorama.rgb, photo).items()}


def _measure_splats(folder: _Folder, found: RunSignatures) -> None:
    if not folder.path(SPLAT, "gaussians.safetensors").is_file():
        raise UserError("the run has no splats yet")
    gaussians, cloud = folder.gaussians(), None
    try:
        cloud = folder.thin_cloud
    except UserError:
        found.missing["floaters"] = "the points that the splats were fitted from are not there"
    found.views = [splat_view(gaussians, cloud, camera) for camera in cameras_aside()]
    amounts = torch.stack([seen.wrong.mean(dim=(1, 2)) for seen in found.views]).mean(dim=0)
    found.figures |= {
        name: 100 * float(amount) for name, amount in zip(SPLATS, amounts, strict=True) if name not in found.missing
    }


def cameras_aside() -> list[Camera]:
    """Square views all round, each from half a metre to the right of the origin."""
    cameras = []
    for yaw_deg in _YAWS_DEG:
        right = look_at(yaw_deg)[:3, 0]
        cameras.append(Camera.from_fov(SIZE, SIZE, _FOV_DEG, look_at(yaw_deg, 0.0, _ASIDE_M * right)))
    return cameras


def splat_view(gaussians: Gaussians, cloud: PointCloud | None, camera: Camera) -> Seen:
    """What `camera` sees of a world, and what is wrong there."""
    with torch.no_grad():
        return Seen(rasterize(gaussians, camera).rgb.clamp(0, 1), faults(gaussians, cloud, camera))


def _measure_completed(folder: _Folder, found: RunSignatures) -> None:
    if not folder.path(COMPLETE, "cameras.json").is_file() or not folder.path(LIFT, "cloud.safetensors").is_file():
        raise UserError("the run has no completed views yet")
    views, lifted, cloud = folder.completed(), folder.lifted(), folder.thin_cloud
    if not len(views):
        raise UserError("no view missed enough to be completed")
    pictures, holes = [], []
    for view in views:
        pictures.append(_reduced(view.view.rgb))
        holes.append(_reduced(view.inpainted[None].float())[0] >= 0.5)
    cameras = [view.view.camera.resized(SIZE, SIZE) for view in views]
    witnesses = Witnesses([witness(*pair, cloud, SIZE) for pair in zip(cameras, pictures, strict=True)])
    chosen = sorted(range(len(holes)), key=lambda number: -int(holes[number].sum()))[:_MOST_COMPLETED]
    apart_of, verdicts_of = [], []
    for number in chosen:
        camera, picture, hole = cameras[number], pictures[number], holes[number]
        apart, known = disagreement(picture, render_points(lifted, camera), hole)
        verdicts = witnesses.verdicts(number, camera, picture, hole, cloud)
        found.completed.append(
            Seen(picture, torch.stack([apart, *((verdicts == said).float() for said in (UNSEEN, CONTRADICTED))]))
        )
        apart_of.append(apart[known])
        verdicts_of.append(verdicts[hole])
    apart, verdicts = torch.cat(apart_of), torch.cat(verdicts_of)
    if len(apart):
        found.figures["hallucinations"] = 255 * float(apart.mean())
    else:
        found.missing["hallucinations"] = "the photo's points are seen in none of the completed views"
    if len(verdicts):
        found.figures |= {"unsupported": 100 * float((verdicts > 0).float().mean())}
        found.figures |= {"contradicted": 100 * float((verdicts == CONTRADICTED).float().mean())}
    else:
        found.missing |= dict.fromkeys(("unsupported", "contradicted"), "no completed view has a painted pixel")


def _reduced(picture: Tensor) -> Tensor:
    """[C, h, w] to [C, SIZE, SIZE]."""
    return F.interpolate(picture[None], (SIZE, SIZE), mode="area")[0]
