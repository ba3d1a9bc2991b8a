"""The CPU rasteriser: the numba kernels in order, on torch tensors, forward and backward.

Numba's simplest threading layer must not be entered by two Python threads at once (a viewer and a trainer, say), so
one lock guards every launch.
"""

from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from worldgen.progress import Track, untracked
from worldgen.splat import numba_bin, numba_blend, numba_harmonics, numba_project
from worldgen.types import Camera, Gaussians

_LAUNCH = Lock()


@dataclass(frozen=True, eq=False)
class Drawing:
    """What `draw` made and `draw_backward` needs. V splats, T tiles, P (splat, tile) pairs."""

    rgb: Tensor  # [3, H, W]
    alpha: Tensor  # [H, W]
    zdepth: Tensor  # [H, W]
    pose: np.ndarray  # [12], see numba_project
    lens: np.ndarray  # [6], see numba_project
    antialiased: bool
    rows: np.ndarray  # int64 [V], which Gaussians
    ellipses: np.ndarray  # [V, 6], see numba_project
    colours: np.ndarray  # [V, 4], red, green, blue, z-depth
    boxes: np.ndarray  # int32 [V, 4], pixels
    tile_starts: np.ndarray  # [T + 1]
    tile_ends: np.ndarray  # [T]
    pair_splats: np.ndarray  # [P]
    pair_slots: np.ndarray  # [P]
    slot_starts: np.ndarray  # [V + 1]


def _arrays(gaussians: Gaussians) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in gaussians.tensors().items()}


def _pose(camera: Camera) -> np.ndarray:
    c2w = camera.c2w.detach().cpu().numpy().astype(np.float32)
    return np.concatenate([c2w[:3, :3].T.ravel(), c2w[:3, 3]])


def _lens(camera: Camera) -> np.ndarray:
    return np.array([camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height], np.float32)


def _tiles(pixels: int) -> int:
    return -(-pixels // numba_blend.TILE)


def draw(gaussians: Gaussians, camera: Camera, background: Tensor, antialiased: bool) -> Drawing:
    """Renders contiguous float32 CPU tensors; background [3]."""
    with _LAUNCH:
        return _draw(_arrays(gaussians), camera, background.detach().numpy(), antialiased)


def _draw(g: dict[str, np.ndarray], camera: Camera, background: np.ndarray, antialiased: bool) -> Drawing:
    pose, lens = _pose(camera), _lens(camera)
    shape = g["means"], g["quats"], g["log_scales"], g["opacity_logits"]
    marks = np.empty(len(g["means"]), np.uint8)
    numba_project.mark_candidates(g["means"], g["log_scales"], g["opacity_logits"], pose, lens, marks)
    rows = np.flatnonzero(marks)

    ellipses = np.empty((len(rows), 6), np.float32)
    colours = np.empty((len(rows), 4), np.float32)
    zdepths = np.empty(len(rows), np.float32)
    boxes = np.empty((len(rows), 4), np.int32)
    numba_project.project(rows, *shape, pose, lens, antialiased, ellipses, zdepths, boxes)
    numba_harmonics.shade(rows, g["means"], g["sh"], pose[9:], colours, boxes)
    colours[:, 3] = zdepths

    order = numba_bin.depth_order(zdepths.view(np.uint32))
    tiles_x, tiles_y = _tiles(camera.width), _tiles(camera.height)
    pairs = numba_bin.deal_to_tiles(boxes, order, numba_blend.TILE, tiles_x, tiles_y)
    tile_starts, pair_splats, pair_slots, slot_starts = pairs

    rgb = np.empty((3, camera.height, camera.width), np.float32)
    alpha = np.empty((camera.height, camera.width), np.float32)
    zdepth = np.empty((camera.height, camera.width), np.float32)
    tile_ends = np.empty(tiles_x * tiles_y, np.int64)
    numba_blend.blend(
        tile_starts, pair_splats, ellipses, colours, boxes, tiles_x, background, rgb, alpha, zdepth, tile_ends
    )
    return Drawing(
        torch.from_numpy(rgb), torch.from_numpy(alpha), torch.from_numpy(zdepth), pose, lens, antialiased, rows,
        ellipses, colours, boxes, tile_starts, tile_ends, pair_splats, pair_slots, slot_starts,
    )  # fmt: skip


def draw_backward(
    gaussians: Gaussians, drawing: Drawing, v_rgb: Tensor, v_alpha: Tensor, v_zdepth: Tensor
) -> dict[str, Tensor]:
    """Gradients of the stored parameters, by name, from those of the images. Zero where a Gaussian is not in view."""
    # numpy's zeros cost nothing until they are touched, and most Gaussians are out of view
    gradients = {name: torch.from_numpy(np.zeros(t.shape, np.float32)) for name, t in gaussians.tensors().items()}
    images = drawing.rgb, drawing.alpha, drawing.zdepth, v_rgb, v_alpha, v_zdepth
    with _LAUNCH:
        _draw_backward(
            _arrays(gaussians), drawing, [i.contiguous().numpy() for i in images],
            {name: tensor.numpy() for name, tensor in gradients.items()},
        )  # fmt: skip
    return gradients


def _draw_backward(g: dict[str, np.ndarray], d: Drawing, images: list[np.ndarray], v: dict[str, np.ndarray]) -> None:
    slots = np.empty((len(d.pair_splats), 10), np.float32)
    v_colours = np.empty((len(d.rows), 3), np.float32)
    numba_blend.blend_backward(
        d.tile_starts, d.tile_ends, d.pair_splats, d.pair_slots, d.ellipses, d.colours, d.boxes,
        _tiles(images[0].shape[2]), *images, slots,
    )  # fmt: skip
    numba_project.project_backward(
        d.rows, d.slot_starts, slots, d.ellipses, g["means"], g["quats"], g["log_scales"], g["opacity_logits"],
        d.pose, d.lens, d.antialiased, v_colours, v["means"], v["quats"], v["log_scales"], v["opacity_logits"],
    )  # fmt: skip
    numba_harmonics.shade_backward(d.rows, g["means"], g["sh"], d.pose[9:], d.colours, v_colours, v["means"], v["sh"])


def compile_kernels(track: Track = untracked) -> None:
    """Compiles all kernels, or loads them from numba's cache, so that the first real step need not.

    Takes some tens of seconds on a machine's first run and well under a second afterwards.
    """
    gaussians = Gaussians(
        means=torch.tensor([[0.0, 0.0, 2.0]]), quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        log_scales=torch.full((1, 3), -3.0), opacity_logits=torch.zeros(1), sh=torch.zeros(1, 1, 3),
    )  # fmt: skip
    camera = Camera.from_fov(8, 8, 90.0)
    drawing = None
    for stage in track(("forward", "backward"), 2, "compiling the rasteriser (once per machine)"):
        if stage == "forward":
            drawing = draw(gaussians, camera, torch.zeros(3), antialiased=False)
        else:
            draw_backward(gaussians, drawing, drawing.rgb, drawing.alpha, drawing.zdepth)
