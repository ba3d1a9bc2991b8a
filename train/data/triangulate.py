"""Points to start from where poses are known and points are not: what COLMAP's SIFT finds in several of the pictures,
triangulated from the given cameras (pycolmap; Schönberger and Frahm, "Structure-from-Motion Revisited", Section 4).
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from train.data.point_files import Points
from worldgen.runs.artifacts import save_image, save_mask
from worldgen.runs.disk import land
from worldgen.types import Camera, SupervisionView

if TYPE_CHECKING:
    import pycolmap

FEWEST = 100  # points: fewer say more of chance than of the scene
_NEIGHBOURS = 12  # views that each view is matched with
_WIDEST_DEG = 100.0  # between the optical axes of two views that are matched
_FEWEST_VIEWS = 3
_VERSION = 1  # raised when the same views come to give other points
_SEED = 0  # of COLMAP's random samples: the same pictures give the same points
_IMAGES, _MASKS, _DATABASE, _MODEL = "images", "masks", "database.db", "model"


def can_triangulate() -> bool:
    """Whether pycolmap is installed."""
    return find_spec("pycolmap") is not None


def triangulated_points(where: str, views: Sequence[SupervisionView], cache: Path | None = None) -> Points | None:
    """Points that at least three of the views show, in the cameras' world; None where there are fewer than `FEWEST`.

    Features are looked for where a view's weight is above 0. Every view is matched with the `_NEIGHBOURS` that stand
    and look most as it does: some 0.4 s of two cores a view for its features, 0.04 s a pair. On one machine the same
    views give the same points, to the bit; `cache`, a folder, keeps them, so that a fit that is resumed on another
    machine starts from the same.
    """
    path = None if cache is None else cache / f"points-{_key(views)}.safetensors"
    tensors = None if path is None else _load(path)
    if tensors is None:
        tensors = _find(views)
        if path is not None:
            _save(path, tensors)
    if len(tensors["xyz"]) < FEWEST:
        return None
    return Points(where, tensors["xyz"], tensors["rgb"])


def _find(views: Sequence[SupervisionView]) -> dict[str, Tensor]:
    """xyz [N, 3] and rgb [N, 3]."""
    import pycolmap  # here, because it is large and few need it

    if len(views) < _FEWEST_VIEWS:
        return {"xyz": torch.empty(0, 3), "rgb": torch.empty(0, 3)}
    with tempfile.TemporaryDirectory(prefix="worldgen-points-") as temporary, _quiet(pycolmap):
        folder = Path(temporary)
        names = _write(folder, views)
        _register(pycolmap, folder / _DATABASE, names, views)
        _match(pycolmap, folder, names, [view.camera for view in views])
        model = _triangulate(pycolmap, folder, names, views)
    points = [model.points3D[number] for number in sorted(model.points3D)]
    xyz, rgb = (
        np.array([getattr(point, name) for point in points], np.float32).reshape(-1, 3) for name in ("xyz", "color")
    )
    return {"xyz": torch.from_numpy(xyz), "rgb": torch.from_numpy(rgb) / 255}


def _key(views: Sequence[SupervisionView]) -> str:
    """Another one for other views."""
    digest = hashlib.sha256(str(_VERSION).encode())
    for view in views:
        camera = view.camera
        digest.update(f"{camera.width} {camera.height} {camera.fx} {camera.fy} {camera.cx} {camera.cy}".encode())
        for tensor in (camera.c2w, view.rgb, view.weight):
            digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()[:32]


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    """A disk that is full or may not be written is no reason to stop: the next start takes longer, that is all."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{os.getpid()}-{path.name}")
        partial.write_bytes(save(tensors))
        land(partial, path)


def _load(path: Path) -> dict[str, Tensor] | None:
    """None where it is not there, or broken."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError):
        return None
    return tensors if set(tensors) == {"xyz", "rgb"} else None


@contextmanager
def _quiet(module: "pycolmap") -> Iterator[None]:
    """Without COLMAP's account of each picture."""
    level, module.logging.minloglevel = module.logging.minloglevel, int(module.logging.ERROR)
    try:
        yield
    finally:
        module.logging.minloglevel = level


