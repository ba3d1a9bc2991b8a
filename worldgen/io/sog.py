"""PlayCanvas' compressed splats, SOG version 2: small lossless pictures, a pixel of each for a splat, in one zip file.

The format is described at developer.playcanvas.com, "The SOG format". Like our .ply it keeps the world's axes (x right,
y down, z forward), as other writers do.
"""

import io
import json
import math
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from scipy.cluster.vq import kmeans2, vq

from worldgen.errors import UserError
from worldgen.io.tensor_files import expect_finite
from worldgen.types import Gaussians

_VERSION = 2
_CODES = 256  # of a codebook: what a byte can name
_SAMPLE = 1 << 14  # values that a codebook is made of, evenly out of all in their order
_PALETTE = 1024  # sets of higher harmonics at most; the format knows up to 65536
_PALETTE_COLUMNS = 64  # of them in a row of their picture
_PALETTE_SAMPLE = 1 << 15
_LARGEST_AT = 252  # alpha of a quaternion whose largest component is the first
_BANDS = {1: 0, 4: 1, 9: 2, 16: 3}


@dataclass(frozen=True)
class SogPrecision:
    """How finely values are told apart; fewer bits make a smaller file. position_bits: of each coordinate, of 16, on a
    scale that is finer where it is near; rotation_bits, opacity_bits: of 8; codes: sizes and colours, of 256 each."""

    position_bits: int = 16
    rotation_bits: int = 8
    opacity_bits: int = 8
    codes: int = 256


FINEST = SogPrecision()


def write_sog(path: Path, gaussians: Gaussians, precision: SogPrecision = FINEST) -> None:
    """Writes the splats, in another order: neighbours beside each other.

    Colours that change with the direction become one of at most 1024 sets. Raises UserError where a value is not
    finite or there is no splat.
    """
    expect_finite("Gaussians", gaussians.tensors())
    if not len(gaussians):
        raise UserError(f"{path}: no splats to write, wanted one at least")
    arrays = {name: tensor.detach().cpu().float().numpy() for name, tensor in gaussians.tensors().items()}
    order = _order(arrays["means"])
    meta, pictures = _packed({name: array[order] for name, array in arrays.items()}, precision)
    meta |= {"version": _VERSION, "count": len(order), "antialias": gaussians.antialiased}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as bundle:
        for name, content in {"meta.json": json.dumps(meta, allow_nan=False).encode(), **pictures}.items():
            bundle.writestr(zipfile.ZipInfo(name), content)  # of 1980: the same world, the same file


