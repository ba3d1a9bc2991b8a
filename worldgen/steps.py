"""What each step of the recipe does: `(job, folder) -> facts`, files into the folder, facts for the report.

Heavy to import, with everything that the steps are made of; `pipeline.py` does it only when a step has to run.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from worldgen.errors import expect
from worldgen.geometry.colour import colourise
from worldgen.geometry.fov_range import check_fov
from worldgen.io.clouds import save_cloud
from worldgen.io.gaussians import save_gaussians
from worldgen.io.photo import Photo
from worldgen.io.photo_sphere import GIVEN, Sphere
from worldgen.models.pool import Pool
from worldgen.models.recorded import RecordedInpainter
from worldgen.present.console import Reporter
from worldgen.recipe.complete import complete
from worldgen.recipe.export import export
from worldgen.recipe.fov import check_height
from worldgen.recipe.given import FRONT_FOV_DEG, all_round, front_view, given_panorama
from worldgen.recipe.lift import lift
from worldgen.recipe.panorama import synthesize
from worldgen.recipe.training_views import TrainingViews
from worldgen.runs import artifacts
from worldgen.runs.reader import CAMERA, RunReader
from worldgen.runs.steps_table import COMPLETE, DEPTH, EXPORT, FOV, LIFT, PANORAMA, PROMPTS, REFINE, SPLAT
from worldgen.runs.visits import KeptVisits
from worldgen.types import Fov, Panorama, Scene, View


@dataclass
class Job:
    """One photo on its way through the recipe. adapters: the object that each config group stands for; those that the
    step in hand uses are loaded. sphere: what the photo says of the sphere that it shows, if it does."""

    config: DictConfig
    adapters: Pool
    photo: Photo
    reporter: Reporter
    sphere: Sphere | None = None

    @cached_property
    def reader(self) -> RunReader:
        """Of what the earlier steps left."""
        return RunReader(Path(self.config.out))

    def seed(self, step: str) -> int:
        """A step's own seed, so that one step's draws never move another's."""
        digest = hashlib.sha256(f"{self.config.seed}/{step}".encode()).digest()
        return int.from_bytes(digest[:4], "big")

    @property
    def is_given(self) -> bool:
        """Whether the photo is the panorama."""
        return OmegaConf.select(self.config, "panorama.heuristic") == GIVEN

    @cached_property
    def given_panorama(self) -> Tensor:
        """[3, H, W], where the photo is the panorama."""
        return given_panorama(self.photo.rgb, self.sphere, self.config.panorama.width)

    @property
    def photo_view(self) -> View:
        """The photo as the camera at the origin, looking along +z, took it; of a given panorama the front view.

        Raises UserError where a person gave the camera another size than the photo's.
        """
        camera = self.reader.camera()
        if self.is_given:
            return front_view(self.given_panorama, camera.fov_deg)
        height, width = self.photo.rgb.shape[1:]
        path = self.reader.path(FOV, CAMERA)
        fits = (camera.width, camera.height) == (width, height)
        expect(f"{path}: width, height", f"{camera.width}, {camera.height}", fits, f"the photo's {width}, {height}")
        return View(camera, self.photo.rgb, torch.ones(height, width, dtype=torch.bool))

    @cached_property
    def panorama(self) -> Panorama:
        """Refined, where there is a refined one."""
        return self.reader.panorama()


def fov_step(job: Job, out: Path) -> dict:
    """The photo's field of view, and so its camera."""
    by_hand = job.config.fov_deg
    if by_hand is not None:
        fov = Fov(check_fov(by_hand), "fov_deg, by hand")
    elif job.is_given:
        fov = Fov(FRONT_FOV_DEG, "of the front view; the photo is a 360-degree panorama")
    else:
        fov = job.adapters["fov"](job.photo)
    if not job.is_given:
        check_height(job.photo, fov.deg)
    height, width = job.photo.rgb.shape[1:]
    if job.is_given:
        front = front_view(job.given_panorama, fov.deg).camera
        height, width = front.height, front.width
    artifacts.save_photo_camera(out / CAMERA, width, height, fov.deg, fov.source)
    return asdict(fov)


def prompts_step(job: Job, out: Path) -> dict:
    """What the scene is."""
    prompts = job.adapters["prompts"](all_round(job.given_panorama) if job.is_given else job.photo.rgb)
    artifacts.save_prompts(out / "prompts.json", prompts)
    return artifacts.said(prompts)