def matched_pairs(cameras: Sequence[Camera], neighbours: int = _NEIGHBOURS) -> list[tuple[int, int]]:
    """Numbers of the views that may show the same, the lower first, sorted: each with its nearest neighbours, by how
    far apart they stand (relative to the median distance from their middle) and how differently they look (radians)."""
    places = torch.stack([camera.position for camera in cameras]).double()
    axes = torch.stack([camera.c2w[:3, 2] for camera in cameras]).double()
    spread = (places - places.mean(dim=0)).norm(dim=1).median().clamp(min=torch.finfo(torch.float32).tiny)
    turned = torch.arccos((axes @ axes.T).clamp(-1, 1))
    apart = torch.cdist(places, places) / spread + turned
    apart[turned > np.radians(_WIDEST_DEG)] = torch.inf
    apart.fill_diagonal_(torch.inf)
    pairs = set()
    for number, row in enumerate(apart):
        nearest = torch.argsort(row, stable=True)[:neighbours]
        pairs |= {(min(number, int(other)), max(number, int(other))) for other in nearest if torch.isfinite(row[other])}
    return sorted(pairs)


def _write(folder: Path, views: Sequence[SupervisionView]) -> list[str]:
    """The views' pictures, and masks of those that do not count everywhere; returns their names."""
    names = [f"{number:05}.png" for number in range(len(views))]
    (folder / _IMAGES).mkdir()
    masked = any(bool((view.weight <= 0).any()) for view in views)
    if masked:
        (folder / _MASKS).mkdir()
    for name, view in zip(names, views, strict=True):
        save_image(folder / _IMAGES / name, view.rgb)
        if masked:
            save_mask(folder / _MASKS / f"{name}.png", view.weight > 0)
    return names


def _register(module: "pycolmap", database: Path, names: Sequence[str], views: Sequence[SupervisionView]) -> None:
    """Cameras and pictures, numbered from 1 in the views' order."""
    with module.Database.open(database) as tables:
        for number, (name, view) in enumerate(zip(names, views, strict=True), 1):
            tables.write_camera(_camera(module, number, view.camera), use_camera_id=True)
            tables.write_image(module.Image(name=name, camera_id=number, image_id=number), use_image_id=True)


def _match(module: "pycolmap", folder: Path, names: Sequence[str], cameras: Sequence[Camera]) -> None:
    reader = module.ImageReaderOptions()
    if (folder / _MASKS).is_dir():
        reader.mask_path = folder / _MASKS
    cpu = module.Device.cpu
    module.extract_features(
        folder / _DATABASE, folder / _IMAGES, image_names=list(names), reader_options=reader, device=cpu
    )
    listed = "".join(f"{names[first]} {names[second]}\n" for first, second in matched_pairs(cameras))
    pairing = module.ImportedPairingOptions()
    pairing.match_list_path = folder / "pairs.txt"
    Path(pairing.match_list_path).write_text(listed, encoding="ascii")
    verification = module.TwoViewGeometryOptions()
    verification.ransac.random_seed = _SEED
    module.match_image_pairs(folder / _DATABASE, pairing_options=pairing, verification_options=verification, device=cpu)


def _triangulate(
    module: "pycolmap", folder: Path, names: Sequence[str], views: Sequence[SupervisionView]
) -> "pycolmap.Reconstruction":
    model = module.Reconstruction()
    for number, (name, view) in enumerate(zip(names, views, strict=True), 1):
        model.add_camera_with_trivial_rig(_camera(module, number, view.camera))
        w2c = np.linalg.inv(view.camera.c2w.double().numpy())[:3]
        image = module.Image(name=name, camera_id=number, image_id=number)
        model.add_image_with_trivial_frame(image, module.Rigid3d(w2c))
    options = module.IncrementalPipelineOptions()
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = _SEED
    options.num_threads = options.mapper.num_threads = 1  # sums in one order
    (folder / _MODEL).mkdir()
    return module.triangulate_points(model, folder / _DATABASE, folder / _IMAGES, folder / _MODEL, options=options)


def _camera(module: "pycolmap", number: int, camera: Camera) -> "pycolmap.Camera":
    params = [camera.fx, camera.fy, camera.cx, camera.cy]
    return module.Camera(model="PINHOLE", width=camera.width, height=camera.height, params=params, camera_id=number)