def read_sog(path: Path) -> Gaussians:
    """What `write_sog` and other tools write of version 2. Raises UserError for other files."""
    try:
        with zipfile.ZipFile(path) as bundle:
            meta = json.loads(bundle.read("meta.json"))
            if meta.get("version") != _VERSION:
                raise UserError(f"{path}: SOG version {meta.get('version')}, wanted {_VERSION}")
            return _unpacked(meta, bundle)
    except (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile, UnidentifiedImageError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not readable ({error}), wanted splats as .sog") from error


def _order(means: np.ndarray) -> np.ndarray:
    """[N] -> rows of the pictures are rings of one latitude round the origin, each from left to right: what lies side
    by side in the world does so in the pictures, which makes them small."""
    x, y, z = means.astype(np.float64).T
    width = _width(len(means))
    rings = np.argsort(np.arctan2(y, np.hypot(x, z)), kind="stable")
    ring = np.arange(len(means)) // width
    return rings[np.lexsort((np.arctan2(x, z)[rings], ring))]


def _width(count: int) -> int:
    """Of the pictures, which are about square, in whole blocks of four pixels."""
    return 4 * math.ceil(math.sqrt(count) / 4)


def _packed(arrays: Mapping[str, np.ndarray], precision: SogPrecision) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What meta.json says, and the pictures by their names."""
    lows, highs, spread = _positions(arrays["means"], precision.position_bits)
    scale_book, scales = _coded(arrays["log_scales"], precision.codes)
    colour_book, colours = _coded(arrays["sh"][:, 0], precision.codes)
    opacities = 1 / (1 + np.exp(-arrays["opacity_logits"].astype(np.float64)))
    colours = np.column_stack([colours, _byte(opacities, precision.opacity_bits)])
    columns = {
        "means_l": lows,
        "means_u": highs,
        "scales": scales,
        "quats": _rotations(arrays["quats"], precision.rotation_bits),
        "sh0": colours,
    }
    meta = {
        "means": spread | {"files": ["means_l.webp", "means_u.webp"]},
        "scales": {"codebook": scale_book, "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": colour_book, "files": ["sh0.webp"]},
    }
    pictures = {f"{name}.webp": _webp(_in_rows(pixels)) for name, pixels in columns.items()}
    if arrays["sh"].shape[1] > 1:
        meta["shN"], more = _harmonics(arrays["sh"][:, 1:])
        pictures |= more
    return meta, pictures


def _positions(means: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray, dict[str, list[float]]]:
    """Low and high bytes [N, 3] of positions on a logarithmic scale, and that scale's ends."""
    logs = np.sign(means) * np.log1p(np.abs(means.astype(np.float64)))
    mins, maxs = logs.min(axis=0), logs.max(axis=0)
    span = np.maximum(maxs - mins, 1e-9)
    step = 1 << (16 - bits)  # what is left of a low byte is then the same few values everywhere, which packs well
    codes = np.rint((logs - mins) / span * (2**bits - 1)).astype(np.uint16) * step
    ends = {"mins": mins.tolist(), "maxs": (mins + span * (65535 / (65536 - step))).tolist()}
    return (codes & 255).astype(np.uint8), (codes >> 8).astype(np.uint8), ends


def _rotations(quats: np.ndarray, bits: int) -> np.ndarray:
    """[N, 4] bytes: the three components of a unit quaternion (wxyz) beside the largest, and which that is."""
    norms = np.linalg.norm(quats, axis=1, keepdims=True)
    unit = np.where(norms > 0, quats / np.maximum(norms, 1e-30), np.array([[1.0, 0, 0, 0]]))
    largest = np.abs(unit).argmax(axis=1)
    rows = np.arange(len(unit))
    unit *= np.where(unit[rows, largest] < 0, -1, 1)[:, None]  # the same rotation, the largest positive
    rest = unit[rows[:, None], _others(largest)]
    return np.column_stack([_byte(rest * math.sqrt(0.5) + 0.5, bits), (_LARGEST_AT + largest).astype(np.uint8)])


def _others(largest: np.ndarray) -> np.ndarray:
    """[N, 3], the components beside the `largest`, in their order."""
    return np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest]


