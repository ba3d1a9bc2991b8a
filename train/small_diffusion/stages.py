"""Each of the three steps, from its settings to its files: the autoencoder, the latents, the inpainter."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.diffusion.latents import to_latents
from train.lightning.loggers import logging_to, quiet_lightning
from train.lightning.settings import TrainingSettings
from train.lightning.trainer import drop_checkpoints, train_module
from train.small_diffusion.autoencoder import AutoencoderModule
from train.small_diffusion.denoiser import DenoiserModule
from train.small_diffusion.latent_pool import encode, load_pool
from train.small_diffusion.module import SmallModule
from train.small_diffusion.settings import SmallDiffusionSettings
from train.small_diffusion.small_networks import new_autoencoder, new_denoiser, save_pipeline, standardised
from train.small_diffusion.training_pictures import TrainingPictures
from worldgen.models.hub import load_whole
from worldgen.progress import Track

PIPELINE = "pipeline"  # the folder of the finished networks in the inpainter's
_MEASURED = 256  # pictures, by which latents are standardised
_FIRST_MEASURED = 2_000_000  # of these
_LOSS_EVERY = 10
_ENDS = 100  # steps at the end whose mean loss is told


def train_autoencoder(
    settings: SmallDiffusionSettings,
    pictures: TrainingPictures,
    out_dir: Path,
    track: Track,
    seed: int,
    device: torch.device,
    made_of: Mapping[str, Any],
) -> dict[str, Any]:
    """The folder `vae` in `out_dir`, and facts. made_of: what decides the result, as JSON."""
    vae = new_autoencoder(settings.autoencoder, pictures.size, seed)
    module = AutoencoderModule(vae, pictures, settings.autoencoder, seed)
    _train(module, "autoencoder", settings, out_dir, track, device, made_of)
    vae = vae.eval().to(device)  # Lightning takes a module to the CPU when it is done
    latents = []
    for start in range(_FIRST_MEASURED, _FIRST_MEASURED + _MEASURED, 8):
        rgb = pictures(seed, range(start, start + 8)).to(device)
        latents.append(to_latents(vae, rgb, torch.zeros(())))
    standardised(vae, torch.cat(latents))
    vae.cpu().save_pretrained(out_dir / "vae")
    drop_checkpoints(out_dir)
    return _facts(module)


def encode_latents(
    settings: SmallDiffusionSettings,
    pictures: TrainingPictures,
    autoencoder_dir: Path,
    out_dir: Path,
    track: Track,
    seed: int,
    device: torch.device,
) -> dict[str, Any]:
    """The pool of latents as a file in `out_dir`, and facts."""
    pool = encode(_autoencoder(autoencoder_dir).to(device), pictures, settings.pool, seed, track)
    pool.save(out_dir)
    return {"pictures": len(pool.latents), "samples": pool.shown.shape[0] * pool.shown.shape[1]}


def train_denoiser(
    settings: SmallDiffusionSettings,
    autoencoder_dir: Path,
    latents_dir: Path,
    out_dir: Path,
    track: Track,
    seed: int,
    device: torch.device,
    made_of: Mapping[str, Any],
) -> dict[str, Any]:
    """The finished pipeline as the folder `PIPELINE` in `out_dir`, and facts; made_of: as above."""
    pool = load_pool(latents_dir)
    unet = new_denoiser(settings.denoiser, pool.latents.shape[1], pool.latents.shape[-1], seed)
    module = DenoiserModule(unet, pool, settings.denoiser, seed)
    _train(module, "denoiser", settings, out_dir, track, device, made_of)
    folder = out_dir / PIPELINE
    save_pipeline(_autoencoder(autoencoder_dir), module.averaged().eval().cpu(), settings.denoiser.prediction, folder)
    drop_checkpoints(out_dir)
    weights = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return _facts(module) | {"bytes": weights}


def _train(
    module: SmallModule,
    kind: str,
    settings: SmallDiffusionSettings,
    out_dir: Path,
    track: Track,
    device: torch.device,
    made_of: Mapping[str, Any],
) -> None:
    identity = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
    accelerator = {"accelerator": "cpu" if device.type == "cpu" else "gpu"}
    what = f"training the {kind}"
    training = TrainingSettings(module.steps, what, settings.checkpoint_every, _LOSS_EVERY, accelerator)
    with quiet_lightning(), logging_to(settings.logger, out_dir, identity, made_of, kind) as logger:
        train_module(module, range(module.steps), training, out_dir, identity, logger, track)


def _autoencoder(folder: Path) -> Any:
    import diffusers

    return load_whole(diffusers.AutoencoderKL, folder / "vae").eval()


def _facts(module: SmallModule) -> dict[str, Any]:
    parameters = sum(parameter.numel() for parameter in module.network.parameters())
    return {"steps": module.steps, "parameters": parameters} | _loss_facts(module.losses)


def _loss_facts(losses: Tensor) -> dict[str, float]:
    span = max(1, min(_ENDS, len(losses) // 2))
    return {"loss_first": round(float(losses[:span].mean()), 5), "loss_last": round(float(losses[-span:].mean()), 5)}
