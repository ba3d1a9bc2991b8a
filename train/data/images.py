"""Posed pictures as the fit looks at them: pixels as they are stored, what counts of them, straight lines straight, and
not too large."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from train.data.view_layers import Layers, ViewCache, reduced
from worldgen.errors import UserError
from worldgen.io.packed import opened
from worldgen.io.photo import MAX_PIXELS, picture_errors, to_srgb
from worldgen.io.poses import PosedPicture
from worldgen.io.undistort import Distortion, pinhole, undistort
from worldgen.types import Camera, SupervisionView

_QUARTER_TURNS = (5, 6, 7, 8)  # EXIF orientations
_LOSSY = ("JPEG", "MPO", "WEBP")
_NOISE = 8  # of 255: what a lossy file makes of black

_log = logging.getLogger("worldgen")


def read_views(
    where: str, pictures: Sequence[PosedPicture], max_size: int, cache: Path | None = None
) -> list[SupervisionView]:
    """`read_view` of each, once their cameras have their pictures' sizes; a line counts those that had another.

    Raises UserError where a picture has another shape than its camera.
    """
    sized = [with_size_of_file(picture) for picture in pictures]
    other = [old for old, new in zip(pictures, sized, strict=True) if _size(old.camera) != _size(new.camera)]
    if other:
        _log.warning(
            "%s: %d of its %d pictures are of another size than their camera says, which is scaled; the first is %s",
            where,
            len(other),
            len(pictures),
            other[0].name,
        )
    kept = ViewCache(cache)
    return [read_view(picture, max_size, kept) for picture in sized]


def with_size_of_file(picture: PosedPicture) -> PosedPicture:
    """A posed picture whose camera has its size. Raises UserError where they differ by more than a factor and a pixel
    of rounding on each side.

    EXIF orientations do not count, as for COLMAP and nerfstudio, except where only the upright picture fits the camera.
    """
    with picture_errors(picture.path), opened(picture.path) as content, Image.open(content) as image:
        size, turned = image.size, _is_turned(image)
    wanted = _size(picture.camera)
    if size[0] * size[1] > MAX_PIXELS:
        raise UserError(f"{picture.path}: {size[0]}x{size[1]} pixels, wanted {MAX_PIXELS // 10**6} million at most")
    found = next((one for one in (size, size[::-1] if turned else size) if _same_shape(one, wanted)), None)
    if found is None:
        shown, said = f"{size[0]}x{size[1]}", f"{wanted[0]}x{wanted[1]}"
        raise UserError(f"{picture.path}: {shown} pixels, its camera says {said}, wanted the same, or the same shape")
    return picture if found == wanted else replace(picture, camera=picture.camera.resized(*found))


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture as people see it. `with_size_of_file` has a camera of this size see it so. Raises
    UserError for what is no picture, and where its size does not tell how it is turned."""
    with picture_errors(path), opened(path) as content, Image.open(content) as image:
        size, turned, orientation = image.size, _is_turned(image), _orientation(image)
    told = f"EXIF orientation {orientation}"
    if orientation not in (None, 0, 1) and not (turned and size[0] != size[1]):
        raise UserError(f"{path}: {told}, which its size does not tell, wanted its pixels turned")
    return size[::-1] if turned else size


def read_view(picture: PosedPicture, max_size: int, cache: ViewCache | None = None) -> SupervisionView:
    """A posed picture, whose camera has its size, reduced to `max_size` pixels at most on its longer side. Its weight
    is 0 where its mask is black, and where a distorted lens saw nothing.

    A mask counts wherever it is not black: some are 0 and 1, some 0 and 255. Raises UserError for what is no picture.
    """
    if (distortion := picture.distortion) is None:
        camera, layers = reduced(picture.camera, _read(picture), max_size)
        return layers.view(camera, picture.generated)
    made = (cache or ViewCache(None)).get(
        picture, max_size, lambda: reduced(*_straight(picture.camera, _read(picture), distortion), max_size)
    )
    return made[1].view(made[0], picture.generated)


def _straight(lens: Camera, layers: Layers, distortion: Distortion) -> tuple[Camera, Layers]:
    """As the pinhole camera sees it."""
    view = pinhole(lens, distortion)
    rgb, seen = undistort(layers.rgb.numpy(), lens, distortion, view)
    counts, _ = undistort(layers.weight.numpy(), lens, distortion, view, nearest=True)
    weight = torch.from_numpy(counts * seen)
    alpha = None
    if layers.alpha is not None:
        alpha = torch.from_numpy(undistort(layers.alpha.numpy(), lens, distortion, view)[0]).clamp(0, 1)
    return view, Layers(torch.from_numpy(rgb).clamp(0, 1), weight, alpha)


def _read(picture: PosedPicture) -> Layers:
    camera, alpha = picture.camera, None
    with picture_errors(picture.path), opened(picture.path) as content, Image.open(content) as file:
        image: Image.Image = file if file.size == _size(camera) else ImageOps.exif_transpose(file)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            alpha = torch.from_numpy(np.array(image.getchannel("A"))).float() / 255
            image = image.convert("RGB")
        rgb = torch.from_numpy(np.array(to_srgb(image))).float() / 255
    if alpha is not None:
        rgb = rgb * alpha[..., None]
        alpha = None if bool((alpha == 1).all()) else alpha
    weight = torch.ones(rgb.shape[:2])
    if picture.mask is not None:
        weight = torch.from_numpy(_read_mask(picture.mask, camera)).float()
    return Layers(rgb, weight, alpha)


def _read_mask(path: Path, camera: Camera) -> NDArray[np.bool_]:
    """[H, W], where it is not black; of another size as the camera's, by the nearest pixel."""
    with picture_errors(path), opened(path) as content, Image.open(content) as file:
        image: Image.Image = file
        if not _same_shape(image.size, _size(camera)):
            found = f"{image.width}x{image.height}"
            raise UserError(f"{path}: {found} pixels, its picture {camera.width}x{camera.height}, wanted the same")
        black = _NOISE if file.format in _LOSSY else 0
        if image.mode == "P" or image.has_transparency_data:
            image = image.convert("RGBA")
        if image.size != _size(camera):
            image = image.resize(_size(camera), Image.Resampling.NEAREST)
        values = np.asarray(image)
    if values.ndim == 2:
        return values > black
    opaque = values[..., -1] > 0 if values.shape[-1] in (2, 4) and image.mode.endswith("A") else True
    colours = values[..., :-1] if opaque is not True else values
    return (colours.max(axis=-1) > black) & opaque


def _size(camera: Camera) -> tuple[int, int]:
    return camera.width, camera.height


def _same_shape(found: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Whether the one is the other times some factor, but for a pixel on each side."""
    low = max((side - 1) / of for side, of in zip(found, wanted, strict=True))
    return low <= min((side + 1) / of for side, of in zip(found, wanted, strict=True))


def _is_turned(image: Image.Image) -> bool:
    return _orientation(image) in _QUARTER_TURNS


def _orientation(image: Image.Image) -> int | None:
    with suppress(Exception):  # broken metadata
        return image.getexif().get(ExifTags.Base.Orientation)
    return None
