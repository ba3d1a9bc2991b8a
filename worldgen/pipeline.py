"""The recipe, in the paper's order: each step reads what earlier steps left and leaves its own files.

A step is one function `(job, folder) -> facts`. The run folder decides whether it has to run at all (`run.py`).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from worldgen import artifacts, assets
from worldgen.errors import UserError
from worldgen.geometry.colour import colourise
from worldgen.photo import Photo, load_photo
from worldgen.progress import Reporter
from worldgen.recipe.complete import complete
from worldgen.recipe.export import export
from worldgen.recipe.fov import Fov, check_fov
from worldgen.recipe.lift import lift
from worldgen.recipe.panorama import synthesize
from worldgen.recipe.prompts import load_prompts, save_prompts
from worldgen.recipe.report import write_report
from worldgen.recipe.supervise import supervision
from worldgen.run import RunFolder, StepResult, disk_errors
from worldgen.splat.files import load_cloud, load_gaussians, save_cloud, save_gaussians
from worldgen.types import Camera, Panorama, PointCloud, Prompts, View


@dataclass
class Job:
    """One photo on its way through the recipe. adapters: the object that each config group stands for."""

    config: DictConfig
    adapters: Mapping[str, Any]
    folder: RunFolder
    photo: Photo
    reporter: Reporter

    def seed(self, step: str) -> int:
        """A step's own seed, so that one step's draws never move another's."""
        digest = hashlib.sha256(f"{self.config.seed}/{step}".encode()).digest()
        return int.from_bytes(digest[:4], "big")

    @property
    def prompts(self) -> Prompts:
        return load_prompts(self.folder.path("prompts", "prompts.json"))

    @property
    def photo_view(self) -> View:
        """The photo as the camera at the origin, looking along +z, took it."""
        fov = artifacts.load_json(self.folder.path("fov", "fov.json"))
        height, width = self.photo.rgb.shape[1:]
        known = torch.ones(height, width, dtype=torch.bool)
        return View(Camera.from_fov(width, height, fov["deg"]), self.photo.rgb, known)

    @property
    def panorama_path(self) -> Path:
        """The refined panorama where there is one."""
        refined = self.folder.path("refine", "panorama.png")
        return refined if refined.exists() else self.folder.path("panorama", "panorama.png")

    @cached_property
    def panorama(self) -> Panorama:
        return artifacts.load_panorama(self.panorama_path, self.folder.path("panorama", "photo_mask.png"))

    @property
    def cloud(self) -> PointCloud:
        """What the panorama shows and what the completed views added."""
        added = load_cloud(self.folder.path("complete", "cloud.safetensors"))
        return load_cloud(self.folder.path("lift", "cloud.safetensors")) + added


def fov_step(job: Job, out: Path) -> dict:
    by_hand = job.config.fov_deg
    fov = job.adapters["fov"](job.photo) if by_hand is None else Fov(check_fov(by_hand), "fov_deg, by hand")
    artifacts.save_json(out / "fov.json", asdict(fov))
    return asdict(fov)


def prompts_step(job: Job, out: Path) -> dict:
    prompts = job.adapters["prompts"](job.photo.rgb)
    save_prompts(out / "prompts.json", prompts)
    return asdict(prompts)


def panorama_step(job: Job, out: Path) -> dict:
    panorama = synthesize(
        job.photo_view,
        job.prompts,
        job.adapters["inpainter"],
        job.adapters["panorama"],
        job.reporter.track,
        job.seed("panorama"),
    )
    artifacts.save_panorama(out, panorama)
    height, width = panorama.photo.shape
    return {"size": f"{width}x{height}", "from_the_photo": round(panorama.photo.float().mean().item(), 4)}


def refine_step(job: Job, out: Path) -> dict:
    panorama = artifacts.load_panorama(
        job.folder.path("panorama", "panorama.png"), job.folder.path("panorama", "photo_mask.png")
    )
    refined = job.adapters["refine"](panorama, job.prompts, job.reporter.track, job.seed("refine"))
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
    return {"median_distance_m": round(median, 2), "sky": round(distances.sky.float().mean().item(), 4)}


def lift_step(job: Job, out: Path) -> dict:
    cloud = lift(job.panorama.rgb, artifacts.load_distances(job.folder.path("depth", "")), job.adapters["lift"])
    save_cloud(out / "cloud.safetensors", cloud)
    return {"points": len(cloud)}


