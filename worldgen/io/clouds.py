"""Point clouds as files: points .ply for others, and our own safetensors. Both keep the world's axes and metres."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from worldgen.errors import UserError
from worldgen.io.ply import write_vertices
from worldgen.io.tensor_files import expect_finite, load_tensors, save_tensors
from worldgen.types import PointCloud


def write_points_ply(path: Path, cloud: PointCloud) -> None:
    """Coloured points with normals: x y z nx ny nz (metres) red green blue (bytes)."""
    expect_finite("PointCloud", _tensors(cloud))
    fields = [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
    vertices = np.empty(len(cloud), np.dtype([*fields, *((name, "u1") for name in ("red", "green", "blue"))]))
    columns = [*cloud.xyz.T, *cloud.normals.T, *(cloud.rgb.T.clamp(0, 1) * 255).round()]
    for name, column in zip(vertices.dtype.names or (), columns, strict=True):
        vertices[name] = column
    write_vertices(path, vertices)


def save_cloud(path: Path, cloud: PointCloud, metadata: Mapping[str, str] | None = None) -> None:
    """All tensors, exactly, as safetensors, and a few words about them."""
    save_tensors(path, _tensors(cloud), metadata)


def load_cloud(path: Path) -> PointCloud:
    """What `save_cloud` wrote. Raises UserError where the file is something else or holds non-finite values."""
    tensors = load_tensors(path, ("xyz", "rgb", "normals", "spacing", "sky"))
    try:
        return PointCloud(**tensors)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _tensors(cloud: PointCloud) -> dict[str, Tensor]:
    return {"xyz": cloud.xyz, "rgb": cloud.rgb, "normals": cloud.normals, "spacing": cloud.spacing, "sky": cloud.sky}