def panorama_step(job: Job, out: Path) -> dict:
    """A panorama round the photo."""
    panorama = _whole(job.given_panorama) if job.is_given else _painted(job, out / "views")
    artifacts.save_panorama(out, panorama)
    height, width = panorama.photo.shape
    return {"size": f"{width}x{height}", "from_the_photo_percent": _percent(panorama.photo), **panorama.guesses}


def _whole(rgb: Tensor) -> Panorama:
    """A panorama [3, H, W], all of it photographed."""
    return Panorama(rgb, torch.ones(rgb.shape[1:], dtype=torch.bool))


def _painted(job: Job, views: Path) -> Panorama:
    """The photo's panorama; the painted views land in the folder `views`, where a killed attempt may have left some."""
    settings = job.adapters["panorama"]
    return synthesize(
        job.photo_view,
        job.reader.prompts(),
        RecordedInpainter(settings.painter or job.adapters["inpainter"], views),
        settings,
        job.reporter.track,
        job.seed(PANORAMA),
    )


def refine_step(job: Job, out: Path) -> dict:
    """Finer detail, where there is a model for it."""
    reader = job.reader
    refined = job.adapters["refine"](
        reader.unrefined_panorama(), reader.prompts(), out / "views", job.reporter.track, job.seed(REFINE)
    )
    if refined is None:
        facts = {"skipped": "no text-to-image model in this profile"}
        artifacts.save_json(out / "skipped.json", facts)
        return facts
    artifacts.save_image(out / "panorama.png", refined.rgb)
    return {}


def depth_step(job: Job, out: Path) -> dict:
    """How far away everything is."""
    distances = job.adapters["depth"](job.panorama, job.reader.prompts(), job.reporter.track)
    artifacts.save_distances(out, distances)
    artifacts.save_pixels(out / "distance.png", colourise(distances.distance, distances.sky))
    metres = distances.distance[~distances.sky]
    median = metres.median().item() if len(metres) else float("nan")
    return {"median_distance_m": round(median, 2), "sky_percent": _percent(distances.sky)}


def lift_step(job: Job, out: Path) -> dict:
    """The panorama as points."""
    cloud = lift(job.panorama.rgb, job.reader.distances(), job.adapters["lift"])
    save_cloud(out / "cloud.safetensors", cloud)
    return {"points": len(cloud)}


def complete_step(job: Job, out: Path) -> dict:
    """What the photo's place hides."""
    visits = KeptVisits(out)
    completion = complete(
        job.reader.lifted(),
        job.reader.prompts(),
        job.adapters["completer"],
        job.adapters["view_depth"],
        job.adapters["complete"],
        visits,
        job.reporter.track,
        job.seed(COMPLETE),
    )
    visits.finish()
    facts = {"views": completion.views, "visits": completion.visits, "points_added": completion.points}
    return facts | ({"unmeasured_pixels": completion.unmeasured} if completion.unmeasured else {})


def splat_step(job: Job, out: Path) -> dict:
    """Gaussians, fitted to all views."""
    reader, settings = job.reader, job.adapters["views"]
    views = TrainingViews(reader.camera(), job.panorama, reader.completed(), settings)
    source = f"{settings} {reader.content((FOV, PANORAMA, REFINE, LIFT, COMPLETE))}"
    scene = Scene(job.photo.path.stem, reader.cloud(), views, source=source)
    runtime = job.adapters.runtime
    result = job.adapters["splat"](scene, out, job.reporter.track, job.seed(SPLAT), runtime=runtime)
    save_gaussians(out / "gaussians.safetensors", result.gaussians)
    return result.facts


def export_step(job: Job, out: Path) -> dict:
    """Files to look at."""
    reader, settings = job.reader, job.adapters["export"]
    world = (reader.gaussians(), reader.cloud(), job.photo_view, reader.distances())
    return export(*world, reader.root, out, settings, job.reporter.track)


def _percent(mask: Tensor) -> float:
    """How much of a mask is True."""
    return round(100 * mask.float().mean().item(), 1)


PRODUCE: dict[str, Callable[[Job, Path], Mapping[str, Any]]] = {
    FOV: fov_step,
    PROMPTS: prompts_step,
    PANORAMA: panorama_step,
    REFINE: refine_step,
    DEPTH: depth_step,
    LIFT: lift_step,
    COMPLETE: complete_step,
    SPLAT: splat_step,
    EXPORT: export_step,
}
