"""A finished run folder made of next to nothing: a textured room, its splats, records of steps that never ran."""

import json
from pathlib import Path

import torch

from tests.scenes import BoxRoom
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import directions, from_perspective
from worldgen.io.clouds import save_cloud
from worldgen.io.gaussians import save_gaussians
from worldgen.present.flythrough import FlythroughSettings
from worldgen.recipe.export import ExportSettings, export
from worldgen.runs import artifacts
from worldgen.runs.layout import LAYOUT
from worldgen.runs.reader import CAMERA
from worldgen.runs.steps_table import FOV, STEPS
from worldgen.splat.harmonics import SH_C0
from worldgen.types import Camera, CompletedView, Gaussians, Panorama, PointCloud, View

HEIGHT = 64
FOV_DEG = 80.0
SETTINGS = ExportSettings(headset=None, video=FlythroughSettings(seconds=0.5, fps=8, width=64, height=48))
_STEPS = tuple(step.name for step in STEPS)


def panorama_points(height: int = HEIGHT) -> PointCloud:
    """The room, a point for each pixel of a panorama of that height; normals face the viewer."""
    rays = directions(height, 2 * height).reshape(-1, 3)
    rgb, distance = BoxRoom().trace(torch.zeros(3), rays)
    return PointCloud(rays * distance[:, None], rgb, -rays, distance * torch.pi / height)


def room_splats(height: int = HEIGHT) -> Gaussians:
    """One opaque, round Gaussian per point of `panorama_points`."""
    cloud = panorama_points(height)
    return Gaussians(
        means=cloud.xyz,
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(len(cloud), 1),
        log_scales=(0.6 * cloud.spacing).log()[:, None].repeat(1, 3),
        opacity_logits=torch.full((len(cloud),), 3.0),
        sh=((cloud.rgb - 0.5) / SH_C0)[:, None, :],
    )


def photo_view() -> View:
    """The room as the photo shows it."""
    return BoxRoom().view(Camera.from_fov(64, 48, FOV_DEG))


def write_export(
    run_dir: Path, out: Path, splats: Gaussians | None = None, settings: ExportSettings = SETTINGS
) -> dict:
    """The export step's files and facts."""
    _, distances = BoxRoom().panorama(HEIGHT)
    splats = room_splats() if splats is None else splats
    return export(splats, panorama_points(HEIGHT), photo_view(), distances, run_dir, out, settings)


def write_run(run_dir: Path, photo: str = "room.jpg", facts: dict | None = None) -> Path:
    """Every step's artifacts, and a manifest as `worldgen/runs/folder.py` writes it; `facts` go to the prompts step."""
    for step in _STEPS:
        (run_dir / step).mkdir(parents=True)
    panorama, distances = BoxRoom().panorama(HEIGHT)
    _, seen = from_perspective(torch.zeros(3, 48, 64), Camera.from_fov(64, 48, FOV_DEG), HEIGHT, 2 * HEIGHT)
    artifacts.save_panorama(run_dir / "panorama", Panorama(panorama.rgb, seen))
    artifacts.save_photo_camera(run_dir / FOV / CAMERA, 64, 48, FOV_DEG, "by hand")
    artifacts.save_distances(run_dir / "depth", distances)
    artifacts.save_image(run_dir / "depth" / "distance.png", panorama.rgb)
    cloud, splats = panorama_points(HEIGHT), room_splats()
    save_cloud(run_dir / "lift" / "cloud.safetensors", cloud)
    save_cloud(run_dir / "complete" / "cloud.safetensors", cloud[:10])
    completed = [_completed(yaw_deg) for yaw_deg in (0.0, 90.0)]
    for number, one in enumerate(completed):
        artifacts.save_completed_view(run_dir / "complete", number, one)
    artifacts.save_completed_cameras(run_dir / "complete", [one.view.camera for one in completed])
    save_gaussians(run_dir / "splat" / "gaussians.safetensors", splats)
    (run_dir / "splat" / "metrics.csv").write_text("step,loss,psnr_db\n0,0.5,\n10,0.25,20\n20,0.125,25\n")
    found = {"prompts": facts or {}, "export": write_export(run_dir, run_dir / "export")}
    steps = {name: _record(name, found.get(name, {})) for name in _STEPS}
    photo_of = {"name": photo, "sha256": "0" * 64}
    manifest = {"layout": LAYOUT, "photo": photo_of, "edited_by_hand": {}, "steps": steps}
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    return run_dir


def _completed(yaw_deg: float) -> CompletedView:
    view = BoxRoom().view(Camera.from_fov(48, 48, 90, look_at(yaw_deg)))
    inpainted = torch.zeros(48, 48, dtype=torch.bool)
    inpainted[10:30, 10:30] = True
    return CompletedView(view, inpainted)


def _record(name: str, facts: dict) -> dict:
    cost = {"seconds": 75.0, "peak_memory_mb": 1234.0}
    return {"name": name, "config": {name: {"a": 1}}, "facts": facts, "versions": {"torch": "2"}, "assets": {}} | cost
