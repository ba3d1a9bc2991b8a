"""The files that the steps leave behind, written and read: pictures, masks, distances, completed views, JSON.

Pictures are 8-bit PNG (lossless, and any editor opens them); what must stay exact is .npy or safetensors.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from worldgen.errors import UserError, expect
from worldgen.geometry.fov_range import check_fov
from worldgen.runs.disk import landing
from worldgen.types import Camera, CompletedView, DistanceMap, Panorama, Prompts, View

_KEYS = ", ".join(field.name for field in fields(Prompts))


def save_image(path: Path, rgb: Tensor) -> None:
    """rgb [3, H, W] in [0, 1] to an 8-bit PNG."""
    save_pixels(path, (rgb.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0))


def save_pixels(path: Path, pixels: Tensor) -> None:
    """uint8 [H, W, 3] to a PNG."""
    Image.fromarray(pixels.contiguous().numpy()).save(path, compress_level=2)


def load_image(path: Path) -> Tensor:
    """A PNG to [3, H, W] in [0, 1]. Raises UserError where the file is no picture (a person may have edited it)."""
    return torch.from_numpy(_load_pixels(path, "RGB")).permute(2, 0, 1).float() / 255


def _load_pixels(path: Path, mode: str) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.array(image.convert(mode))
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's decoders raise all of them
        raise UserError(f"{path}: not a readable picture ({error}); delete it to have it made again") from error


def save_mask(path: Path, mask: Tensor) -> None:
    """bool [H, W] to a 1-bit PNG, white = True."""
    Image.fromarray(mask.numpy()).save(path)


def load_mask(path: Path) -> Tensor:
    """A PNG to bool [H, W], True from mid-grey on. Raises UserError where the file is no picture."""
    return torch.from_numpy(_load_pixels(path, "L") >= 128)


def save_json(path: Path, content: Mapping) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_json(path: Path) -> dict:
    """Raises UserError where the file is no JSON object (a person may have edited it)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, wanted a JSON object")
    return content


def save_panorama(folder: Path, panorama: Panorama) -> None:
    save_image(folder / "panorama.png", panorama.rgb)
    save_mask(folder / "photo_mask.png", panorama.photo)


def load_panorama(picture: Path, photo_mask: Path) -> Panorama:
    """Raises UserError where an edited picture has another size than its mask."""
    rgb, photo = load_image(picture), load_mask(photo_mask)
    _expect_same_size(picture, rgb.shape[1:], photo.shape)
    return Panorama(rgb, photo)


def save_distances(folder: Path, distances: DistanceMap) -> None:
    np.save(folder / "distance.npy", distances.distance.numpy())
    save_mask(folder / "sky.png", distances.sky)


def load_distances(folder: Path) -> DistanceMap:
    """Raises UserError where a file, which a person may have edited, holds something else."""
    path = folder / "distance.npy"
    try:
        distance = np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not a readable array ({error}); delete it to have it made again") from error
    if distance.ndim != 2 or distance.dtype != np.float32 or not (np.isfinite(distance) & (distance > 0)).all():
        raise UserError(f"{path}: {distance.dtype} {list(distance.shape)}, wanted float32 metres above 0, [H, W]")
    sky = load_mask(folder / "sky.png")
    _expect_same_size(folder / "sky.png", sky.shape, distance.shape)
    return DistanceMap(torch.from_numpy(distance), sky)


def _expect_same_size(path: Path, found: Sequence[int], wanted: Sequence[int]) -> None:
    """Sizes: [H, W]."""
    if tuple(found) != tuple(wanted):
        raise UserError(
            f"{path}: {found[1]}x{found[0]} pixels, wanted {wanted[1]}x{wanted[0]} (what is edited keeps its size)"
        )


def save_completed_view(folder: Path, number: int, completed: CompletedView) -> None:
    """Its picture and its mask, each whole or not there."""
    with landing(folder / f"{number:03}.png") as unfinished:
        save_image(unfinished, completed.view.rgb)
    with landing(folder / f"{number:03}_inpainted.png") as unfinished:
        save_mask(unfinished, completed.inpainted)