def _coded(values: np.ndarray, codes: int = _CODES) -> tuple[list[float], np.ndarray]:
    """A codebook of so many values, ascending, the last repeated up to 256, and for each of `values` the nearest one's
    place as a byte."""
    ordered = np.sort(values.astype(np.float64), axis=None)
    sample = ordered[np.linspace(0, len(ordered) - 1, min(len(ordered), _SAMPLE)).round().astype(int)]
    even = np.linspace(ordered[0], ordered[-1], codes - codes // 2)  # and the other half where the values are
    first = np.sort(np.concatenate([even, sample[np.linspace(0, len(sample) - 1, codes // 2).astype(int)]]))
    book = np.sort(_means(sample, first, 20))
    places = np.searchsorted((book[1:] + book[:-1]) / 2, values).astype(np.uint8)
    return np.pad(book, (0, _CODES - codes), "edge").tolist(), places


def _harmonics(rest: np.ndarray) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The higher harmonics [N, K, 3] as a palette: what meta.json says of it, its picture, and that of the choices."""
    count, bands, _ = rest.shape
    flat = rest.reshape(count, -1)
    drawn = np.random.default_rng(0).permutation(count)
    size = min(_PALETTE, count)
    palette = _means(flat[drawn[:_PALETTE_SAMPLE]], flat[drawn[:size]], 5)
    labels = np.concatenate([vq(part, palette)[0] for part in np.array_split(flat, math.ceil(count / 4096))])
    book, codes = _coded(palette.reshape(size, bands, 3))
    rows = math.ceil(size / _PALETTE_COLUMNS)
    picture = np.zeros((rows * _PALETTE_COLUMNS, bands, 3), np.uint8)
    picture[:size] = codes
    chosen = np.column_stack([labels & 255, labels >> 8, np.zeros_like(labels)]).astype(np.uint8)
    files = ["shN_centroids.webp", "shN_labels.webp"]
    pixels = (picture.reshape(rows, _PALETTE_COLUMNS * bands, 3), _in_rows(chosen))
    meta = {"count": size, "bands": _BANDS[bands + 1], "codebook": book, "files": files}
    return meta, {name: _webp(each) for name, each in zip(files, pixels, strict=True)}


def _means(samples: np.ndarray, first: np.ndarray, rounds: int) -> np.ndarray:
    """k means, like `first`; one that is nearest to nothing stays where it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy tells of those
        return kmeans2(samples, first, iter=rounds, minit="matrix", missing="warn")[0]


def _byte(shares: np.ndarray, bits: int) -> np.ndarray:
    """Shares in [0, 1] of 255, rounded to what so many bits tell apart."""
    step = 1 << (8 - bits)
    return np.minimum(np.rint(np.clip(shares, 0, 1) * 255 / step) * step, 255).astype(np.uint8)


def _in_rows(pixels: np.ndarray) -> np.ndarray:
    """[N, C] to [H, W, C]; the last one goes on to the end."""
    width = _width(len(pixels))
    height = math.ceil(len(pixels) / width)
    return np.pad(pixels, ((0, height * width - len(pixels)), (0, 0)), "edge").reshape(height, width, -1)


def _webp(pixels: np.ndarray) -> bytes:
    """Lossless, also where alpha is 0."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(
        content, "WEBP", lossless=True, exact=True, quality=25, method=2
    )  # more effort gains nothing
    return content.getvalue()


def _unpacked(meta: Mapping[str, Any], bundle: zipfile.ZipFile) -> Gaussians:
    count = meta["count"]

    def pixels(key: str, number: int = 0, mode: str = "RGBA") -> np.ndarray:
        with Image.open(io.BytesIO(bundle.read(meta[key]["files"][number]))) as image:
            return np.asarray(image.convert(mode))

    def rows(key: str, number: int = 0) -> np.ndarray:
        flat = pixels(key, number).reshape(-1, 4)
        if len(flat) < count:
            raise ValueError(f"{key} holds {len(flat)} of {count} splats")
        return flat[:count].astype(np.int64)

    mins, maxs = np.array(meta["means"]["mins"]), np.array(meta["means"]["maxs"])
    logs = mins + (rows("means", 1) * 256 + rows("means", 0))[:, :3] / 65535 * (maxs - mins)
    colours = rows("sh0")
    opacities = np.clip(colours[:, 3] / 255, 1e-6, 1 - 1e-6)
    harmonics = np.array(meta["sh0"]["codebook"])[colours[:, None, :3]]
    if "shN" in meta:
        bands = (meta["shN"]["bands"] + 1) ** 2 - 1
        codes = pixels("shN", 0, "RGB").reshape(-1, bands, 3)
        labels = rows("shN", 1)
        rest = np.array(meta["shN"]["codebook"])[codes[labels[:, 0] + 256 * labels[:, 1]]]
        harmonics = np.concatenate([harmonics, rest], axis=1)
    return Gaussians(
        *map(
            _tensor,
            (
                np.sign(logs) * np.expm1(np.abs(logs)),
                _quaternions(rows("quats")),
                np.array(meta["scales"]["codebook"])[rows("scales")[:, :3]],
                np.log(opacities / (1 - opacities)),
                harmonics,
            ),
        ),
        antialiased=bool(meta.get("antialias", False)),
    )


def _quaternions(pixels: np.ndarray) -> np.ndarray:
    """[N, 4] wxyz of what `_rotations` made."""
    largest = np.clip(pixels[:, 3] - _LARGEST_AT, 0, 3)
    rest = (pixels[:, :3] / 255 - 0.5) * math.sqrt(2)
    quats = np.empty(pixels.shape)
    lines = np.arange(len(quats))
    quats[lines[:, None], _others(largest)] = rest
    quats[lines, largest] = np.sqrt(np.maximum(0, 1 - np.square(rest).sum(axis=1)))
    return quats


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))
