"""What a denoising network is asked for, and how much each answer counts: by diffusers' schedule, noise by sample.

What is drawn for a sample follows from the seed and the sample's number alone: neither its batch, nor its rank, nor
what came before it changes that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from train.seeds import generator_of
from worldgen.errors import expect

_PURPOSE = 1  # apart from what the data draw by the same two numbers
PREDICTIONS = ("epsilon", "v_prediction", "sample")


@dataclass(frozen=True, eq=False)
class Draws:
    """What is drawn for B samples. noise: [B, C, h, w]; timesteps: int64 [B]; of_latents: [B, C, h, w], the noise of
    the autoencoder's own answers; chance: [B] in [0, 1], for whatever else is left to it."""

    noise: Tensor
    timesteps: Tensor
    of_latents: Tensor
    chance: Tensor

    def to(self, device: torch.device) -> "Draws":
        return Draws(*(each.to(device) for each in (self.noise, self.timesteps, self.of_latents, self.chance)))


def draws(seed: int, numbers: Sequence[int], shape: Sequence[int], timesteps: int) -> Draws:
    """For the samples of these numbers; shape: (C, h, w) of one's latents; timesteps: of the schedule."""
    drawn = [_draw(generator_of(seed, number, _PURPOSE), shape, timesteps) for number in numbers]
    return Draws(*(torch.stack(parts) for parts in zip(*drawn, strict=True)))


def _draw(generator: torch.Generator, shape: Sequence[int], timesteps: int) -> tuple[Tensor, ...]:
    timestep = torch.randint(timesteps, (), generator=generator)
    chance = torch.rand((), generator=generator)
    noise, of_latents = torch.randn(2, *shape, generator=generator)
    return noise, timestep, of_latents, chance


class Objective:
    """The mean squared error that a network is trained by.

    scheduler: of a pipeline of diffusers, whose betas and prediction_type count; its kind does not. min_snr_gamma: the
    weight of a timestep is what its signal to noise ratio exceeds by no more than this (Hang et al., ICCV 2023); None =
    all weigh the same.
    """

    def __init__(self, scheduler: Any, min_snr_gamma: float | None = None) -> None:
        """Raises UserError for a schedule without betas (flow matching) or an unknown prediction."""
        from diffusers import DDPMScheduler

        name = type(scheduler).__name__
        fits = "beta_schedule" in scheduler.config
        expect(
            "inpainter", f"scheduler {name}", fits, "a checkpoint of SDXL or Stable Diffusion, whose noise has betas"
        )
        self.schedule = DDPMScheduler.from_config(scheduler.config)
        self.prediction = self.schedule.config["prediction_type"]
        expect("inpainter: prediction_type", self.prediction, self.prediction in PREDICTIONS, " or ".join(PREDICTIONS))
        fits = min_snr_gamma is None or min_snr_gamma > 0
        expect("min_snr_gamma", min_snr_gamma, fits, "more than 0, or null")
        self.min_snr_gamma = min_snr_gamma

    @property
    def timesteps(self) -> int:
        return int(self.schedule.config["num_train_timesteps"])

    def noisy(self, latents: Tensor, drawn: Draws) -> Tensor:
        """[B, C, h, w]: latents with the noise of their timesteps."""
        return self.schedule.add_noise(latents, drawn.noise, drawn.timesteps)

    def target(self, latents: Tensor, drawn: Draws) -> Tensor:
        """[B, C, h, w]: what the network should answer."""
        if self.prediction == "epsilon":
            return drawn.noise
        if self.prediction == "sample":
            return latents
        return self.schedule.get_velocity(latents, drawn.noise, drawn.timesteps)

    def weights(self, timesteps: Tensor) -> Tensor:
        """[B] of int64 [B]."""
        if self.min_snr_gamma is None:
            return torch.ones(len(timesteps), device=timesteps.device)
        signal = self.schedule.alphas_cumprod.to(timesteps.device)[timesteps]
        ratio = signal / (1 - signal)
        least = ratio.clamp(max=self.min_snr_gamma)
        if self.prediction == "sample":
            return least
        # Of an answer in another form than the picture's: what the same weight is there (Hang et al., equation 5).
        return least / (ratio.clamp(min=1e-8) if self.prediction == "epsilon" else ratio + 1)

    def loss(self, answer: Tensor, latents: Tensor, drawn: Draws) -> Tensor:
        """[], in float32."""
        error = (answer.float() - self.target(latents, drawn).float()).square().mean(dim=(1, 2, 3))
        return (error * self.weights(drawn.timesteps)).mean()
