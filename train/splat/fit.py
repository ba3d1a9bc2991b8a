"""One fit, from a scene to the finished Gaussians: set up, run or go on, tidy up, and tell what came of it."""

import hashlib
import shutil
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor

from train.lightning.checkpoints import AtomicCheckpointIO, RegularCheckpoints, newest_sound
from train.lightning.loggers import LossCurve, logging_to, quiet_lightning
from train.splat.corrections import Corrections
from train.splat.held_out import HeldOut, Metric, renders, save_pairs, scores, usable
from train.splat.module import SplatModule, middle_of
from train.splat.settings import SplatOptimizer, SplatResult
from worldgen.errors import UserError
from worldgen.progress import Track
from worldgen.splat.density import Prunable, select
from worldgen.splat.initialise import finite, gaussians_from_cloud, thin
from worldgen.splat.kernels.raster import compile_kernels
from worldgen.splat.losses import photometric_loss
from worldgen.splat.prune_guard import cameras_around, removable
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians, PointCloud, Scene, SupervisionView

LOG_EVERY_STEPS = 10
HELD_OUT_DIR = "held_out"
_TRANSPARENT = 0.005
_VERSION = 1  # raised when the same arguments come to make something else
_PLACES = 9  # that are looked at before anything is pruned: as many of the cameras' own places, far from each other


def fit_gaussians(
    settings: SplatOptimizer, scene: Scene, out_dir: Path, track: Track, seed: int, metrics: Sequence[Metric] = ()
) -> SplatResult:
    """Gaussians, at first at most `settings.max_gaussians`, fitted to the scene; files as `SplatOptimizer.__call__`
    tells. Raises UserError where there is no point or no view to start from, or nothing is left in the end."""
    if not len(scene.cloud) or not scene.views:
        raise UserError(f"splat: {len(scene.cloud)} points and {len(scene.views)} views, wanted at least one of each")
    if not any(bool(view.weight.any()) for view in scene.views):
        raise UserError(f"splat: no pixel of {len(scene.views)} views counts (masks or alpha hide all), wanted some")
    started = time.perf_counter()
    if not torch.cuda.is_available():
        _compile(settings, track)
    start, sky = initial_gaussians(scene, settings, seed)
    prunable = partial(removable, cameras=cameras_around(_apart(scene.views)))
    module = SplatModule(start, sky, scene.views, settings, seed, prunable)
    held_out = HeldOut(scene.held_out, usable(metrics), settings.evaluate_every)
    identity = _fingerprint(settings, scene, seed)
    told = asdict(settings) | {"scene": scene.name}
    with quiet_lightning(), logging_to(settings.logger, out_dir, identity, told) as logger:
        _fit(module, held_out, logger, out_dir, identity, track)
        gaussians = _tidy(_where_they_were_fitted(module.gaussians()), prunable)
        facts = {
            "steps": settings.steps,
            "gaussians": len(gaussians),
            **_psnr_facts(gaussians, scene.views),
            **_loss_facts(module.losses),
            **_held_out_facts(gaussians, module, held_out, metrics, out_dir),
        }
    shutil.rmtree(_checkpoints(out_dir), ignore_errors=True)
    facts["seconds"] = round(time.perf_counter() - started, 1)
    return SplatResult(gaussians.map(torch.Tensor.cpu), facts)


def initial_gaussians(scene: Scene, settings: SplatOptimizer, seed: int) -> tuple[Gaussians, Tensor]:
    """What the cloud suggests, seen from the middle of the cameras; and bool [N], which are the sky's."""
    middle = middle_of(scene.views)
    cloud = finite(scene.cloud)
    cloud = thin(replace(cloud, xyz=cloud.xyz - middle), settings.max_gaussians, seed)
    gaussians = gaussians_from_cloud(cloud, settings.max_gaussians, settings.sh_degree, seed, scene.guessed)
    return replace(gaussians, means=gaussians.means + middle), cloud.sky


class _Bar(pl.Callback):
    """Moves the bar of a `Track`, from where a resumed run stands."""

    def __init__(self, track: Track, steps: int) -> None:
        self.items: Iterator = track(range(steps), steps, "fitting Gaussians")

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for _ in range(trainer.global_step + 1):
            next(self.items, None)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        next(self.items, None)

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Takes the bar away, also after an exception."""
        if isinstance(self.items, Generator):
            self.items.close()


def _compile(settings: SplatOptimizer, track: Track) -> None:
    """Compiles all kernels, or loads them from numba's cache, so that the first step need not."""
    compile_kernels(track)
    views = [SupervisionView(Camera.from_fov(8, 8, 90.0), torch.rand(3, 8, 8), torch.ones(8, 8), generated=True)]
    corrections = Corrections(settings.correction, [True], 0)
    for view in track(views, 1, "compiling the loss (once per machine)"):
        rgb = corrections(view.rgb.clone().requires_grad_(), 0)
        photometric_loss(rgb, view.rgb, view.weight).backward()


