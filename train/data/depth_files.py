"""Depth of posed pictures as data sets bring it: a .npy of floats, or a 16-bit picture of some unit. Ours are .npy."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from worldgen.errors import UserError
from worldgen.io.packed import is_file, opened
from worldgen.io.photo import picture_errors
from worldgen.runs.disk import landing

SUFFIXES = (".png", ".npy", ".tiff", ".tif")


def read_zdepth(path: Path, unit: float) -> Tensor:
    """[H, W] float32 along the optical axis, in the unit of the poses, as it is in the file; 0 = not known.

    unit: of a picture's grey value, in the poses' unit (nerfstudio's `depth_unit_scale_factor`); a .npy is in the
    poses' unit. Raises UserError for what is no such file, and for NaN.
    """
    if not is_file(path):
        raise UserError(f"{path}: not found, wanted the depth of a picture (.npy, or a 16-bit .png)")
    values = _of_npy(path) if path.suffix == ".npy" else _of_picture(path) * np.float32(unit)
    if values.ndim != 2:
        raise UserError(f"{path}: shape {list(values.shape)}, wanted one depth for each pixel [H, W]")
    if broken := int(np.isnan(values).sum()):
        raise UserError(f"{path}: {broken} depths are NaN, wanted none (0 = not known)")
    return torch.from_numpy(np.ascontiguousarray(values))


def _of_npy(path: Path) -> np.ndarray:
    try:
        with opened(path) as content:
            values = np.load(content, allow_pickle=False)
        return values.squeeze(-1).astype(np.float32) if values.shape[-1:] == (1,) else values.astype(np.float32)
    except UserError:
        raise
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not a readable .npy of numbers ({str(error).partition(chr(10))[0]})") from error


def _of_picture(path: Path) -> np.ndarray:
    with picture_errors(path), opened(path) as content, Image.open(content) as image:
        mode, values = image.mode, np.array(image)
    if mode not in ("I", "I;16", "I;16B", "F"):
        raise UserError(f"{path}: a picture of mode {mode}, wanted 16-bit grey, whose values are depths")
    return values.astype(np.float32)


def save_zdepth(path: Path, zdepth: np.ndarray) -> None:
    """[H, W] to a .npy, whole or not at all: of half floats, whose steps are smaller than a thousandth, where its
    values fit them."""
    with np.errstate(over="ignore"):
        half = zdepth.astype(np.float16)
    fits = np.abs(half.astype(np.float32) - zdepth) <= 1e-3 * zdepth
    with landing(path) as file:
        np.save(file, half if bool(fits.all()) else zdepth.astype(np.float32))
