"""The training of the small inpainting network, on latents that are encoded already."""

from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from train.diffusion.objective import Objective, draws
from train.small_diffusion.latent_pool import LatentPool
from train.small_diffusion.module import SmallModule
from train.small_diffusion.settings import DenoiserSettings
from train.small_diffusion.small_networks import new_schedule, unheard_text


class DenoiserModule(SmallModule):
    """The usual loss of a diffusion network (`train.diffusion.objective`). unet: diffusers' UNet2DConditionModel."""

    def __init__(self, unet: Any, pool: LatentPool, settings: DenoiserSettings, seed: int) -> None:
        super().__init__(unet, settings.steps, settings.rate)
        self.pool, self.settings, self.seed = pool, settings, seed
        self.objective = Objective(new_schedule(settings.prediction), settings.min_snr_gamma)
        self.average = AveragedModel(unet, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))

    def loss_at(self, step: int) -> Tensor:
        """[], of a step's samples."""
        batch = self.settings.batch
        numbers = list(range(step * batch, (step + 1) * batch))
        latents, shown = (each.to(self.device) for each in self.pool.samples(numbers))
        drawn = draws(self.seed, numbers, latents.shape[1:], self.objective.timesteps).to(self.device)
        given = torch.cat([self.objective.noisy(latents, drawn), shown], dim=1)
        text = unheard_text(batch).to(latents)
        answer = self.network(given, drawn.timesteps, encoder_hidden_states=text).sample
        return self.objective.loss(answer, latents, drawn)

    def after_step(self) -> None:
        """Moves the average."""
        self.average.update_parameters(self.network)

    def averaged(self) -> Any:
        """The network with the average of its weights."""
        return self.average.module
