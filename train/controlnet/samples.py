"""What a ControlNet paints while it is trained: pictures to look at, and how near the truth they are."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from train.controlnet.module import ControlNetModule
from train.data.pairs import ConditionedBatch
from train.lightning.step_callback import StepCallback
from worldgen.models.controlnet import condition, steered_pipeline
from worldgen.models.diffusion import DiffusionInpainter
from worldgen.runs.artifacts import save_image
from worldgen.types import Prompt


@torch.no_grad()
def paint(inpainter: DiffusionInpainter, network: Any, batch: ConditionedBatch, seeds: Sequence[int]) -> Tensor:
    """[B, 3, H, W] in [0, 1] on the CPU: what the networks make of the batch's conditions, known pixels included, which
    the recipe would put back. network: the ControlNet; None = the inpainter alone."""
    known = batch.known.float()
    asked = batch.condition, known, [Prompt(text) for text in batch.prompts], seeds
    if network is None:
        return inpainter.fill(*asked, as_painted=True).cpu()
    was_training = network.training
    pipe = steered_pipeline(inpainter.pipe, network.eval())
    painted = inpainter.fill(*asked, pipe, condition, as_painted=True)
    network.train(was_training)
    return painted.cpu()


def psnr_db(painted: Tensor, batch: ConditionedBatch) -> dict[str, float]:
    """Mean over the batch of the PSNR to the target: of `all` pixels, of `known` ones and of those in `holes`; of
    pictures that have any."""
    error = (painted - batch.rgb).square().mean(dim=1)
    found = {}
    for name, counts in (("all", torch.ones_like(batch.known)), ("known", batch.known), ("holes", ~batch.known)):
        values = [
            -10 * math.log10(max(float(one[where].mean()), 1e-10))
            for one, where in zip(error, counts, strict=True)
            if bool(where.any())
        ]
        if values:
            found[name] = sum(values) / len(values)
    return found


def sheet(painted: Tensor, batch: ConditionedBatch) -> Tensor:
    """[3, B * H, 4 * W]: condition, mask, what was painted and the target of each, a row for each."""
    mask = batch.known[:, None].float().expand_as(batch.rgb)
    rows = torch.cat([batch.condition, mask, painted, batch.rgb], dim=3)
    return torch.cat(list(rows), dim=1)


class PaintedSamples(StepCallback):
    """Every so many steps, what the ControlNet makes of one batch: a picture in `folder`, PSNR in the curves."""

    def __init__(self, batch: ConditionedBatch, every_steps: int, folder: Path, seed: int) -> None:
        self.batch, self.every_steps, self.folder, self._seed = batch, every_steps, folder, seed

    def on_step_end(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        assert isinstance(module, ControlNetModule)
        if step % self.every_steps and step != trainer.max_steps:
            return
        network = module.whole_result()
        if trainer.is_global_zero:
            self._show(module, network, step)

    def _show(self, module: ControlNetModule, network: Any, step: int) -> None:
        seeds = [self._seed + number for number in self.batch.numbers]
        painted = paint(module.inpainter, network.to(module.device), self.batch, seeds)
        module.log_values(step, {f"psnr/{name}": value for name, value in psnr_db(painted, self.batch).items()})
        picture = sheet(painted, self.batch)
        self.folder.mkdir(parents=True, exist_ok=True)
        save_image(self.folder / f"step-{step:08}.png", picture)
        if module.logger is not None and hasattr(module.logger, "log_image"):
            module.logger.log_image("samples", [picture], step=step)
