"""Gaussians as files: the 3DGS .ply and .spz that viewers read, and our own safetensors.

All of them keep the world's axes (x right, y down, z forward): .ply has no other convention, and .spz writers (gsply,
Niantic's own ply_to_spz) carry the axes of the .ply over.
"""

import gzip
import logging
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import UserError
from worldgen.io.ply import read_vertices, write_vertices
from worldgen.io.tensor_files import expect_finite, load_tensors, metadata_of, save_tensors
from worldgen.types import Gaussians

_SPZ_FINEST_BITS = 12  # fractional bits of a coordinate: 0.24 mm
_SPZ_FLAGS_AT, _SPZ_ANTIALIASED = 14, 1  # after magic, version, count (4 bytes each), degree and bits (1 each)
_SPZ_MAGIC = b"NGSP"
_ANTIALIASED = "antialiased"  # a key of the metadata, there where the Gaussians are
_FULL_LOGIT = 30.0  # of an opacity that float32 cannot tell from 1, or, negative, from 0
_NO_LOG_SCALE = -30.0  # of a size that is nothing: 1e-13 units

_log = logging.getLogger("worldgen")


def write_ply(path: Path, gaussians: Gaussians) -> None:
    """The 3DGS layout: x y z nx ny nz f_dc_* f_rest_* opacity scale_* rot_*, little endian, no header comments.

    Opacities are logits, scales natural logs of metres, quaternions unit wxyz; f_rest is channel by channel. Raises
    UserError where a value is not finite.
    """
    expect_finite("Gaussians", gaussians.tensors())
    harmonics = gaussians.sh.transpose(1, 2)  # [N, 3, K]
    columns = torch.cat(
        [
            gaussians.means,
            torch.zeros_like(gaussians.means),
            harmonics[..., 0],
            harmonics[..., 1:].flatten(1),
            gaussians.opacity_logits[:, None],
            gaussians.log_scales,
            _unit(gaussians.quats),
        ],
        dim=1,
    )
    fields = [(name, "<f4") for name in _gaussian_columns(gaussians.sh.shape[1])]
    rows = columns.detach().cpu().float().contiguous().numpy()
    write_vertices(path, rows.view(np.dtype(fields))[:, 0])


def read_ply(path: Path) -> Gaussians:
    """What `write_ply` and other 3DGS tools write; a warning says how many rows `read_rows` left out."""
    gaussians, dropped = read_rows(path)
    if dropped:
        _log.warning("%s: %s", path, dropped_line(dropped, len(gaussians)))
    return gaussians


def read_rows(path: Path, origin: Sequence[float] = (0.0, 0.0, 0.0)) -> tuple[Gaussians, int]:
    """The Gaussians of a 3DGS .ply whose values are finite, and how many others were left out.

    An opacity logit of infinity is as good as 1, one of minus infinity as 0, a log scale of minus infinity as no size
    at all: these get finite values instead. origin: taken from the means before they become float32. Raises UserError
    for other files.
    """
    vertices = read_vertices(path)
    names = vertices.dtype.names
    rest = sum(name.startswith("f_rest_") for name in names)
    bands = rest // 3 + 1
    if rest % 3 or bands not in (1, 4, 9, 16):
        raise UserError(f"{path}: {rest} f_rest properties, wanted 0, 9, 24 or 45")
    missing = [name for name in _gaussian_columns(bands) if name not in names and name not in ("nx", "ny", "nz")]
    if missing:
        raise UserError(f"{path}: no property {missing[0]!r}, wanted a 3D Gaussian splatting .ply")
    harmonics = _columns(vertices, "f_dc_", 3)[..., None]
    if rest:
        harmonics = torch.cat([harmonics, _columns(vertices, "f_rest_", rest).reshape(-1, 3, bands - 1)], dim=2)
    means = [vertices[name].astype(np.float64) - away for name, away in zip("xyz", origin, strict=True)]
    gaussians = Gaussians(
        means=torch.from_numpy(np.stack(means, axis=1).astype(np.float32)),
        quats=_columns(vertices, "rot_", 4),
        log_scales=_finite(_columns(vertices, "scale_", 3), {-torch.inf: _NO_LOG_SCALE}),
        opacity_logits=_finite(_column(vertices, "opacity"), {torch.inf: _FULL_LOGIT, -torch.inf: -_FULL_LOGIT}),
        sh=harmonics.transpose(1, 2).contiguous(),
    )
    return _sound(path, gaussians)


def dropped_line(dropped: int, kept: int) -> str:
    """What a person is told of rows that were left out."""
    return f"{dropped} of {dropped + kept} splats left out, whose values are not finite"


def _finite(values: Tensor, instead: Mapping[float, float]) -> Tensor:
    for infinite, finite in instead.items():
        values = torch.where(values == infinite, finite, values)
    return values


