"""Held-out views: how well the Gaussians show what they were never fitted to, while they are fitted and at the end."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor

from train.lightning.step_callback import StepCallback
from train.splat.module import SplatModule
from worldgen.runs.artifacts import save_image
from worldgen.splat.rasterize import rasterize
from worldgen.types import Gaussians, View

PREDICTED, TRUE = "pred", "true"
_PSNR = "psnr"
_NOTHING = 1e-9  # share of a picture
_SHOWN = 4  # views in the picture that a logger gets


class Metric(Protocol):
    """What `eval.metrics` has: a score of pictures beside the true ones."""

    name: str

    def unavailable(self) -> str | None:
        """Why it cannot be computed here; None if it can."""

    def __call__(self, pictures: Sequence[Tensor], companions: Sequence[Tensor]) -> list[float]:
        """pictures, companions: [3, H, W] in [0, 1], in pairs; a score of each pair."""
        ...


def usable(metrics: Sequence[Metric]) -> list[Metric]:
    """Those that can be computed here."""
    return [metric for metric in metrics if metric.unavailable() is None]


@torch.no_grad()
def renders(gaussians: Gaussians, views: Sequence[View]) -> list[Tensor]:
    """[3, H, W] in [0, 1] of each view, on the CPU; over its background, and the view itself where it is not known."""
    device = gaussians.means.device
    behind = [None if view.background is None else view.background.to(device) for view in views]
    pictures = [
        rasterize(gaussians, view.camera, background).rgb.clamp(0, 1).cpu()
        for view, background in zip(views, behind, strict=True)
    ]
    return [torch.where(view.known, rgb, view.rgb) for rgb, view in zip(pictures, views, strict=True)]


def scores(pictures: Sequence[Tensor], views: Sequence[View], metrics: Sequence[Metric]) -> dict[str, float]:
    """Each metric's mean over the views. PSNR is that of the known pixels; elsewhere the pictures are the true ones,
    which the other metrics, of neighbourhoods, cannot leave out."""
    truths = [view.rgb for view in views]
    found = {metric.name: metric(pictures, truths) for metric in metrics} if truths else {}
    if _PSNR in found:
        shares = [max(view.known.float().mean().item(), _NOTHING) for view in views]
        found[_PSNR] = [value + 10 * math.log10(share) for value, share in zip(found[_PSNR], shares, strict=True)]
    return {name: sum(values) / len(values) for name, values in found.items()}


def save_pairs(folder: Path, pictures: Sequence[Tensor], views: Sequence[View]) -> None:
    """PNG files of the same names in folder/pred and folder/true, as `python -m eval protocol=conditioning` reads."""
    for name, images in ((PREDICTED, pictures), (TRUE, [view.rgb for view in views])):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, rgb in enumerate(images):
            save_image(folder / name / f"{number:03}.png", rgb)


class HeldOut(StepCallback):
    """Logs, every so many steps, the scores of the held-out views and the count of Gaussians; and to loggers that show
    pictures, a picture, and how long it took. The end is logged by who tidies up, by `report`."""

    def __init__(self, views: Sequence[View], metrics: Sequence[Metric], every_steps: int) -> None:
        self.views, self.metrics, self.every_steps = views, metrics, every_steps
        self._began = time.perf_counter()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        super().on_train_start(trainer, module)
        self._began = time.perf_counter()

    def on_step_end(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        assert isinstance(module, SplatModule)
        if step % self.every_steps == 0 and step < trainer.max_steps:
            gaussians = module.gaussians()
            pictures = renders(gaussians, self.views)
            self.report(module, step, len(gaussians), pictures, scores(pictures, self.views, self.metrics))

    def report(
        self,
        module: SplatModule,
        step: int,
        count: int,
        pictures: Sequence[Tensor],
        found: dict[str, float],
    ) -> None:
        """found: scores of the pictures of the held-out views, as `count` Gaussians show them."""
        module.log_values(step, {"gaussians": count, **{f"held_out/{name}": value for name, value in found.items()}})
        self._show(module, step, pictures)

    def _show(self, module: SplatModule, step: int, pictures: Sequence[Tensor]) -> None:
        """The first views above, the true ones below. The seconds are logged here, for no two runs agree on them."""
        logger = module.logger
        if logger is None or not hasattr(logger, "log_image"):
            return
        logger.log_metrics({"seconds": time.perf_counter() - self._began}, step=step)
        if pictures:
            above, below = list(pictures[:_SHOWN]), [view.rgb for view in self.views[:_SHOWN]]
            logger.log_image("held_out", [torch.cat([torch.cat(above, 2), torch.cat(below, 2)], 1)], step=step)
