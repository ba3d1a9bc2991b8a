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

from worldgen.geometry.colour import colourise
from worldgen.geometry.fov_range import check_fov
from worldgen.io.clouds import load_cloud, save_cloud
from worldgen.io.gaussians import load_gaussians, save_gaussians
from worldgen.io.photo import Photo
from worldgen.io.photo_sphere import GIVEN, Sphere
from worldgen.models.recorded import RecordedInpainter
from worldgen.present.console import Reporter
from worldgen.recipe.complete import complete
from worldgen.recipe.export import export
from worldgen.recipe.fov import check_height
from worldgen.recipe.given import FRONT_FOV_DEG, all_round, front_view, given_panorama
from worldgen.recipe.lift import lift
from worldgen.recipe.panorama import synthesize
from worldgen.recipe.prompts import load_prompts, save_prompts
from worldgen.recipe.training_views import supervision
from worldgen.runs import artifacts
from worldgen.types import Camera, Fov, Panorama, PointCloud, Prompts, Scene, View


@dataclass
class Job:
    """One photo on its way through the recipe. adapters: the object that each config group stands for. sphere: what the
    photo says of the sphere that it shows, if it does."""

    config: DictConfig
    adapters: Mapping[str, Any]
    photo: Photo
    reporter: Reporter
    sphere: Sphere | None = None

    @property
    def run_dir(self) -> Path:
        return Path(self.config.out)

    def path(self, step: str, filename: str) -> Path:
        """Where an earlier step's file is, or would be; the step's folder for `""`."""
        return self.run_dir / step / filename

    def seed(self, step: str) -> int:
        """A step's own seed, so that one step's draws never move another's."""
        digest = hashlib.sha256(f"{self.config.seed}/{step}".encode()).digest()
        return int.from_bytes(digest[:4], "big")

    @property
    def prompts(self) -> Prompts:
        return load_prompts(self.path("prompts", "prompts.json"))

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
        """The photo as the camera at the origin, looking along +z, took it; of a given panorama the front view."""
        path = self.path("fov", "fov.json")
        deg = check_fov(artifacts.load_json(path).get("deg"), f"{path}: deg")
        if self.is_given:
            return front_view(self.given_panorama, deg)
        height, width = self.photo.rgb.shape[1:]
        known = torch.ones(height, width, dtype=torch.bool)
        return View(Camera.from_fov(width, height, deg), self.photo.rgb, known)

    @property
    def panorama_path(self) -> Path:
        """The refined panorama where there is one."""
        refined = self.path("refine", "panorama.png")
        return refined if refined.exists() else self.path("panorama", "panorama.png")

    @cached_property
    def panorama(self) -> Panorama:
        return artifacts.load_panorama(self.panorama_path, self.path("panorama", "photo_mask.png"))

    @property
    def cloud(self) -> PointCloud:
        """What the panorama shows and what the completed views added."""
        added = load_cloud(self.path("complete", "cloud.safetensors"))
        return load_cloud(self.path("lift", "cloud.safetensors")) + added


def fov_step(job: Job, out: Path) -> dict:
    by_hand = job.config.fov_deg
    if by_hand is not None:
        fov = Fov(check_fov(by_hand), "fov_deg, by hand")
    elif job.is_given:
        fov = Fov(FRONT_FOV_DEG, "of the front view; the photo is a 360-degree panorama")
    else:
        fov = job.adapters["fov"](job.photo)
    if not job.is_given:
        check_height(job.photo, fov.deg)
    artifacts.save_json(out / "fov.json", asdict(fov))
    return asdict(fov)


def prompts_step(job: Job, out: Path) -> dict:
    prompts = job.adapters["prompts"](all_round(job.given_panorama) if job.is_given else job.photo.rgb)
    save_prompts(out / "prompts.json", prompts)
    return asdict(prompts)


