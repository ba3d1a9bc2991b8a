"""Posed pictures as the fit looks at them: pixels as they are stored, what counts of them, and not too large."""

import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from scipy.sparse import csr_array
from torch import Tensor

from worldgen.errors import UserError
from worldgen.photo import MAX_PIXELS, picture_errors, to_srgb
from worldgen.poses import PosedPicture
from worldgen.types import Camera, SupervisionView

_QUARTER_TURNS = (5, 6, 7, 8)  # EXIF orientations


def read_view(picture: PosedPicture, max_size: int) -> SupervisionView:
    """A posed picture, reduced to `max_size` pixels at most on its longer side; its weight is its opacity, and 0 where
    its mask is black.

    Raises UserError for what is no picture, and where its size is not the camera's. EXIF orientations do not count, as
    for COLMAP and nerfstudio, except where only the upright picture has the camera's size.
    """
    camera = picture.camera
    rgb, weight = _read(picture.path, picture.name, camera)
    if picture.mask is not None:
        weight = weight * _read_mask(picture.mask, camera)
    if max(camera.width, camera.height) > max_size:
        camera, rgb, weight = _reduce(camera, rgb, weight, max_size)
    return SupervisionView(camera, rgb.permute(2, 0, 1).contiguous(), weight, picture.generated)


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


def _read(path: Path, name: str, camera: Camera) -> tuple[Tensor, Tensor]:
    """rgb [H, W, 3], and opacity [H, W]."""
    with picture_errors(path), Image.open(path) as image:
        if image.width * image.height > MAX_PIXELS:
            raise UserError(
                f"{path}: {image.width}x{image.height} pixels, wanted {MAX_PIXELS // 10**6} million at most"
            )
        wanted = camera.width, camera.height
        if image.size != wanted == image.size[::-1] and _is_turned(image):
            image = ImageOps.exif_transpose(image)
        if image.size != wanted:
            found = f"{image.width}x{image.height}"
            raise UserError(f"{name}: {found} pixels, its camera says {wanted[0]}x{wanted[1]}; wanted the same")
        opacity = torch.ones(camera.height, camera.width)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            opacity = torch.from_numpy(np.array(image.getchannel("A"))).float() / 255
            image = image.convert("RGB")
        return torch.from_numpy(np.array(to_srgb(image))).float() / 255, opacity


def _is_turned(image: Image.Image) -> bool:
    with suppress(Exception):  # broken metadata
        return image.getexif().get(ExifTags.Base.Orientation) in _QUARTER_TURNS
    return False


def _read_mask(path: Path, camera: Camera) -> Tensor:
    with picture_errors(path), Image.open(path) as image:
        if image.size != (camera.width, camera.height):
            found = f"{image.width}x{image.height}"
            raise UserError(f"{path}: {found} pixels, its picture {camera.width}x{camera.height}; wanted the same")
        return torch.from_numpy(np.array(to_srgb(image).convert("L"))).float() / 255


def _reduce(camera: Camera, rgb: Tensor, weight: Tensor, max_size: int) -> tuple[Camera, Tensor, Tensor]:
    """rgb: [H, W, 3]. Colours are means over what counts, so that nothing comes in from under a mask."""
    scale = max_size / max(camera.width, camera.height)
    width, height = (max(1, round(side * scale)) for side in (camera.width, camera.height))
    layers = torch.cat([rgb * weight[..., None], weight[..., None]], dim=-1)
    layers = area_mean(area_mean(layers, height).transpose(0, 1), width).transpose(0, 1)
    colour, reduced = layers[..., :3], layers[..., 3:]
    rgb = torch.where(reduced > 0, colour / reduced.clamp(min=1e-6), 0.0).clamp(0, 1)
    return camera.resized(width, height), rgb, reduced[..., 0].contiguous()
