"""Pictures as latents, and what an inpainting network is given beside the noisy ones, as diffusers' pipelines do it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def to_latents(vae: Any, rgb: Tensor, noise: Tensor) -> Tensor:
    """rgb [B, 3, H, W] in [0, 1] -> [B, C, h, w], scaled; noise: [B, C, h, w], of the autoencoder's answer, which is a
    distribution."""
    return drawn_latents(vae, *distribution(vae, rgb), noise)


@torch.no_grad()
def distribution(vae: Any, rgb: Tensor) -> tuple[Tensor, Tensor]:
    """rgb [B, 3, H, W] in [0, 1] -> mean and deviation [B, C, h, w] of the autoencoder's answer, as it gives them."""
    answer = vae.encode((2 * rgb - 1).to(vae.dtype)).latent_dist
    return answer.mean, answer.std


def drawn_latents(vae: Any, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
    """[B, C, h, w], scaled: the latents that the noise picks of a distribution, all [B, C, h, w]."""
    return (mean + std * noise.to(mean)) * vae.config.scaling_factor


@torch.no_grad()
def seen(vae: Any, rgb: Tensor, holes: Tensor, noise: Tensor) -> Tensor:
    """[B, 1 + C, h, w]: the mask, 1 = to be painted, and the latents of what is shown, grey in the holes.

    rgb: [B, 3, H, W] in [0, 1]; holes: [B, H, W] of 0 and 1; noise: as `to_latents`.
    """
    shown = rgb.where(holes[:, None] < 0.5, torch.tensor(0.5, device=rgb.device))
    latents = to_latents(vae, shown, noise)
    mask = F.interpolate(holes[:, None].to(latents), size=latents.shape[-2:])
    return torch.cat([mask, latents], dim=1)