def panorama_step(job: Job, out: Path) -> dict:
    panorama = _whole(job.given_panorama) if job.is_given else _painted(job, out / "views")
    artifacts.save_panorama(out, panorama)
    height, width = panorama.photo.shape
    return {"size": f"{width}x{height}", "from_the_photo_percent": _percent(panorama.photo)}


def _whole(rgb: Tensor) -> Panorama:
    """A panorama [3, H, W], all of it photographed."""
    return Panorama(rgb, torch.ones(rgb.shape[1:], dtype=torch.bool))


def _painted(job: Job, views: Path) -> Panorama:
    """The photo's panorama; the painted views land in the folder `views`, where a killed attempt may have left some."""
    return synthesize(
        job.photo_view,
        job.prompts,
        RecordedInpainter(job.adapters["inpainter"], views),
        job.adapters["panorama"],
        job.reporter.track,
        job.seed("panorama"),
    )


def refine_step(job: Job, out: Path) -> dict:
    panorama = artifacts.load_panorama(job.path("panorama", "panorama.png"), job.path("panorama", "photo_mask.png"))
    refined = job.adapters["refine"](panorama, job.prompts, out / "views", job.reporter.track, job.seed("refine"))
    if refined is None:
        facts = {"skipped": "no text-to-image model in this profile"}
        artifacts.save_json(out / "skipped.json", facts)
        return facts
    artifacts.save_image(out / "panorama.png", refined.rgb)
    return {}


def depth_step(job: Job, out: Path) -> dict:
    distances = job.adapters["depth"](job.panorama, job.prompts, job.reporter.track)
    artifacts.save_distances(out, distances)
    artifacts.save_pixels(out / "distance.png", colourise(distances.distance, distances.sky))
    metres = distances.distance[~distances.sky]
    median = metres.median().item() if len(metres) else float("nan")
    return {"median_distance_m": round(median, 2), "sky_percent": _percent(distances.sky)}


def lift_step(job: Job, out: Path) -> dict:
    cloud = lift(job.panorama.rgb, artifacts.load_distances(job.path("depth", "")), job.adapters["lift"])
    save_cloud(out / "cloud.safetensors", cloud)
    return {"points": len(cloud)}


def complete_step(job: Job, out: Path) -> dict:
    completion = complete(
        load_cloud(job.path("lift", "cloud.safetensors")),
        job.prompts,
        job.adapters["inpainter"],
        job.adapters["view_depth"],
        job.adapters["complete"],
        job.reporter.track,
        job.seed("complete"),
    )
    save_cloud(out / "cloud.safetensors", completion.cloud)
    artifacts.save_completed(out, completion.views)
    return {"views": len(completion.views), "points_added": len(completion.cloud)}


def splat_step(job: Job, out: Path) -> dict:
    completed = artifacts.load_completed(job.path("complete", ""))
    views = supervision(job.photo_view, job.panorama, completed, job.adapters["views"])
    scene = Scene(job.photo.path.stem, job.cloud, tuple(views))
    result = job.adapters["splat"](scene, out, job.reporter.track, job.seed("splat"))
    save_gaussians(out / "gaussians.safetensors", result.gaussians)
    return result.facts


def export_step(job: Job, out: Path) -> dict:
    gaussians = load_gaussians(job.path("splat", "gaussians.safetensors"))
    return export(gaussians, job.cloud, job.run_dir, out, job.adapters["export"], job.reporter.track) or {}


def _percent(mask: Tensor) -> float:
    """How much of a mask is True."""
    return round(100 * mask.float().mean().item(), 1)


PRODUCE: dict[str, Callable[[Job, Path], Mapping[str, Any]]] = {
    "fov": fov_step,
    "prompts": prompts_step,
    "panorama": panorama_step,
    "refine": refine_step,
    "depth": depth_step,
    "lift": lift_step,
    "complete": complete_step,
    "splat": splat_step,
    "export": export_step,
}
"""By the names of the steps in `pipeline.STEPS`."""