def load_completed_view(folder: Path, number: int, camera: Camera) -> CompletedView:
    """As saved, without distances: those live in the cloud."""
    rgb = load_image(folder / f"{number:03}.png")
    inpainted = load_mask(folder / f"{number:03}_inpainted.png")
    return CompletedView(View(camera, rgb, torch.ones_like(inpainted)), inpainted)


def save_completed_cameras(folder: Path, cameras: Sequence[Camera]) -> None:
    """`cameras.json`, by the views' numbers; without it there are no views."""
    save_json(folder / "cameras.json", {"cameras": [camera_to_dict(camera) for camera in cameras]})


class CompletedViews(Sequence[CompletedView]):
    """A folder's completed views in the order of their making, each read when it is asked for and held by nobody here.

    Raises UserError where `cameras.json` is no JSON.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.cameras = [camera_from_dict(entry) for entry in load_json(folder / "cameras.json")["cameras"]]

    def __len__(self) -> int:
        return len(self.cameras)

    @overload
    def __getitem__(self, index: int) -> CompletedView: ...

    @overload
    def __getitem__(self, index: slice) -> list[CompletedView]: ...

    def __getitem__(self, index: int | slice) -> CompletedView | list[CompletedView]:
        """See `load_completed_view`."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return load_completed_view(self._folder, number, self.cameras[number])


def save_photo_camera(path: Path, width: int, height: int, fov_deg: float, source: str) -> None:
    """Writes `camera.json` so that a person can edit its field of view. source: where that comes from, for a person."""
    save_json(path, {"fov_deg": fov_deg, "width": width, "height": height, "source": source})


def load_photo_camera(path: Path) -> Camera:
    """Reads `camera.json`: a camera at the origin. UserError names the file and what is wrong in it."""
    content = load_json(path)
    for side in ("width", "height"):
        value = content.get(side)
        ok = isinstance(value, int) and not isinstance(value, bool) and value > 0
        expect(f"{path}: {side}", repr(value), ok, "whole pixels")
    fov_deg = check_fov(content.get("fov_deg"), f"{path}: fov_deg")
    return Camera.from_fov(content["width"], content["height"], fov_deg)


def said(prompts: Prompts) -> dict[str, str | bool]:
    """What prompts say, by name; `negative` only where it says something."""
    return {name: value for name, value in asdict(prompts).items() if name != "negative" or value}


def save_prompts(path: Path, prompts: Prompts) -> None:
    """Writes `prompts.json` so that a person can edit it."""
    path.write_text(json.dumps(said(prompts), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_prompts(path: Path) -> Prompts:
    """Reads `prompts.json`; `source` and `negative` may be left out. UserError names the file and what is wrong."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, wanted a readable prompts.json") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}), wanted an object with the keys {_KEYS}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: found {type(content).__name__}, wanted an object with the keys {_KEYS}")
    content = {"source": "written by hand", "negative": "", **content}
    for field in fields(Prompts):
        wanted = "true or false" if field.type in (bool, "bool") else "text"
        if field.name not in content:
            raise UserError(f"{path}: no key '{field.name}', wanted {wanted}")
        if not isinstance(content[field.name], bool if wanted == "true or false" else str):
            raise UserError(f"{path}: {field.name} is {content[field.name]!r}, wanted {wanted}")
    unknown = sorted(set(content) - {field.name for field in fields(Prompts)})
    if unknown:
        raise UserError(f"{path}: unknown key '{unknown[0]}', wanted {_KEYS}")
    return Prompts(**content)


def camera_to_dict(camera: Camera) -> dict:
    fields = {name: getattr(camera, name) for name in ("width", "height", "fx", "fy", "cx", "cy")}
    return {"c2w": camera.c2w.tolist(), **fields}


def camera_from_dict(entry: Mapping) -> Camera:
    return Camera(**{**entry, "c2w": torch.tensor(entry["c2w"])})