def _fit(
    module: SplatModule, held_out: HeldOut, logger: Logger | bool, out_dir: Path, identity: str, track: Track
) -> None:
    """Runs what is left of the optimisation; checkpoints of other arguments are thrown away."""
    settings = module.settings
    if not settings.steps:
        return
    folder = _checkpoints(out_dir)
    for other in folder.glob("*"):
        if other.name != identity:
            shutil.rmtree(other, ignore_errors=True)
    trainer = pl.Trainer(
        max_steps=settings.steps,
        devices=1,
        logger=logger,
        callbacks=[
            LossCurve(LOG_EVERY_STEPS),
            held_out,
            RegularCheckpoints(folder / identity, settings.checkpoint_every),
            _Bar(track, settings.steps),
        ],
        plugins=[AtomicCheckpointIO(module.state_dict())],
        default_root_dir=out_dir,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with _interruptible():
        trainer.fit(module, range(settings.steps), ckpt_path=newest_sound(folder / identity))


def _checkpoints(out_dir: Path) -> Path:
    """Beside the step's folder, so that they outlive it, under a name that nobody gives to what is their own."""
    return out_dir.parent / ".checkpoints"


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays KeyboardInterrupt; Lightning makes SystemExit of it, and ignores every later Ctrl-C. SIGTERM ends
    the process with the status that shells know; Lightning's own would be 0."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None
        raise SystemExit(128 + signal.SIGTERM) from error


def _where_they_were_fitted(gaussians: Gaussians) -> Gaussians:
    """On the GPU if there is one: Lightning takes a module to the CPU when it is done."""
    if not torch.cuda.is_available():
        return gaussians
    return gaussians.map(lambda tensor: tensor.detach().cuda())


def _tidy(gaussians: Gaussians, prunable: Prunable) -> Gaussians:
    """Without what is transparent, as far as no hole opens, and what is not finite; detached."""
    numbers = torch.cat([tensor.detach().reshape(len(gaussians), -1) for tensor in gaussians.tensors().values()], dim=1)
    gaussians = select(gaussians, numbers.isfinite().all(dim=1))
    transparent = gaussians.opacity_logits.sigmoid() < _TRANSPARENT
    gaussians = select(gaussians, ~prunable(gaussians, transparent))
    if not len(gaussians):
        raise UserError("splat: no Gaussian is left that is finite and shows; wanted other points, views or rates")
    return gaussians


def _apart(views: Sequence[SupervisionView]) -> Tensor:
    """[P, 3], at most `_PLACES` of the cameras' places, each as far as can be from those before it."""
    places = torch.unique(torch.stack([view.camera.position for view in views]), dim=0)
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
        held_out.tell(module, module.settings.steps, len(gaussians), pictures, found)
    missing = {metric.name: why for metric in metrics if (why := metric.unavailable())}
    rounded = {name: round(value, 4) for name, value in found.items()}
    return {"held_out_views": len(held_out.views), **rounded} | ({"unavailable": missing} if missing else {})


@torch.no_grad()
def _psnr_facts(gaussians: Gaussians, views: Sequence[SupervisionView]) -> dict[str, float]:
    """Mean PSNR over the views that are exact, where they count; over black, or over white where they are empty
    somewhere. None without any.

    Beside generated views, the exact ones are the panorama's.
    """
    exact = [view for view in views if not view.generated and bool(view.weight.any())]
    values = []
    for view in exact:
        behind = torch.full((3,), 0.0 if view.alpha is None else 1.0)
        rgb = rasterize(gaussians, view.camera, behind.to(gaussians.means.device)).rgb.clamp(0, 1).cpu()
        error = (rgb - view.over(behind)).square().mean(dim=0)
        values.append(-10 * torch.log10((error * view.weight).sum() / view.weight.sum()).item())
    name = "panorama_psnr_db" if any(view.generated for view in views) else "fitted_psnr_db"
    return {name: round(sum(values) / len(values), 2)} if values else {}


def _fingerprint(settings: SplatOptimizer, scene: Scene, seed: int) -> str:
    """Equal for arguments that make the same of the same: a checkpoint serves no others."""
    telling = replace(settings, logger="none", evaluate_every=1, checkpoint_every=1)
    return hashlib.sha256(f"{_VERSION} {telling} {seed} {scene_sha256(scene)}".encode()).hexdigest()[:16]


def scene_sha256(scene: Scene) -> str:
    """Of everything that a scene holds, but its name."""
    digest = hashlib.sha256()
    cloud: PointCloud = scene.cloud
    tensors = [cloud.xyz, cloud.rgb, cloud.normals, cloud.spacing, cloud.sky]
    for view in scene.views:
        digest.update(f"{replace(view.camera, c2w=torch.eye(4))} {view.generated}".encode())
        tensors += [view.camera.c2w, view.rgb, view.weight, *([] if view.alpha is None else [view.alpha])]
    for view in scene.held_out:
        digest.update(f"{replace(view.camera, c2w=torch.eye(4))}".encode())
        tensors += [view.camera.c2w, view.rgb, view.known, *([] if view.background is None else [view.background])]
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy())
    digest.update(b"guessed" * scene.guessed)
    return digest.hexdigest()


def _mean(values: Tensor) -> float:
    return round(values.mean().item(), 5)
