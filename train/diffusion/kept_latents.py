"""Latents of pictures that come again, in a folder: an autoencoder's answer to each is worked out once."""

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from train.diffusion.latents import distribution, drawn_latents, to_latents
from worldgen.errors import UserError

_log = logging.getLogger("worldgen")


class KeptLatents:
    """Does what `to_latents` does, and keeps the mean and deviation of what `vae` answers in `folder`, by the picture's
    pixels and the autoencoder's weights; None = nothing is kept. Several processes may share a folder, and it may be
    deleted at any time.

    Kept answers are worked out picture by picture, so that they do not depend on what came in the same batch.
    """

    def __init__(self, vae: Any, folder: Path | None) -> None:
        """Raises UserError for a folder that cannot be made."""
        self._vae, self._folder = vae, folder
        self.found = self.made = 0
        self._told = False
        if folder is None:
            return
        self._weights = _fingerprint(vae)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: cannot be made ({error.strerror}), wanted a folder for latents") from error

    def __call__(self, rgb: Tensor, noise: Tensor) -> Tensor:
        """rgb [B, 3, H, W] in [0, 1], noise [B, C, h, w] -> [B, C, h, w], scaled."""
        if self._folder is None:
            return to_latents(self._vae, rgb, noise)
        answers = [self._answer(self._folder, *each) for each in zip(rgb, noise, strict=True)]
        mean, std = (torch.cat(part) for part in zip(*answers, strict=True))
        return drawn_latents(self._vae, mean, std, noise)

    def _answer(self, folder: Path, rgb: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation [1, C, h, w] of one picture [3, H, W]; like: [C, h, w], of any values."""
        pixels = rgb.float().cpu().contiguous()
        digest = hashlib.sha256(f"{self._weights} {self._vae.dtype} {tuple(pixels.shape)}".encode())
        digest.update(pixels.numpy().data)
        path = folder / f"{digest.hexdigest()[:32]}.safetensors"
        kept = _load(path, (1, *like.shape))
        if kept is not None:
            self.found += 1
            return kept[0].to(rgb.device), kept[1].to(rgb.device)
        self.made += 1
        mean, std = distribution(self._vae, rgb[None])
        self._save(path, mean, std)
        return mean, std

    def _save(self, path: Path, mean: Tensor, std: Tensor) -> None:
        """A disk that is full is no reason to stop: the picture is encoded again next time. It is said once."""
        partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
        try:
            partial.write_bytes(save({"mean": mean.cpu().contiguous(), "std": std.cpu().contiguous()}))
            partial.replace(path)
        except OSError as error:
            if not self._told:
                _log.warning("%s: latents cannot be kept there (%s), so each is worked out again", path.parent, error)
            self._told = True
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def _fingerprint(vae: Any) -> str:
    """Of all weights of an autoencoder, as they are."""
    digest = hashlib.sha256()
    for name, tensor in sorted(vae.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _load(path: Path, shape: tuple[int, ...]) -> tuple[Tensor, Tensor] | None:
    """None where it is not there, broken, or not of that shape."""
    try:
        tensors = load_file(path)
        found = tensors["mean"], tensors["std"]
    except (OSError, SafetensorError, KeyError):
        return None
    return found if all(part.shape == shape and bool(part.isfinite().all()) for part in found) else None
