"""The report's pictures, read from a run folder's artifacts and reduced: [H, W, 3] uint8 arrays, or none."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt

from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import to_perspective
from worldgen.io.clouds import load_cloud
from worldgen.io.gaussians import load_gaussians
from worldgen.runs import disk
from worldgen.runs.reader import RunReader
from worldgen.runs.steps_table import COMPLETE, LIFT, PANORAMA, SPLAT
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, PointCloud

PREVIEW = "preview.jpg"
_PREVIEW_WIDTH = 384
_WIDTH = 1200  # pixels of a picture that fills the page
_ASIDE_M = (0.5, -0.1, 0.3)
_SIDE_STEPS_M = {"half_a_metre_left": -0.5, "half_a_metre_right": 0.5}


def data_uri(pixels: np.ndarray) -> str:
    """uint8 [H, W, 3] as a JPEG that the page carries itself."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85, optimize=True, progressive=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def reduced(path: Path, width: int = _WIDTH) -> np.ndarray | None:
    """A picture at most `width` wide; none where there is no file."""
    if not path.exists():
        return None
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    if rgb.width > width:
        rgb = rgb.resize((width, max(1, round(rgb.height * width / rgb.width))), Image.Resampling.LANCZOS)
    return np.array(rgb)


def photo_camera(run_dir: Path, width: int = 640) -> Camera | None:
    """The photo's camera, `width` pixels wide; of a given panorama its front view's. None where it is not known."""
    reader = RunReader(run_dir)
    if not reader.has_camera():
        return None
    camera = reader.camera()
    return camera.resized(width, max(1, round(width * camera.height / camera.width)))


def photo(run_dir: Path) -> np.ndarray | None:
    """The photo as the panorama holds it: the view through its own camera."""
    panorama, camera = _panorama(run_dir)[0], photo_camera(run_dir)
    if panorama is None or camera is None:
        return None
    return _pixels(to_perspective(torch.from_numpy(panorama).permute(2, 0, 1) / 255, camera, "bicubic"))


def splat_views(run_dir: Path) -> list[np.ndarray]:
    """The finished splats through the photo's camera, and from a step aside."""
    path, camera = RunReader(run_dir).path(SPLAT, "gaussians.safetensors"), photo_camera(run_dir)
    if camera is None or not path.exists():
        return []
    gaussians, aside = load_gaussians(path), look_at(0.0, position=torch.tensor(_ASIDE_M))
    with torch.no_grad():
        return [_pixels(rasterize(gaussians, one).rgb) for one in (camera, replace(camera, c2w=aside))]


def side_steps(run_dir: Path, width: int = 512) -> dict[str, np.ndarray]:
    """The finished splats as the photo looks at them, from half a metre beside its place, by name; none without."""
    path, camera = RunReader(run_dir).path(SPLAT, "gaussians.safetensors"), photo_camera(run_dir, width)
    if camera is None or not path.exists():
        return {}
    gaussians, found = load_gaussians(path), {}
    with torch.no_grad():
        for name, aside_m in _SIDE_STEPS_M.items():
            pose = look_at(0.0, position=torch.tensor([aside_m, 0.0, 0.0]))
            found[name] = _pixels(rasterize(gaussians, replace(camera, c2w=pose)).rgb)
    return found