def _sound(path: Path, gaussians: Gaussians) -> tuple[Gaussians, int]:
    """Those of which every value is finite, and how many are not so. Raises UserError where all are broken."""
    rows = torch.ones(len(gaussians), dtype=torch.bool)
    for tensor in gaussians.tensors().values():
        rows &= torch.isfinite(tensor).flatten(1).all(dim=1) if tensor.ndim > 1 else torch.isfinite(tensor)
    dropped = len(rows) - int(rows.sum())
    if dropped and dropped == len(rows):
        raise UserError(f"{path}: none of {dropped} splats has finite values, wanted one at least")
    kept = {name: tensor[rows] for name, tensor in gaussians.tensors().items()} if dropped else gaussians.tensors()
    return Gaussians(**kept), dropped


def write_spz(path: Path, gaussians: Gaussians) -> None:
    """Niantic's compressed format 3: positions to 0.24 mm, the rest in bytes. Raises UserError as `write_ply` does."""
    import gsply  # here, because it takes a second to import

    expect_finite("Gaussians", gaussians.tensors())
    arrays = {name: tensor.detach().cpu().float().numpy() for name, tensor in gaussians.tensors().items()}
    data = gsply.GSData.from_arrays(
        means=arrays["means"],
        scales=arrays["log_scales"],
        quats=_unit(gaussians.quats).detach().cpu().float().numpy(),
        opacities=arrays["opacity_logits"],
        sh0=arrays["sh"][:, 0],
        shN=arrays["sh"][:, 1:] if arrays["sh"].shape[1] > 1 else None,
        format="ply",
    )
    gsply.write_spz(path, data, fractional_bits=_spz_bits(arrays["means"]))
    if gaussians.antialiased:
        _flag_antialiased(path)


def read_spz(path: Path) -> Gaussians:
    """What `write_spz` and other tools write, and the flag by which they say how it is to be rendered.

    Raises UserError for other files.
    """
    import gsply  # here, because it takes a second to import

    try:
        data = gsply.read_spz(path)
        bands = [data.sh0[:, None]] + ([] if data.shN is None else [data.shN])
        means, quats, scales, logits = map(torch.tensor, (data.means, data.quats, data.scales, data.opacities))
        harmonics = torch.cat([torch.tensor(band) for band in bands], dim=1)
        antialiased = bool(_spz_flags(path) & _SPZ_ANTIALIASED)
        return Gaussians(means, quats, scales, logits, harmonics, antialiased)
    except (OSError, ValueError, IndexError, EOFError, zlib.error) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: not readable ({reason}), wanted splats as .spz") from error


def _spz_flags(path: Path) -> int:
    """The byte of flags, which stands at one place in the gzipped versions 1 to 3 and, not gzipped, in version 4."""
    with path.open("rb") as file:
        packed = file.read(len(_SPZ_MAGIC)) != _SPZ_MAGIC
    with gzip.open(path) if packed else path.open("rb") as file:
        return file.read(_SPZ_FLAGS_AT + 1)[_SPZ_FLAGS_AT]


def _flag_antialiased(path: Path) -> None:
    """Sets the flag by which viewers know to compensate; gsply has no word for it."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[_SPZ_FLAGS_AT] |= _SPZ_ANTIALIASED
    path.write_bytes(gzip.compress(content, mtime=0))


def save_gaussians(path: Path, gaussians: Gaussians) -> None:
    """All tensors, exactly, as safetensors; how to render them in its metadata."""
    save_tensors(path, gaussians.tensors(), {_ANTIALIASED: "true"} if gaussians.antialiased else None)


def load_gaussians(path: Path) -> Gaussians:
    """What `save_gaussians` wrote. Raises UserError where the file is something else or holds non-finite values."""
    tensors = load_tensors(path, ("means", "quats", "log_scales", "opacity_logits", "sh"))
    try:
        return Gaussians(**tensors, antialiased=metadata_of(path).get(_ANTIALIASED) == "true")
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _unit(quats: Tensor) -> Tensor:
    """Unit quaternions; no rotation where there is none to be had from a zero."""
    none = torch.tensor([1.0, 0, 0, 0]).to(quats)
    return torch.where(quats.norm(dim=1, keepdim=True) > 0, F.normalize(quats, dim=1), none)


def _spz_bits(means: np.ndarray) -> int:
    """The most fractional bits with which 24-bit signed coordinates still reach the farthest Gaussian."""
    farthest = np.abs(means).max(initial=1.0)
    return int(np.clip(22 - np.floor(np.log2(farthest)), 1, _SPZ_FINEST_BITS))


def _gaussian_columns(bands: int) -> list[str]:
    rest = [f"f_rest_{i}" for i in range(3 * (bands - 1))]
    rotation = [f"rot_{i}" for i in range(4)]
    colour, scale = [f"f_dc_{i}" for i in range(3)], [f"scale_{i}" for i in range(3)]
    return ["x", "y", "z", "nx", "ny", "nz", *colour, *rest, "opacity", *scale, *rotation]


def _column(vertices: np.ndarray, name: str) -> Tensor:
    return torch.from_numpy(vertices[name].astype(np.float32))


def _columns(vertices: np.ndarray, prefix: str, count: int) -> Tensor:
    return torch.stack([_column(vertices, f"{prefix}{i}") for i in range(count)], dim=1)
