"""The fit of Gaussians to pictures, as a Lightning module (paper, "3DGS" and "Trainable distortion").

The rates are Splatfacto's, but for two things. A scene here reaches from arm's length to the horizon, so a Gaussian
moves in proportion to its distance from the origin. And there is neither densification nor the opacity reset: the
cloud is dense from the start, and only what ended up transparent is removed at the end.
"""

import hashlib
import math
import shutil
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from train.checkpoints import AtomicCheckpointIO, RegularCheckpoints, newest_sound
from train.loggers import LossCurve, make_logger, quiet_lightning
from train.splat import SplatOptimizer, SplatResult
from worldgen.errors import UserError
from worldgen.progress import Track
from worldgen.splat.distortion import DistortionField, warp
from worldgen.splat.initialise import gaussians_from_cloud
from worldgen.splat.losses import photometric_loss
from worldgen.splat.numba_raster import compile_kernels
from worldgen.splat.rasterize import rasterize
from worldgen.types import Gaussians, PointCloud, SupervisionView

LOG_EVERY_STEPS = 10
_CROP_MARGIN_PX = 16  # what a warp may read beyond the supervised part of a view
_TRANSPARENT = 0.005


def fit_gaussians(
    settings: SplatOptimizer,
    cloud: PointCloud,
    views: Sequence[SupervisionView],
    out_dir: Path,
    track: Track,
    seed: int,
) -> SplatResult:
    """At most `settings.max_gaussians` Gaussians, fitted to the views; files as `SplatOptimizer.__call__` tells.

    Raises UserError where there is no point or no view to start from.
    """
    if not len(cloud) or not views:
        raise UserError(f"splat: {len(cloud)} points and {len(views)} views, wanted at least one of each")
    started = time.perf_counter()
    if not torch.cuda.is_available():
        _compile(track)
    module = SplatModule(
        gaussians_from_cloud(cloud, settings.max_gaussians, settings.sh_degree, seed), views, settings, seed
    )
    identity = _fingerprint(settings, cloud, views, seed)
    _fit(module, out_dir, identity, track)
    gaussians = _visible(module.gaussians())
    span = max(1, min(LOG_EVERY_STEPS, settings.steps // 2))
    facts = {
        "steps": settings.steps,
        "gaussians": len(gaussians),
        "panorama_psnr_db": _panorama_psnr_db(gaussians, views),
        "loss_first": _mean(module.losses[:span]),
        "loss_last": _mean(module.losses[-span:]),
        "seconds": round(time.perf_counter() - started, 1),
    }
    return SplatResult(replace(gaussians, **{name: t.cpu() for name, t in gaussians.tensors().items()}), facts)


class SplatModule(pl.LightningModule):
    """The Gaussians and the distortion field as parameters, and one step of their optimisation.

    What a step draws (its view, its background) follows from the seed and the step's number alone, so that a resumed
    run sees what an uninterrupted one does.
    """

    def __init__(
        self, gaussians: Gaussians, views: Sequence[SupervisionView], settings: SplatOptimizer, seed: int
    ) -> None:
        super().__init__()
        self.settings = settings
        self.views = [crop(view) for view in views]
        self.order = view_order([view.generated for view in views], settings.steps, seed)
        draw = torch.Generator().manual_seed(seed)
        self.backgrounds = torch.rand(settings.steps, 3, generator=draw)
        self.register_buffer("losses", torch.zeros(settings.steps))
        self.register_buffer("start", gaussians.means)
        self.register_buffer("reach_m", gaussians.means.norm(dim=1, keepdim=True).clamp(min=0.1))
        self.shift = nn.Parameter(torch.zeros_like(gaussians.means))
        self.quats = nn.Parameter(gaussians.quats)
        self.log_scales = nn.Parameter(gaussians.log_scales)
        self.opacity_logits = nn.Parameter(gaussians.opacity_logits)
        self.colour = nn.Parameter(gaussians.sh[:, :1].contiguous())
        self.sh = nn.Parameter(gaussians.sh[:, 1:].contiguous())
        # Panorama views are never distorted: they agree with each other, and hold the world in place. Were every view
        # free to move, the world could drift as far as the fields follow it.
        numbers = [index for index, view in enumerate(views) if view.generated]
        self.distorted = {index: number for number, index in enumerate(numbers)} if settings.distortion else {}
        self.field = DistortionField(len(numbers), settings.distortion_grid, seed) if self.distorted else None

    def gaussians(self) -> Gaussians:
        """As they are now, on this module's device."""
        sh = torch.cat([self.colour, self.sh], dim=1) if self.sh.shape[1] else self.colour
        means = torch.addcmul(self.start, self.shift, self.reach_m)
        antialiased = self.settings.antialiased
        return Gaussians(means, self.quats, self.log_scales, self.opacity_logits, sh, antialiased)

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        step = self.global_step
        number = self.order[step]
        view, background = self.views[number], self.backgrounds[step].to(self.device)
        rgb = rasterize(self.gaussians(), view.camera, background).rgb
        if number in self.distorted:
            rgb = self.field(rgb, self.distorted[number])
        target, weight = view.rgb.to(self.device), view.weight.to(self.device)
        loss = photometric_loss(rgb, target, weight, self.settings.ssim_share)
        self.losses[step] = loss.detach()
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        s = self.settings
        rates = {
            "shift": s.means_rate,
            "quats": s.quats_rate,
            "log_scales": s.log_scales_rate,
            "opacity_logits": s.opacity_rate,
            "colour": s.colour_rate,
            "sh": s.sh_rate,
        }
        groups = [{"params": [getattr(self, name)], "lr": rate} for name, rate in rates.items()]
        if self.field is not None:
            groups.append({"params": list(self.field.parameters()), "lr": s.distortion_rate})
        optimiser = torch.optim.Adam(groups, eps=1e-15, fused=True)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, s.last_rate ** (1 / s.steps))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


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


def crop(view: SupervisionView) -> SupervisionView:
    """The part of a view that counts, with a margin; what lies outside need not be rendered.

    Weights are scaled so that the mean over the part is what the mean over the whole view was. A view in which nothing
    counts stays as it is.
    """
    rows, columns = (torch.nonzero(view.weight.amax(dim=axis) > 0)[:, 0] for axis in (1, 0))
    if not len(rows):
        return view
    (height, width), margin = view.weight.shape, _CROP_MARGIN_PX
    top, bottom = max(0, int(rows[0]) - margin), min(height, int(rows[-1]) + 1 + margin)
    left, right = max(0, int(columns[0]) - margin), min(width, int(columns[-1]) + 1 + margin)
    part = slice(top, bottom), slice(left, right)
    camera = replace(
        view.camera,
        width=right - left,
        height=bottom - top,
        cx=view.camera.cx - left,
        cy=view.camera.cy - top,
    )
    share = (bottom - top) * (right - left) / (height * width)
    rgb, weight = view.rgb[:, *part].contiguous(), (view.weight[part] * share).contiguous()
    return SupervisionView(camera, rgb, weight, view.generated)


def view_order(generated: Sequence[bool], steps: int, seed: int) -> list[int]:
    """Which view each step looks at: rounds in random order, every view of a kind as often as any other.

    A round holds each generated view once, and each panorama view so often that they are at least half of it: the
    panorama is what the world must look like, and only it is supervised in full.
    """
    made, panorama = (np.flatnonzero(np.array(generated) == kind) for kind in (True, False))
    repeats = max(1, math.ceil(len(made) / len(panorama))) if len(panorama) else 0
    whole_round = np.concatenate([made, np.repeat(panorama, repeats)])
    draw = np.random.default_rng(seed)
    rounds = [draw.permutation(whole_round) for _ in range(math.ceil(steps / len(whole_round)))]
    return np.concatenate([*rounds, whole_round[:0]])[:steps].tolist()


def _compile(track: Track) -> None:
    """Compiles all kernels, or loads them from numba's cache, so that the first step need not."""
    compile_kernels(track)
    picture, offsets, weight = torch.rand(3, 8, 8), torch.zeros(2, 2, 2, requires_grad=True), torch.ones(8, 8)
    for _ in track(("loss",), 1, "compiling the loss (once per machine)"):
        photometric_loss(warp(picture, offsets), picture, weight).backward()


def _fit(module: SplatModule, out_dir: Path, identity: str, track: Track) -> None:
    """Runs what is left of the optimisation; checkpoints of other arguments are thrown away."""
    settings = module.settings
    if not settings.steps:
        return
    folder = out_dir.parent / "checkpoint"
    for other in folder.glob("*"):
        if other.name != identity:
            shutil.rmtree(other)
    with quiet_lightning():
        trainer = pl.Trainer(
            max_steps=settings.steps,
            devices=1,
            logger=make_logger(settings.logger, out_dir, identity),
            callbacks=[
                RegularCheckpoints(folder / identity, settings.checkpoint_every),
                LossCurve(LOG_EVERY_STEPS),
                _Bar(track, settings.steps),
            ],
            plugins=[AtomicCheckpointIO()],
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


def _visible(gaussians: Gaussians) -> Gaussians:
    """Without what is transparent and what is not finite; detached."""
    tensors = {name: tensor.detach() for name, tensor in gaussians.tensors().items()}
    kept = tensors["opacity_logits"].sigmoid() >= _TRANSPARENT
    for tensor in tensors.values():
        kept &= torch.isfinite(tensor).flatten(1).all(dim=1) if tensor.dim() > 1 else torch.isfinite(tensor)
    return replace(gaussians, **{name: tensor[kept] for name, tensor in tensors.items()})


@torch.no_grad()
def _panorama_psnr_db(gaussians: Gaussians, views: Sequence[SupervisionView]) -> float | None:
    """Mean over the views of the panorama, over black; None without any."""
    values = []
    for view in views:
        if not view.generated:
            rgb = rasterize(gaussians, view.camera).rgb.clamp(0, 1).cpu()
            values.append(-10 * torch.log10((rgb - view.rgb).square().mean()).item())
    return round(sum(values) / len(values), 2) if values else None


def _fingerprint(settings: SplatOptimizer, cloud: PointCloud, views: Sequence[SupervisionView], seed: int) -> str:
    """Equal for equal arguments: a checkpoint serves no others."""
    digest = hashlib.sha256(f"{settings} {seed} {len(cloud)}".encode())
    tensors = [cloud.xyz, cloud.rgb, cloud.normals, cloud.spacing]
    for view in views:
        digest.update(f"{replace(view.camera, c2w=torch.eye(4))} {view.generated}".encode())
        tensors += [view.camera.c2w, view.rgb, view.weight]
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()[:16]


def _mean(values: Tensor) -> float:
    return round(values.mean().item(), 5)