def complete_step(job: Job, out: Path) -> dict:
    completion = complete(
        load_cloud(job.folder.path("lift", "cloud.safetensors")),
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
    completed = artifacts.load_completed(job.folder.path("complete", ""))
    views = supervision(job.photo_view, job.panorama, completed, job.adapters["views"])
    result = job.adapters["splat"](job.cloud, views, out, job.reporter.track, job.seed("splat"))
    save_gaussians(out / "gaussians.safetensors", result.gaussians)
    return result.facts


def export_step(job: Job, out: Path) -> dict:
    gaussians = load_gaussians(job.folder.path("splat", "gaussians.safetensors"))
    return export(gaussians, job.cloud, job.folder.root, out, job.adapters["export"], job.reporter.track) or {}


@dataclass(frozen=True)
class Step:
    """name: its subfolder; groups: config groups that decide its result; inputs: steps whose files it reads;
    outputs: files worth a link at the top of the run folder; editable: whether a file that was changed is a person's
    edit, to be kept, or damage, to be made again."""

    name: str
    title: str
    produce: Callable[[Job, Path], Mapping]
    groups: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    editable: bool = True


STEPS = (
    Step("fov", "the photo's field of view", fov_step, ("fov", "fov_deg")),
    Step("prompts", "what the scene is", prompts_step, ("prompts",)),
    Step(
        "panorama",
        "a panorama round the photo",
        panorama_step,
        ("panorama", "inpainter"),
        ("fov", "prompts"),
        ("panorama.png",),
    ),
    Step("refine", "finer detail", refine_step, ("refine",), ("prompts", "panorama"), ("panorama.png",)),
    Step(
        "depth",
        "metric distances",
        depth_step,
        ("depth",),
        ("prompts", "panorama", "refine"),
        ("distance.png",),
    ),
    Step("lift", "a point cloud", lift_step, ("lift",), ("panorama", "refine", "depth"), editable=False),
    Step(
        "complete",
        "what the photo's place hides",
        complete_step,
        ("complete", "inpainter", "view_depth"),
        ("prompts", "lift"),
        editable=False,
    ),
    Step(
        "splat",
        "Gaussian splats",
        splat_step,
        ("splat", "views"),
        ("fov", "panorama", "refine", "lift", "complete"),
        editable=False,
    ),
    Step(
        "export",
        "files to look at",
        export_step,
        ("export",),
        ("lift", "complete", "splat"),
        ("world.ply", "world.spz", "points.ply", "world.html", "flythrough.mp4"),
    ),
)


def run(
    config: DictConfig, reporter: Reporter, when_done: Callable[[StepResult], None] = lambda result: None
) -> RunFolder:
    """Makes, or finishes, the world that `config` describes; returns its folder. Raises UserError on bad input.

    when_done: is told of each step's result.
    """
    photo = load_photo(Path(config.image))
    adapters = make_adapters(config)
    for name in assets.needed(config):
        assets.fetch(name, reporter.track)
    with RunFolder.open(Path(config.out), photo.sha256, photo.path.name) as folder:
        reporter.log_to(folder.root / "log.txt")
        job = Job(config, adapters, folder, photo, reporter)
        for number, step in enumerate(STEPS, start=1):
            with reporter.step(number, len(STEPS), step.name, step.title) as line:
                line.result = run_step(job, step)
            when_done(line.result)
        with disk_errors(folder.root):
            write_report(folder.root)
    return folder


def run_step(job: Job, step: Step) -> StepResult:
    """Runs one step, unless its files stand for the same config and inputs already."""
    config = {group: _plain(job.config[group]) for group in step.groups} | {"seed": job.config.seed}
    result = job.folder.step(step.name, config, step.inputs, lambda out: step.produce(job, out), step.editable)
    for output in step.outputs:
        if (result.path / output).exists():
            job.folder.link(output, step.name, output)
    return result


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def make_adapters(config: DictConfig) -> dict[str, Any]:
    """Every group's object, all before the first step, so that a wrong setting costs no time. Raises UserError."""
    groups = sorted({group for step in STEPS for group in step.groups if OmegaConf.is_config(config[group])})
    return {group: _make_adapter(config[group]) for group in groups}


def _make_adapter(config: DictConfig) -> Any:
    try:
        return instantiate(config)
    except InstantiationException as error:  # Hydra wraps what a setting's own check says
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from error
        raise
