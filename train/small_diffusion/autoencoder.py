"""The training of the small autoencoder: pictures through few numbers and back."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from train.seeds import generator_of
from train.small_diffusion.module import SmallModule
from train.small_diffusion.settings import AutoencoderSettings
from train.small_diffusion.training_pictures import TrainingPictures

_LATENT_NOISE = 4  # what random numbers are for
_SCALES = 3  # at which differences of neighbours are compared


class AutoencoderModule(SmallModule):
    """Absolute error of pictures and of differences within them, at several scales, and a touch of what keeps the
    latents near a normal distribution. vae: diffusers' AutoencoderKL."""

    def __init__(self, vae: Any, pictures: TrainingPictures, settings: AutoencoderSettings, seed: int) -> None:
        super().__init__(vae, settings.steps, settings.rate)
        self.pictures, self.settings, self.seed = pictures, settings, seed

    def loss_at(self, step: int) -> Tensor:
        """[], of the pieces of a step's pictures."""
        settings = self.settings
        numbers = range(step * settings.batch, (step + 1) * settings.batch)
        rgb = 2 * self.pictures.crops(self.seed, numbers, settings.crop).to(self.device) - 1
        vae: Any = self.network
        answer = vae.encode(rgb).latent_dist
        noise = torch.randn(answer.mean.shape, generator=generator_of(self.seed, step, _LATENT_NOISE))
        back = vae.decode(answer.mean + answer.std * noise.to(rgb)).sample
        spread = answer.kl().mean() / answer.mean[0].numel()
        error = opponent(back - rgb)
        return error.abs().mean() + settings.gradients * edges(error) + settings.kl * spread


def opponent(rgb: Tensor) -> Tensor:
    """[B, 3, H, W] as brightness, red against green, and both against blue: in red, green and blue, errors of
    brightness hide those of colour, which few latents then leave out."""
    red, green, blue = rgb.unbind(dim=1)
    return torch.stack([rgb.mean(dim=1), red - green, (red + green) / 2 - blue], dim=1)


def edges(error: Tensor) -> Tensor:
    """[]: how much neighbouring pixels of an error [B, C, H, W] are apart, over some scales."""
    total = error.new_zeros(())
    for _ in range(_SCALES):
        total = total + error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        error = F.avg_pool2d(error, 2)
    return total / (2 * _SCALES)
