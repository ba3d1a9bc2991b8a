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
from worldgen.splat.kernels import binning, blend, harmonics, projection
from worldgen.types import Camera, Gaussians

_LAUNCH = Lock()


@dataclass(frozen=True, eq=False)
class RasterState:
    """How `rasterize` came to its images, for `rasterize_backward`. V splats, T tiles, P (splat, tile) pairs."""

    pose: np.ndarray  # [12], see projection
    lens: np.ndarray  # [6], see projection
    antialiased: bool
    rows: np.ndarray  # int64 [V], which Gaussians
    splats: np.ndarray  # [V, 10], see projection
    tile_ends: np.ndarray  # int64 [T], see blend
    pair_blocks: np.ndarray  # [P], see blend; what follows: see binning
    tile_starts: np.ndarray  # [T + 1]
    pair_splats: np.ndarray  # [P]
    pair_slots: np.ndarray  # [P]
    slot_starts: np.ndarray  # [V + 1]


def _arrays(gaussians: Gaussians) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in gaussians.tensors().items()}


def _pose(camera: Camera) -> np.ndarray:
    c2w = camera.c2w.detach().cpu().numpy().astype(np.float64)
    return np.concatenate([c2w[:3, :3].T.ravel(), c2w[:3, 3]])


def _lens(camera: Camera) -> np.ndarray:
    return np.array([camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height], np.float64)


