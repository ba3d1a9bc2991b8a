"""One fit, from a scene to the finished Gaussians: set up, run or go on, tidy up, and tell what came of it."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.lightning.loggers import logging_to, quiet_lightning
from train.lightning.settings import TrainingSettings
from train.lightning.trainer import drop_checkpoints, train_module
from train.splat.corrections import Corrections
from train.splat.held_out import HeldOut, Metric, renders, save_pairs, scores, usable
from train.splat.identity import fingerprint
from train.splat.module import SplatModule
from train.splat.settings import SplatResult, SplatSettings
from train.splat.view_levels import survey
from worldgen.errors import UserError
from worldgen.progress import Track
from worldgen.splat.density import Prunable, select
from worldgen.splat.initialise import finite, gaussians_from_cloud, thin
from worldgen.splat.kernels.raster import compile_kernels
from worldgen.splat.losses import photometric_loss
from worldgen.splat.prune_guard import cameras_around, removable
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians, Scene, SupervisionView

LOG_EVERY_STEPS = 10
HELD_OUT_DIR = "held_out"
_TRANSPARENT = 0.005
_PLACES = 9  # that are looked at before anything is pruned: as many of the cameras' own places, far from each other


def fit_gaussians(
    settings: SplatSettings,
    scene: Scene,
    out_dir: Path,
    track: Track,
    seed: int,
    metrics: Sequence[Metric],
    device: torch.device,
) -> SplatResult:
    """Gaussians, at first at most `settings.max_gaussians`, fitted to the scene; files as the optimizer
    tells. Raises UserError where there is no point or no view to start from, or nothing is left in the end."""
    if not len(scene.cloud) or not scene.views:
        raise UserError(f"splat: {len(scene.cloud)} points and {len(scene.views)} views, wanted at least one of each")
    views = survey(scene.views)
    if not views.counts:
        raise UserError(f"splat: no pixel of {len(scene.views)} views counts (masks or alpha hide all), wanted some")
    started = time.perf_counter()
    if device.type == "cpu":
        _compile(settings, track)
    start, sky = initial_gaussians(scene, views.middle, settings, seed)
    prunable = partial(removable, cameras=cameras_around(_apart(views.cameras)))
    module = SplatModule(start, sky, scene.views, views, settings, seed, prunable)
    held_out = HeldOut(scene.held_out, usable(metrics), settings.evaluate_every)
    identity = fingerprint(settings, scene, seed)
    told = {"splat": asdict(settings), "scene": scene.name, "seed": seed}
    accelerator = {"accelerator": "cpu" if device.type == "cpu" else "gpu"}
    training = TrainingSettings(
        settings.steps, "fitting Gaussians", settings.checkpoint_every, LOG_EVERY_STEPS, accelerator
    )
    with quiet_lightning(), logging_to(settings.logger, out_dir, identity, told, "fit") as logger:
        train_module(module, range(settings.steps), training, out_dir, identity, logger, track, [held_out])
        gaussians = _tidy(_onto(module.gaussians(), device), prunable)
        facts = {
            "steps": settings.steps,
            "gaussians": len(gaussians),
            **_psnr_facts(gaussians, scene.views, views.generated),
            **_loss_facts(module.losses),
            **_held_out_facts(gaussians, module, held_out, metrics, out_dir),
        }
    drop_checkpoints(out_dir)
    facts["seconds"] = round(time.perf_counter() - started, 1)
    return SplatResult(gaussians.map(torch.Tensor.cpu), facts)


def initial_gaussians(scene: Scene, middle: Tensor, settings: SplatSettings, seed: int) -> tuple[Gaussians, Tensor]:
    """What the cloud suggests, seen from the `middle` [3] of the cameras; and bool [N], which are the sky's."""
    cloud = finite(scene.cloud)
    cloud = thin(replace(cloud, xyz=cloud.xyz - middle), settings.max_gaussians, seed)
    gaussians = gaussians_from_cloud(cloud, settings.max_gaussians, settings.sh_degree, seed, scene.guessed)
    return replace(gaussians, means=gaussians.means + middle), cloud.sky


