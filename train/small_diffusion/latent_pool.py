"""The inpainter's samples, encoded once: with a small denoiser, the autoencoder would take most of every step."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from train.diffusion.latents import seen, to_latents
from train.seeds import generator_of
from train.small_diffusion.hole_masks import known_mask
from train.small_diffusion.settings import PoolSettings
from train.small_diffusion.training_pictures import TrainingPictures
from worldgen.progress import Track

FILENAME = "latents.safetensors"
_FIRST = 1_000_000  # picture of the pool: others than the autoencoder was trained on
_MASK, _NOISE = 5, 6  # what random numbers are for
_BATCH = 8


@dataclass(frozen=True, eq=False)
class LatentPool:
    """latents: [N, C, h, w] of pictures; shown: [N, M, 1 + C, h, w], what the network is told of each under M masks.
    Both float16. Sample n is picture n mod N under its mask n / N mod M."""

    latents: Tensor
    shown: Tensor

    def samples(self, numbers: list[int]) -> tuple[Tensor, Tensor]:
        """Of these numbers, [B, C, h, w] and [B, 1 + C, h, w] in float32."""
        pictures, masks = self.shown.shape[:2]
        picture = torch.tensor([number % pictures for number in numbers])
        mask = torch.tensor([number // pictures % masks for number in numbers])
        return self.latents[picture].float(), self.shown[picture, mask].float()

    def save(self, folder: Path) -> None:
        """As the one file of a folder."""
        save_file({"latents": self.latents, "shown": self.shown}, folder / FILENAME)


def load_pool(folder: Path) -> LatentPool:
    """What `LatentPool.save` wrote."""
    return LatentPool(**load_file(folder / FILENAME))


def encode(vae: Any, pictures: TrainingPictures, settings: PoolSettings, seed: int, track: Track) -> LatentPool:
    """Pictures and masks by their numbers, through the autoencoder."""
    latents, shown = [], []
    starts = range(0, settings.pictures, _BATCH)
    for start in track(starts, len(starts), "encoding pictures and masks"):
        numbers = range(_FIRST + start, _FIRST + min(start + _BATCH, settings.pictures))
        rgb = pictures(seed, numbers).to(vae.device)
        latents.append(to_latents(vae, rgb, _noise(vae, rgb, seed, numbers, 0)).half().cpu())
        told = []
        for mask in range(settings.masks):
            holes = torch.stack(
                [~known_mask(pictures.size, generator_of(seed, number, _MASK, mask)) for number in numbers]
            )
            noise = _noise(vae, rgb, seed, numbers, 1 + mask)
            told.append(seen(vae, rgb, holes.float().to(vae.device), noise).half().cpu())
        shown.append(torch.stack(told, dim=1))
    return LatentPool(torch.cat(latents).contiguous(), torch.cat(shown).contiguous())


def _noise(vae: Any, rgb: Tensor, seed: int, numbers: range, which: int) -> Tensor:
    side = rgb.shape[-1] // 2 ** (len(vae.config.block_out_channels) - 1)
    shape = (vae.config.latent_channels, side, side)
    drawn = [torch.randn(shape, generator=generator_of(seed, number, _NOISE, which)) for number in numbers]
    return torch.stack(drawn).to(rgb)