def _tiles(pixels: int) -> int:
    return -(-pixels // blend.TILE)


def rasterize(
    gaussians: Gaussians, camera: Camera, background: Tensor, antialiased: bool
) -> tuple[Tensor, Tensor, Tensor, RasterState]:
    """rgb [3, H, W], alpha [H, W] and zdepth [H, W] of contiguous float32 CPU tensors; background [3]."""
    rgb = np.empty((3, camera.height, camera.width), np.float32)
    alpha = np.empty((camera.height, camera.width), np.float32)
    zdepth = np.empty((camera.height, camera.width), np.float32)
    with _LAUNCH:
        state = _lay_out(_arrays(gaussians), camera, antialiased)
        blend.blend(
            state.tile_starts, state.pair_splats, state.splats, _tiles(camera.width),
            background.detach().numpy(), rgb, alpha, zdepth, state.tile_ends, state.pair_blocks,
        )  # fmt: skip
    return torch.from_numpy(rgb), torch.from_numpy(alpha), torch.from_numpy(zdepth), state


def _lay_out(g: dict[str, np.ndarray], camera: Camera, antialiased: bool) -> RasterState:
    """Which Gaussians are drawn, how they look, and in which order in which tile."""
    pose, lens = _pose(camera), _lens(camera)
    marks = np.empty(len(g["means"]), np.uint8)
    projection.mark_candidates(g["means"], g["log_scales"], g["opacity_logits"], pose, lens, marks)
    rows = np.flatnonzero(marks)

    splats = np.empty((len(rows), 10), np.float32)
    boxes = np.empty((len(rows), 4), np.int32)
    projection.project(
        rows, g["means"], g["quats"], g["log_scales"], g["opacity_logits"], pose, lens, antialiased, splats, boxes
    )
    harmonics.shade(rows, g["means"], g["sh"], pose[9:], splats, boxes)

    order = binning.depth_order(splats[:, 9].copy().view(np.uint32))
    tiles_x, tiles_y = _tiles(camera.width), _tiles(camera.height)
    tile_starts, pair_splats, *slots = binning.deal_to_tiles(boxes, order, blend.TILE_BITS, tiles_x, tiles_y)
    tile_ends, pair_blocks = np.empty(tiles_x * tiles_y, np.int64), np.empty(len(pair_splats), np.uint64)
    return RasterState(pose, lens, antialiased, rows, splats, tile_ends, pair_blocks, tile_starts, pair_splats, *slots)


def visible_rows(state: RasterState) -> tuple[np.ndarray, np.ndarray]:
    """(int64 [D], which Gaussians can touch a pixel; bool [V], which of the state's splats those are)."""
    shows = state.slot_starts[1:] > state.slot_starts[:-1]
    return state.rows[shows], shows


def rasterize_backward(
    gaussians: Gaussians,
    state: RasterState,
    images: tuple[Tensor, ...],
    v_images: tuple[Tensor | None, ...],
    absolute: bool = False,
) -> tuple[dict[str, Tensor], np.ndarray]:
    """Gradients of the stored parameters, by name, zero where a Gaussian is not in view; and float32 [V, 2], the
    gradient with respect to each splat's centre in pixels, if `absolute` summed up pixel by pixel without its sign.

    images: the rgb, alpha and zdepth that `rasterize` returned; v_images: the gradients of the loss with respect to
    them, None where there is none. Where only the colours have one, it is found sooner.
    """
    v_rgb, *v_others = v_images
    colours_alone = not absolute and all(gradient is None for gradient in v_others)
    filled = images[1:] if colours_alone else map(_or_zeros, v_others, images[1:])  # the first are not looked at
    # numpy's zeros cost nothing until they are touched
    gradients = {name: np.zeros(t.shape, np.float32) for name, t in gaussians.tensors().items()}
    with _LAUNCH:
        every = (*images, _or_zeros(v_rgb, images[0]), *filled)
        arrays = [image.detach().contiguous().numpy() for image in every]
        slots = np.empty((len(state.pair_splats), blend.COLOUR_SUMS if colours_alone else blend.SUMS), np.float32)
        v_centres = _carry_back(_arrays(gaussians), state, arrays, absolute, slots, gradients)
    return {name: torch.from_numpy(gradient) for name, gradient in gradients.items()}, v_centres


def _or_zeros(gradient: Tensor | None, image: Tensor) -> Tensor:
    return torch.zeros_like(image) if gradient is None else gradient


def _carry_back(
    g: dict[str, np.ndarray],
    d: RasterState,
    images: list[np.ndarray],
    absolute: bool,
    slots: np.ndarray,
    v: dict[str, np.ndarray],
) -> np.ndarray:
    v_colours = np.empty((len(d.rows), 3), np.float32)
    v_centres = np.empty((len(d.rows), 2), np.float32)
    blend.blend_backward(
        d.tile_starts, d.tile_ends, d.pair_splats, d.pair_blocks, d.pair_slots, d.splats,
        _tiles(images[0].shape[2]), *images, slots,
    )  # fmt: skip
    projection.project_backward(
        d.rows, d.slot_starts, slots, d.splats, g["means"], g["quats"], g["log_scales"], g["opacity_logits"],
        d.pose, d.lens, d.antialiased, absolute, v_colours, v_centres, v["means"], v["quats"], v["log_scales"],
        v["opacity_logits"],
    )  # fmt: skip
    harmonics.shade_backward(
        d.rows, g["means"], g["sh"], d.pose[9:], d.splats, v_colours, v["means"], v["sh"]
    )  # fmt: skip
    return v_centres


def compile_kernels(track: Track = untracked) -> None:
    """Compiles all kernels, or loads them from numba's cache, so that the first real step need not.

    Half a minute on a machine's first run, about a second afterwards.
    """
    gaussians = Gaussians(
        means=torch.tensor([[0.0, 0.0, 2.0]]),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        log_scales=torch.full((1, 3), -3.0),
        opacity_logits=torch.zeros(1),
        sh=torch.zeros(1, 1, 3),
    )
    camera = Camera.from_fov(8, 8, 90.0)
    for stage in track(("forward", "backward"), 2, "compiling the rasteriser (once per machine)"):
        if stage == "forward":
            *images, state = rasterize(gaussians, camera, torch.zeros(3), antialiased=False)
        else:
            rasterize_backward(gaussians, state, tuple(images), tuple(images))