def _pixels(rgb: torch.Tensor) -> np.ndarray:
    """[3, H, W] in [0, 1] -> uint8 [H, W, 3]."""
    return (rgb.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def is_given(run_dir: Path) -> bool:
    """Whether the photo is the whole panorama."""
    mask = _panorama(run_dir)[1]
    return mask is not None and bool(mask.all())


def outlined_panorama(run_dir: Path) -> np.ndarray | None:
    """The panorama with a white line round the photo's own pixels."""
    panorama, mask = _panorama(run_dir)
    if panorama is None or mask is None:
        return panorama
    eroded = mask.copy()
    for axis in (0, 1):
        for shift in (-1, 1):
            eroded &= np.roll(mask, shift, axis)
    marked = panorama.copy()
    marked[mask & ~eroded] = 255
    return marked


def write_preview(run_dir: Path) -> None:
    """`run_dir`/preview.jpg: the panorama, small, for pages that show many runs; nothing where there is none."""
    try:
        pixels = reduced(RunReader(run_dir).panorama_path(), _PREVIEW_WIDTH)
    except UserError:
        return
    if pixels is not None:
        with disk.landing(run_dir / PREVIEW) as fresh:
            Image.fromarray(pixels).save(fresh, quality=85)


def _panorama(run_dir: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The panorama as synthesised and the photo's mask at the same size."""
    folder = RunReader(run_dir).path(PANORAMA)
    panorama = reduced(folder / "panorama.png", 1600)
    if panorama is None or not (folder / "photo_mask.png").exists():
        return panorama, None
    with Image.open(folder / "photo_mask.png") as image:
        mask = image.convert("L").resize(panorama.shape[1::-1], Image.Resampling.BILINEAR)
    return panorama, np.array(mask) >= 128


def plan(run_dir: Path, size: int = 480) -> tuple[np.ndarray, float] | None:
    """The point cloud from above, the photo's direction up, the camera in the middle; and its half width in metres.

    What lies more than half a metre above the camera is left out, so that no sky or ceiling covers the ground. A point
    covers the surface as far as its neighbours.
    """
    path = RunReader(run_dir).path(LIFT, "cloud.safetensors")
    if not path.exists():
        return None
    cloud = load_cloud(path)
    cloud = cloud[cloud.xyz[:, 1] > -0.5]
    if len(cloud) == 0:
        return None
    across = np.hypot(cloud.xyz[:, 0].numpy(), cloud.xyz[:, 2].numpy())
    radius_m = float(np.clip(np.quantile(across, 0.9), 1.0, 50.0))
    metres = 2 * radius_m / size
    place = ((torch.stack([-cloud.xyz[:, 2], cloud.xyz[:, 0]], dim=1) + radius_m) / metres).floor().long()
    seen = ((place >= 0) & (place < size)).all(dim=1)
    upward = cloud[seen].xyz[:, 1].argsort(descending=True)  # the highest is drawn last
    rows, columns = place[seen][upward].numpy().T
    picture, reach = np.full((size, size, 3), 128, np.uint8), np.full((size, size), -1.0)
    picture[rows, columns] = (cloud[seen].rgb[upward].clamp(0, 1) * 255).byte().numpy()
    reach[rows, columns] = _along_surface(cloud[seen])[upward].numpy()
    gap, (row, column) = distance_transform_edt(reach < 0, return_indices=True)
    covered = gap * metres <= reach[row, column]
    picture[covered] = picture[row, column][covered]
    middle = slice(size // 2 - 3, size // 2 + 3)
    picture[middle, middle] = (255, 60, 60)
    return picture, radius_m


def _along_surface(cloud: PointCloud) -> torch.Tensor:
    """[N] metres to the farther neighbour on a surface that the origin's rays meet at a slant."""
    facing = (cloud.normals * torch.nn.functional.normalize(cloud.xyz, dim=1)).sum(dim=1).abs()
    return cloud.spacing / facing.clamp(min=0.05)


def completed(run_dir: Path, count: int = 4) -> list[np.ndarray]:
    """The completed views that were filled most: beside each other the view with its holes in grey, and filled."""
    masks = sorted(RunReader(run_dir).path(COMPLETE).glob("[0-9]*_inpainted.png"))
    shares = {path: float(np.mean(_mask(path))) for path in masks}
    chosen = sorted(sorted(masks, key=shares.__getitem__, reverse=True)[:count])
    return [_before_and_after(path) for path in chosen]


def _mask(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("L").resize((360, 360), Image.Resampling.NEAREST)) >= 128


def _before_and_after(mask_path: Path) -> np.ndarray:
    picture = mask_path.with_name(mask_path.name.replace("_inpainted", ""))
    with Image.open(picture) as image:
        after = np.array(image.convert("RGB").resize((360, 360), Image.Resampling.LANCZOS))
    before = np.where(_mask(mask_path)[..., None], np.uint8(128), after)
    return np.concatenate([before, np.full((360, 8, 3), 255, np.uint8), after], axis=1)
