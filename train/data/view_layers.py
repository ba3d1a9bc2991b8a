"""A picture's layers on their way to a view: reduced, and where that took long, kept on disk for the next start."""

import hashlib
import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from scipy.sparse import csr_array
from torch import Tensor

from worldgen.io.packed import opened
from worldgen.io.poses import PosedPicture
from worldgen.types import Camera, SupervisionView

_VERSION = 2  # raised when the same picture comes to be made into something else


@dataclass(frozen=True, eq=False)
class Layers:
    """rgb: [H, W, 3], over black where the picture is transparent; weight: [H, W], what each pixel counts; alpha:
    [H, W], opacity, None where it is 1 everywhere."""

    rgb: Tensor
    weight: Tensor
    alpha: Tensor | None = None

    def view(self, camera: Camera, generated: bool) -> SupervisionView:
        """What the fit looks at: channels first, and whether a network made it."""
        rgb = self.rgb.permute(2, 0, 1).contiguous()
        return SupervisionView(camera, rgb, self.weight.contiguous(), generated, self.alpha)


def reduced(camera: Camera, layers: Layers, max_size: int) -> tuple[Camera, Layers]:
    """To `max_size` pixels on the longer side, if it is longer. Colours are means over what counts, so that nothing
    comes in from under a mask."""
    longest = max(camera.width, camera.height)
    if longest <= max_size:
        return camera, layers
    width, height = (max(1, round(side * max_size / longest)) for side in (camera.width, camera.height))
    weight = layers.weight[..., None]
    parts = [layers.rgb, *([] if layers.alpha is None else [layers.alpha[..., None]])]
    stack = torch.cat([*(part * weight for part in parts), weight], dim=-1)
    stack = area_mean(area_mean(stack, height).transpose(0, 1), width).transpose(0, 1)
    counts = stack[..., -1:]
    means = torch.where(counts > 0, stack[..., :-1] / counts.clamp(min=1e-6), 0.0).clamp(0, 1)
    alpha = None if layers.alpha is None else means[..., 3].contiguous()
    return camera.resized(width, height), Layers(means[..., :3], counts[..., 0], alpha)


def area_mean(values: Tensor, size: int) -> Tensor:
    """[n, ...] to [size, ...], size <= n: each the mean over its share of the length, parts of pixels included."""
    length = len(values)
    edges = np.linspace(0, length, size + 1)
    low, high = edges[:-1, None], edges[1:, None]
    columns = low.astype(np.int64) + np.arange(math.ceil(length / size) + 1)
    overlap = (np.minimum(columns + 1, high) - np.maximum(columns, low)).clip(0)
    row, tap = overlap.nonzero()
    means = overlap[row, tap] * (size / length), (row, columns[row, tap])
    shares = csr_array(means, (size, length), np.float32)
    return torch.from_numpy(shares @ values.reshape(length, -1).numpy()).reshape(size, *values.shape[1:])


class ViewCache:
    """Undistorted pictures in a folder, by what they are made of. It may be deleted at any time; None = none is kept.

    Layers are rounded to bytes, kept or not, so that both give the same scene.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(
        self, picture: PosedPicture, max_size: int, make: Callable[[], tuple[Camera, Layers]]
    ) -> tuple[Camera, Layers]:
        """What `make` makes of the picture, or made of it before; with the pose that it has now."""
        path = None if self.folder is None else self.folder / f"{_key(picture, max_size)}.safetensors"
        found = None if path is None else _load(path)
        if found is None:
            camera, layers = make()
            found = _lens(camera), _bytes(layers)
            if path is not None:
                _save(path, *found)
        (width, height, *lens), stored = found
        floats = {name: tensor.float() / 255 for name, tensor in stored.items()}
        return Camera(picture.camera.c2w, int(width), int(height), *lens), Layers(**floats)


def _key(picture: PosedPicture, max_size: int) -> str:
    digest = hashlib.sha256(f"{_VERSION} {max_size} {_lens(picture.camera)} {picture.distortion}".encode())
    for path in (picture.path, picture.mask):
        if path is not None:
            with opened(path) as file:
                digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()[:32]


def _lens(camera: Camera) -> tuple[float, ...]:
    return camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy


def _bytes(layers: Layers) -> dict[str, Tensor]:
    there = {name: tensor for name, tensor in vars(layers).items() if tensor is not None}
    return {name: (tensor * 255).round().to(torch.uint8).contiguous() for name, tensor in there.items()}


def _save(path: Path, lens: tuple[float, ...], tensors: dict[str, Tensor]) -> None:
    """A disk that is full or may not be written is no reason to stop: the next start takes longer, that is all."""
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(save(tensors, {"lens": " ".join(map(repr, map(float, lens)))}))
        partial.replace(path)


def _load(path: Path) -> tuple[tuple[float, ...], dict[str, Tensor]] | None:
    """None where it is not there, or broken."""
    try:
        with safe_open(path, "pt") as file:
            lens = tuple(map(float, file.metadata()["lens"].split()))
            return lens, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
