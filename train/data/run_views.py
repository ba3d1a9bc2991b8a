"""What the splat step of one of our own runs fits, read back from the run folder."""

import math
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor

from worldgen.errors import UserError
from worldgen.geometry.equirect import directions
from worldgen.geometry.fov_range import check_fov
from worldgen.io.photo import Lens, Photo
from worldgen.present.console import Reporter
from worldgen.recipe.given import front_camera
from worldgen.recipe.training_views import SupervisionSettings, supervision
from worldgen.runs import artifacts
from worldgen.steps import Job
from worldgen.types import PointCloud, SupervisionView

_STEPS = ("fov", "panorama", "lift", "complete")  # whose files the splat step reads
_WIDTH = 4096  # of a photo whose size is not known: fine enough for any view of it


def read_run(folder: Path) -> tuple[list[SupervisionView], PointCloud]:
    """The views, and the cloud to start from, by the splat step's own functions. Its config decides how the panorama is
    cut; where that step never finished, the defaults do.

    Raises UserError where one of the steps before it never finished, or its files are not what it left.
    """
    steps = artifacts.load_json(folder / "manifest.json").get("steps")
    missing = [step for step in _STEPS if step not in steps] if isinstance(steps, dict) else _STEPS
    if missing:
        raise UserError(f"{folder}: no finished {missing[0]} step, wanted a run until complete, at least")
    try:
        chosen = steps.get("splat", {}).get("config", {}).get("views", {})
        settings = SupervisionSettings(**{key: value for key, value in chosen.items() if not key.startswith("_")})
        fov = folder / "fov" / "fov.json"
        fov_deg = check_fov(artifacts.load_json(fov)["deg"], f"{fov}: deg")
        height, width = photo_size(artifacts.load_mask(folder / "panorama" / "photo_mask.png"), fov_deg)
        # Of the photo itself, which may be gone, only the shape counts.
        photo = Photo(torch.zeros(()).expand(3, height, width), folder, "", Lens())
        job = Job(OmegaConf.create({"out": str(folder)}), {}, photo, Reporter(quiet=True))
        completed = artifacts.load_completed(job.path("complete", ""))
        return supervision(job.photo_view, job.panorama, completed, settings), job.cloud
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be read ({error.strerror}), wanted a whole run") from error
    except (KeyError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise UserError(f"{folder}: its JSON files are not as the steps left them ({error})") from error


def photo_size(mask: Tensor, fov_deg: float) -> tuple[int, int]:
    """Height and width, in some pixels, of the photo whose own pixels lie where the panorama's `mask` [H, W] is True.

    fov_deg: horizontal. Its upper and lower edge pass between the steepest ray that it covers and the flattest that it
    does not; of all columns together, that tells much more finely than the rows of one. A panorama that is all photo
    has its front view.
    """
    if bool(mask.all()):
        front = front_camera(fov_deg, _WIDTH)
        return front.height, front.width
    x, y, z = directions(*mask.shape).unbind(-1)
    slope = math.tan(math.radians(fov_deg) / 2)
    across = (z > 0) & (x.abs() < slope * z)
    steepness = y.abs() / z
    inside = steepness.where(across & mask, torch.zeros(())).max().item()
    outside = steepness.where(across & ~mask, torch.full((), math.inf)).min().item()
    return max(1, round(_WIDTH * (inside + outside) / 2 / slope)), _WIDTH