def _compile(settings: SplatSettings, track: Track) -> None:
    """Compiles all kernels, or loads them from numba's cache, so that the first step need not."""
    compile_kernels(track)
    views = [SupervisionView(Camera.from_fov(8, 8, 90.0), torch.rand(3, 8, 8), torch.ones(8, 8), generated=True)]
    corrections = Corrections(settings.correction, [True], 0)
    for view in track(views, 1, "compiling the loss (once per machine)"):
        rgb = corrections(view.rgb.clone().requires_grad_(), 0)
        photometric_loss(rgb, view.rgb, view.weight).backward()


def _onto(gaussians: Gaussians, device: torch.device) -> Gaussians:
    """Back to where they were fitted: Lightning takes a module to the CPU when it is done."""
    return gaussians if device.type == "cpu" else gaussians.map(lambda tensor: tensor.detach().to(device))


def _tidy(gaussians: Gaussians, prunable: Prunable) -> Gaussians:
    """Without what is transparent, as far as no hole opens, and what is not finite; detached."""
    numbers = torch.cat([tensor.detach().reshape(len(gaussians), -1) for tensor in gaussians.tensors().values()], dim=1)
    gaussians = select(gaussians, numbers.isfinite().all(dim=1))
    transparent = gaussians.opacity_logits.sigmoid() < _TRANSPARENT
    gaussians = select(gaussians, ~prunable(gaussians, transparent))
    if not len(gaussians):
        raise UserError("splat: no Gaussian is left that is finite and shows; wanted other points, views or rates")
    return gaussians


def _apart(cameras: Sequence[Camera]) -> Tensor:
    """[P, 3], at most `_PLACES` of the cameras' places, each as far as can be from those before it."""
    places = torch.unique(torch.stack([camera.position for camera in cameras]), dim=0)
    chosen = [0]
    while len(chosen) < min(_PLACES, len(places)):
        chosen.append(int(torch.cdist(places, places[chosen]).amin(dim=1).argmax()))
    return places[chosen]


def _loss_facts(losses: Tensor) -> dict[str, float]:
    """Mean losses at the beginning and at the end; none without steps."""
    if not len(losses):
        return {}
    span = max(1, min(LOG_EVERY_STEPS, len(losses) // 2))
    return {"loss_first": _mean(losses[:span]), "loss_last": _mean(losses[-span:])}


def _held_out_facts(
    gaussians: Gaussians, module: SplatModule, held_out: HeldOut, metrics: Sequence[Metric], out_dir: Path
) -> dict[str, Any]:
    """Scores of the held-out views, which are left as pictures beside the true ones; and what could not be had."""
    if not held_out.views:
        return {}
    pictures = renders(gaussians, held_out.views)
    save_pairs(out_dir / HELD_OUT_DIR, pictures, held_out.views)
    found = scores(pictures, held_out.views, held_out.metrics)
    if module.settings.steps:
        held_out.report(module, module.settings.steps, len(gaussians), pictures, found)
    missing = {metric.name: why for metric in metrics if (why := metric.unavailable())}
    rounded = {name: round(value, 4) for name, value in found.items()}
    return {"held_out_views": len(held_out.views), **rounded} | ({"unavailable": missing} if missing else {})


@torch.no_grad()
def _psnr_facts(gaussians: Gaussians, views: Sequence[SupervisionView], generated: Sequence[bool]) -> dict[str, float]:
    """Mean PSNR over the views that are exact, where they count; over black, or over white where they are empty
    somewhere. None without any.

    Beside generated views, the exact ones are the panorama's.
    """
    values = []
    for view in (views[number] for number, made in enumerate(generated) if not made):
        if not bool(view.weight.any()):
            continue
        behind = torch.full((3,), 0.0 if view.alpha is None else 1.0)
        rgb = rasterize(gaussians, view.camera, behind.to(gaussians.means.device)).rgb.clamp(0, 1).cpu()
        error = (rgb - view.over(behind)).square().mean(dim=0)
        values.append(-10 * torch.log10((error * view.weight).sum() / view.weight.sum()).item())
    name = "panorama_psnr_db" if any(generated) else "fitted_psnr_db"
    return {name: round(sum(values) / len(values), 2)} if values else {}


def _mean(values: Tensor) -> float:
    return round(values.mean().item(), 5)
