"""A picture warped to another camera, and there and back again (paper step 8: what the ControlNet learns from)."""

import numba
import numpy as np
import torch
from torch import Tensor

from worldgen.geometry.cameras import distance_to_zdepth
from worldgen.geometry.kernels import warp as kernels
from worldgen.geometry.points import render_view
from worldgen.types import Camera, View

_SAME_SURFACE = 0.03  # relative distance within which a pixel that came back lies on the surface that it left
_NEAR_M = 0.05  # what is nearer is not seen, as in `render_points`


def forward_warp(view: View, camera: Camera) -> View:
    """What `camera` sees of the known pixels of `view`; `known` is the warp's mask (paper, step 8).

    Both views have rgb [3, H, W], known [H, W] and distances [H, W] of their own sizes. It is drawn as the recipe draws
    the points that a view is completed from, so that training shows the same gaps. ValueError without distances.
    """
    return render_view(view, camera)


def round_trip_warp(view: View, camera: Camera) -> View:
    """`view` under the mask of what survives being warped to `camera` and back (paper, forward-backward warp).

    What `camera` cannot see, because something stands before it or because it lies outside the picture, is lost:
    that is the self-occlusion mask. Pixels that survive keep their own colours, so they are correct by construction.
    Of the size of `view`, 0 where nothing survives. Raises ValueError without distances.
    """
    on_cpu = view.measured.device.type == "cpu"
    survives = seen_from(view, camera) if on_cpu else came_back(view, camera)
    zero = view.rgb.new_zeros(())
    return View(view.camera, view.rgb.where(survives, zero), survives, view.measured.where(survives, zero))


def seen_from(view: View, camera: Camera) -> Tensor:
    """bool [H, W]: the known pixels of `view` that `camera` sees, on the CPU: no nearer one of them lies before it.

    Raises ValueError without distances.
    """
    known = view.known & (view.measured > 0)
    inverse = torch.where(known, 1 / distance_to_zdepth(view.camera, view.measured), torch.zeros(()))
    motion = camera.w2c.double() @ view.camera.c2w.double()
    return torch.from_numpy(
        kernels.survivors(
            inverse.float().contiguous().numpy(), known.contiguous().numpy(), _lens(view.camera),
            motion.float().cpu().numpy(), _lens(camera), camera.width, camera.height,
            np.float32(_NEAR_M), np.float32(_SAME_SURFACE), numba.get_num_threads(),
        )
    )  # fmt: skip


def came_back(view: View, camera: Camera) -> Tensor:
    """The same, bool [H, W], on any device, by two warps: what came back from `camera` to the place that it left.

    A pixel or two at the edges of things may differ, and rows of a surface that `camera` sees at a grazing angle are
    lost, where several of them lie in one of its pixels. Raises ValueError without distances.
    """
    back = forward_warp(forward_warp(view, camera), view.camera)
    same = (back.measured - view.measured).abs() <= _SAME_SURFACE * view.measured
    return view.known & back.known & same


def _lens(camera: Camera) -> np.ndarray:
    return np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float32)
