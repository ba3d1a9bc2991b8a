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
from torch import Tensor

from train.checkpoints import AtomicCheckpointIO, RegularCheckpoints, newest_sound
from train.corrections import Corrections
from train.held_out import HeldOut, Metric, renders, save_pairs, scores, usable
from train.loggers import LossCurve, logging_to, quiet_lightning
from train.module import SplatModule, middle_of
from train.splat import SplatOptimizer, SplatResult
from worldgen.errors import UserError
from worldgen.progress import Track
from worldgen.splat.density import select
from worldgen.splat.holes import cameras_around, removable
from worldgen.splat.initialise import finite, gaussians_from_cloud, thin
from worldgen.splat.losses import photometric_loss
from worldgen.splat.numba_raster import compile_kernels
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians, PointCloud, Scene, SupervisionView

LOG_EVERY_STEPS = 10
HELD_OUT_DIR = "held_out"
_TRANSPARENT = 0.005
_PLACES = 9  # that are looked at before anything is pruned: as many of the cameras' own places, far from each other


def fit_gaussians(
    settings: SplatOptimizer, scene: Scene, out_dir: Path, track: Track, seed: int, metrics: Sequence[Metric] = ()
) -> SplatResult:
    """Gaussians, at first at most `settings.max_gaussians`, fitted to the scene; files as `SplatOptimizer.__call__`
    tells. Raises UserError where there is no point or no view to start from."""
    if not len(scene.cloud) or not scene.views:
        raise UserError(f"splat: {len(scene.cloud)} points and {len(scene.views)} views, wanted at least one of each")
    started = time.perf_counter()
    if not torch.cuda.is_available():
        _compile(settings, track)
    start, sky = initial_gaussians(scene, settings, seed)
    may_go = partial(removable, cameras=cameras_around(_apart(scene.views)))
    module = SplatModule(start, sky, scene.views, settings, seed, may_go)
    _fit(module, scene, usable(metrics), out_dir, _fingerprint(settings, scene, seed), track)
    gaussians = _tidy(module.gaussians(), may_go)
    facts = {
        "steps": settings.steps,
        "gaussians": len(gaussians),
        "panorama_psnr_db": _panorama_psnr_db(gaussians, scene.views),
        **_loss_facts(module.losses),
        **_held_out_facts(gaussians, scene, metrics, out_dir),
        "seconds": round(time.perf_counter() - started, 1),
    }
    return SplatResult(replace(gaussians, **{name: t.cpu() for name, t in gaussians.tensors().items()}), facts)


def initial_gaussians(scene: Scene, settings: SplatOptimizer, seed: int) -> tuple[Gaussians, Tensor]:
    """What the cloud suggests, seen from the middle of the cameras; and bool [N], which are the sky's."""
    middle = middle_of(scene.views)
    cloud = finite(scene.cloud)
    cloud = thin(replace(cloud, xyz=cloud.xyz - middle), settings.max_gaussians, seed)
    gaussians = gaussians_from_cloud(cloud, settings.max_gaussians, settings.sh_degree, seed)
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
    module: SplatModule, scene: Scene, metrics: Sequence[Metric], out_dir: Path, identity: str, track: Track
) -> None:
    """Runs what is left of the optimisation; checkpoints of other arguments are thrown away."""
    settings = module.settings
    if not settings.steps:
        return
    folder = out_dir.parent / "checkpoint"
    for other in folder.glob("*"):
        if other.name != identity:
            shutil.rmtree(other)
    logging = logging_to(settings.logger, out_dir, identity, asdict(settings) | {"scene": scene.name})
    with quiet_lightning(), logging as logger:
        trainer = pl.Trainer(
            max_steps=settings.steps,
            devices=1,
            logger=logger,
            callbacks=[
                LossCurve(LOG_EVERY_STEPS),
                HeldOut(scene.held_out, metrics, settings.evaluate_every),
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
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays KeyboardInterrupt; Lightning makes SystemExit of it, and ignores every later Ctrl-C."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None
        raise


def _tidy(gaussians: Gaussians, may_go: Any) -> Gaussians:
    """Without what is transparent, as far as no hole opens, and what is not finite; detached."""
    sound = torch.ones(len(gaussians), dtype=torch.bool, device=gaussians.means.device)
    for tensor in gaussians.tensors().values():
        sound &= (
            torch.isfinite(tensor.detach()).flatten(start_dim=1).all(dim=1) if tensor.dim() > 1 else tensor.isfinite()
        )
    gaussians = select(gaussians, sound)
    transparent = gaussians.opacity_logits.sigmoid() < _TRANSPARENT
    return select(gaussians, ~may_go(gaussians, transparent))


def _apart(views: Sequence[SupervisionView]) -> Tensor:
    """[P, 3], at most `_PLACES` of the cameras' places, each as far as can be from those before it."""
    places = torch.unique(torch.stack([view.camera.position for view in views]), dim=0)
    chosen = [0]
    while len(chosen) < min(_PLACES, len(places)):
        chosen.append(int(torch.cdist(places, places[chosen]).amin(dim=1).argmax()))
    return places[chosen]


def _loss_facts(losses: Tensor) -> dict[str, float]:
    span = max(1, min(LOG_EVERY_STEPS, len(losses) // 2))
    return {"loss_first": _mean(losses[:span]), "loss_last": _mean(losses[-span:])}


def _held_out_facts(gaussians: Gaussians, scene: Scene, metrics: Sequence[Metric], out_dir: Path) -> dict[str, Any]:
    """Scores of the held-out views, which are left as pictures beside the true ones; and what could not be had."""
    if not scene.held_out:
        return {}
    pictures = renders(gaussians, scene.held_out)
    save_pairs(out_dir / HELD_OUT_DIR, pictures, scene.held_out)
    found = {name: round(value, 4) for name, value in scores(pictures, scene.held_out, usable(metrics)).items()}
    missing = {metric.name: why for metric in metrics if (why := metric.unavailable())}
    return {"held_out_views": len(scene.held_out), **found} | ({"unavailable": missing} if missing else {})


@torch.no_grad()
def _panorama_psnr_db(gaussians: Gaussians, views: Sequence[SupervisionView]) -> float | None:
    """Mean over the views that are exact, over black; None without any."""
    values = []
    for view in views:
        if not view.generated:
            rgb = rasterize(gaussians, view.camera).rgb.clamp(0, 1).cpu()
            values.append(-10 * torch.log10((rgb - view.rgb).square().mean()).item())
    return round(sum(values) / len(values), 2) if values else None


def _fingerprint(settings: SplatOptimizer, scene: Scene, seed: int) -> str:
    """Equal for equal arguments: a checkpoint serves no others."""
    return hashlib.sha256(f"{settings} {seed} {scene_sha256(scene)}".encode()).hexdigest()[:16]


def scene_sha256(scene: Scene) -> str:
    """Of everything that a scene holds, but its name."""
    digest = hashlib.sha256()
    cloud: PointCloud = scene.cloud
    tensors = [cloud.xyz, cloud.rgb, cloud.normals, cloud.spacing, cloud.sky]
    for view in scene.views:
        digest.update(f"{replace(view.camera, c2w=torch.eye(4))} {view.generated}".encode())
        tensors += [view.camera.c2w, view.rgb, view.weight]
    for view in scene.held_out:
        digest.update(f"{replace(view.camera, c2w=torch.eye(4))}".encode())
        tensors += [view.camera.c2w, view.rgb, view.known]
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()


def _mean(values: Tensor) -> float:
    return round(values.mean().item(), 5)
